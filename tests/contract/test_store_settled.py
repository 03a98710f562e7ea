"""PostgreSQL: writers of events do not wait for each other, and still a reader of the whole log never steps over one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from heimdall.domain.errors import UnavailableError
from heimdall.domain.events import EventType
from heimdall.storage.database import SqlStore
from tests.contract.conftest import TABLES
from tests.contract.samples import NOW, a_job, add

pytestmark = pytest.mark.scaled

CLASS = 0x4845
OLD_LOCK = "SELECT pg_advisory_xact_lock(1212500225, 0)"
INSERT = "INSERT INTO events (job_id, seq, type, payload, created_at) VALUES (%s, %s, 'training_progress', '{}', now()) RETURNING position"


@dataclass
class Log:
    """One empty database and what is open on it."""

    url: str
    opened: list[SqlStore] = field(default_factory=list)

    def open(self, **options: Any) -> SqlStore:
        self.opened.append(SqlStore(self.url, busy_timeout_s=5, **options))
        return self.opened[-1]

    @contextmanager
    def raw(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url) as connection:
            yield connection
            connection.rollback()

    def positions(self) -> list[int]:
        with self.raw() as connection:
            return [row[0] for row in connection.execute("SELECT position FROM events ORDER BY position")]


@pytest.fixture
def log(migrated_postgres_url: str) -> Iterator[Log]:
    with psycopg.connect(migrated_postgres_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY CASCADE")  # type: ignore[arg-type]
    found = Log(migrated_postgres_url)
    yield found
    for store in found.opened:
        store.close()


def write(store: SqlStore, job_id: str, num_events: int = 1) -> None:
    with store.write() as tx:
        for seq in range(1, num_events + 1):
            tx.events.append(job_id, seq=seq, type=EventType.UPDATED, payload={}, now=NOW)


def look(store: SqlStore, since: int = 0) -> tuple[list[int], bool]:
    """Return the positions that a reader is given after ``since``, and whether others are held back."""
    with store.read(settled=True) as tx:
        page = tx.events.read_page(since=since)
    return [event.position for event in page.events], page.is_held_back


def last(store: SqlStore, known: int = 0) -> int:
    with store.read(settled=True) as tx:
        return tx.events.last_position(known=known)


class _GivenUp(Exception):
    """Ends a transaction without its commit."""


def test_an_event_waits_for_an_earlier_one_that_is_still_being_written(log: Log) -> None:
    first, second, reader = log.open(), log.open(), log.open()
    write(first, "before")
    with first.write() as tx:
        tx.events.append("late", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        tx.events.flush()
        write(second, "early")
        assert look(reader) == ([1], True)
        assert look(reader, 1) == ([], True)
        assert last(reader) == 1
    assert look(reader, 1) == ([2, 3], False)
    assert last(reader) == 3


def test_what_was_given_up_holds_nothing_back(log: Log) -> None:
    first, second, reader = log.open(), log.open(), log.open()
    with suppress(_GivenUp), first.write() as tx:
        tx.events.append("given up", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        tx.events.flush()
        write(second, "early")
        assert look(reader) == ([], True)
        raise _GivenUp
    assert look(reader) == ([2], False)
    # A gap that stays is no reason to wait for whoever writes above it.
    with first.write() as tx:
        tx.events.append("open", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        tx.events.flush()
        assert look(log.open()) == ([2], False)
        write(second, "behind")
        assert look(log.open()) == ([2], True)


def test_who_writes_no_events_or_elsewhere_holds_nothing_back(log: Log, create_postgres_database: Callable[[], str]) -> None:
    elsewhere = SqlStore(create_postgres_database())
    elsewhere.migrate()
    busy, writer, reader = log.open(), log.open(), log.open()
    with busy.write() as tx, elsewhere.write() as other:
        tx.jobs.add(a_job())
        other.events.append("other", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        other.events.flush()
        write(writer, "a", 3)
        assert look(reader) == ([1, 2, 3], False)
        assert last(reader) == 3
    elsewhere.close()


def test_the_very_next_event_needs_nobody_elses_end(log: Log) -> None:
    writer, reader = log.open(), log.open()
    with log.raw() as other:
        other.execute("SELECT pg_advisory_xact_lock_shared((%s::bigint << 48) | 1)", (CLASS,))
        write(writer, "a", 2)
        assert look(reader) == ([1, 2], False)


def test_readers_never_go_back_where_a_writer_comes_late_with_an_old_bound(log: Log) -> None:
    writer, reader = log.open(), log.open()
    write(writer, "a", 5)
    with suppress(_GivenUp), writer.write() as tx:
        tx.events.append("given up", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        tx.events.flush()
        raise _GivenUp
    write(writer, "b")
    assert look(reader) == ([1, 2, 3, 4, 5, 7], False)
    with log.raw() as other:
        other.execute("SELECT pg_advisory_xact_lock_shared((%s::bigint << 48) | 1)", (CLASS,))
        assert last(reader) == 7, "what this process has seen settled stays it"
        elsewhere = log.open()
        assert last(elsewhere) == 0
        assert last(elsewhere, known=7) == 7, "what another process has told stays told"
        assert last(elsewhere, known=99) == 0, "a number of another database"
        write(writer, "c")
        assert look(elsewhere, 7) == ([8], False)
        assert last(elsewhere) == 0, "the word of one reader binds no other"


def test_an_event_behind_a_writer_of_an_older_version_waits_for_it(log: Log) -> None:
    writer, reader = log.open(), log.open()
    with log.raw() as old:
        old.execute(OLD_LOCK)
        old.execute(INSERT, ("old", 1))
        write(writer, "new")
        assert look(reader) == ([], True)
        assert last(reader) == 0
        old.commit()
        assert look(reader) == ([1, 2], False)


def test_a_frozen_writer_holds_events_back_no_longer_than_the_server_lets_it(log: Log) -> None:
    writer, reader = log.open(), log.open()
    looks = []

    def freeze() -> None:
        with log.open(idle_writer_s=0.3).write() as tx:
            tx.events.append("frozen", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
            tx.events.flush()
            write(writer, "a")
            deadline = time.monotonic() + 20
            while look(reader) == ([], True):
                looks.append(1)
                assert time.monotonic() < deadline

    with pytest.raises(UnavailableError):
        freeze()
    assert looks, "it was held back at first"
    assert look(reader) == ([2], False)


def test_a_late_commit_of_a_lower_position_changes_the_validator(log: Log) -> None:
    first, second, reader = log.open(), log.open(), log.open()

    def fingerprint() -> str:
        with reader.read(settled=True) as tx:
            return tx.jobs.fingerprint()

    write(first, "before")
    with first.write() as tx:
        tx.events.append("late", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        tx.events.flush()
        write(second, "early")
        before = fingerprint()
        assert fingerprint() == before
    after = fingerprint()
    assert after != before
    assert fingerprint() == after


class Crowd:
    """Writers that do everything a writer may do, and readers that write down what they are given."""

    def __init__(self, log: Log, seed: int) -> None:
        self.log = log
        self.seed = seed
        self.is_over = threading.Event()
        self.failures: list[BaseException] = []

    def write(self, number: int) -> None:
        chance = random.Random(f"{self.seed} writer {number}")
        store = self.log.open()
        job, seq = add(store, a_job()), 0
        for _ in range(40):
            what = chance.choice(["one", "one", "one", "one", "several", "give up", "delete"])
            pause_s = chance.choice([0, 0, 0.001, 0.01, 0.05])
            num_events = chance.randint(2, 4) if what == "several" else 1
            kind = EventType.DELETED if what == "delete" else EventType.UPDATED
            with suppress(_GivenUp), store.write() as tx:
                if what == "delete":
                    tx.jobs.delete(job.id)
                for further in range(1, num_events + 1):
                    tx.events.append(job.id, seq=seq + further, type=kind, payload={}, now=NOW)
                tx.events.flush()
                tx.connection.exec_driver_sql(f"SELECT pg_sleep({pause_s})")
                if what == "give up":
                    raise _GivenUp
            if what == "delete":
                job, seq = add(store, a_job()), 0
            elif what != "give up":
                seq += num_events

    def freeze(self) -> None:
        store = self.log.open(idle_writer_s=0.2)
        for number in range(3):
            with suppress(UnavailableError), store.write() as tx:
                tx.events.append("frozen", seq=number + 1, type=EventType.UPDATED, payload={}, now=NOW)
                tx.events.flush()
                self.is_over.wait(0.4)

    def read(self, number: int, seen: list[int]) -> None:
        """Read as the sockets do: from the start or the newest on, in pages of any size, reconnecting now and then to any process."""
        chance = random.Random(f"{self.seed} reader {number}")
        stores = [self.log.open() for _ in range(2)]
        self.is_over.wait(chance.random())
        seen.append(0 if number % 2 else last(stores[0]))
        store = stores[0]
        while True:
            is_last_look = self.is_over.is_set()
            if chance.random() < 0.1:
                store = chance.choice(stores)
                assert last(store, known=seen[-1]) >= seen[-1], "a client that comes back would be told something again"
            with store.read(settled=True) as tx:
                page = tx.events.read_page(since=seen[-1], limit=chance.choice([1, 7, 1000]))
            seen.extend(event.position for event in page.events)
            if is_last_look and not page.events:
                assert not page.is_held_back
                return

    def guarded(self, act: Callable[..., None], *given: Any) -> threading.Thread:
        def run() -> None:
            try:
                act(*given)
            except BaseException as error:
                self.failures.append(error)
                raise

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_reader_sees_every_event_once_and_in_order_whatever_the_writers_do(log: Log, seed: int) -> None:
    crowd = Crowd(log, seed)
    seen: list[list[int]] = [[] for _ in range(5)]
    readers = [crowd.guarded(crowd.read, number, found) for number, found in enumerate(seen)]
    writers = [crowd.guarded(crowd.write, number) for number in range(8)] + [crowd.guarded(crowd.freeze)]
    for thread in writers:
        thread.join(timeout=120)
    crowd.is_over.set()
    for thread in readers:
        thread.join(timeout=60)
    assert not crowd.failures
    kept = log.positions()
    for start, *found in seen:
        assert found == sorted(set(found)), "in order, none twice"
        assert set(found) >= {position for position in kept if position > start}, "none stepped over"
    assert len(seen[1]) > len(kept) / 2, "the reader from the start was given most of it"
