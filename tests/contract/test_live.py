"""What every live channel promises: a bell for new events, ticks for those who listen, and no harm when lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from heimdall.domain.events import EventType, Tick
from heimdall.domain.ports import LiveChannel, Signal, Store, Watcher
from heimdall.storage.database import SqlStore
from heimdall.storage.live import open_live_channel

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE_S = 20.0


@dataclass
class Setup:
    kind: str
    url: str
    folder: Path
    store: Store
    live: LiveChannel


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    kind: str = request.param
    url = f"sqlite:///{tmp_path / 'heimdall.sqlite'}" if kind == "sqlite" else request.getfixturevalue("migrated_postgres_url")
    store = SqlStore(url)
    store.migrate()
    live = open_live_channel(url, tmp_path)
    yield Setup(kind, url, tmp_path, store, live)
    live.close()
    store.close()


@pytest.fixture
def watcher(setup: Setup) -> Iterator[Watcher]:
    found = setup.live.watch()
    yield found
    found.close()


def a_tick(batch: int = 1, job_id: str = "j") -> Tick:
    return Tick(job_id=job_id, attempt=1, timestamp=NOW, current_epoch=2, progress_percent=12.5, batch=batch, total_batches=10)


def append(store: Store) -> None:
    with store.write() as tx:
        job_id = f"job-{time.monotonic_ns()}"
        tx.events.append(job_id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)


def wait_until(watcher: Watcher, is_enough: Callable[[Signal], bool]) -> Signal:
    """Wait for a signal, and drop those of the set-up before it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        signal = watcher.wait(1.0)
        if is_enough(signal):
            return signal
    raise AssertionError("no such signal came")


def test_nothing_new_is_an_empty_signal_after_the_time_out(watcher: Watcher) -> None:
    started = time.monotonic()
    assert watcher.wait(0.05) == Signal(has_events=False)
    assert time.monotonic() - started >= 0.04


def test_an_event_rings_once_it_is_committed(setup: Setup, watcher: Watcher) -> None:
    with setup.store.write() as tx:
        tx.events.append("x", seq=time.monotonic_ns() % 2**31, type=EventType.UPDATED, payload={}, now=NOW)
        assert not watcher.wait(0.03).has_events
    assert wait_until(watcher, lambda signal: signal.has_events).ticks == ()
    assert not watcher.wait(0.03).has_events


def test_an_event_of_another_process_wakes_a_waiting_thread(setup: Setup, watcher: Watcher) -> None:
    script = (
        "import sys\nfrom datetime import UTC, datetime\nfrom heimdall.domain.events import EventType\n"
        "from heimdall.storage.database import SqlStore\nstore = SqlStore(sys.argv[1])\n"
        "with store.write() as tx:\n"
        "    tx.events.append('other', seq=int(sys.argv[2]), type=EventType.UPDATED, payload={}, now=datetime.now(UTC))\n"
        "store.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, setup.url, str(time.monotonic_ns() % 2**31)]) as process:
        wait_until(watcher, lambda signal: signal.has_events)
        assert process.wait(timeout=DEADLINE_S) == 0


def test_a_write_that_was_rolled_back_does_not_ring(setup: Setup, watcher: Watcher) -> None:
    def fail() -> None:
        with setup.store.write() as tx:
            tx.events.append("x", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not watcher.wait(0.05).has_events


def test_a_tick_arrives_as_it_was_said(setup: Setup, watcher: Watcher) -> None:
    tick = a_tick(batch=3).evolve(estimated_completion=NOW + timedelta(seconds=1.25))
    setup.live.publish_tick(tick)
    signal = wait_until(watcher, lambda signal: bool(signal.ticks))
    assert signal.ticks == (tick,)
    assert not signal.has_events


def test_the_newest_tick_of_each_job_arrives_at_every_watcher(setup: Setup, watcher: Watcher) -> None:
    second = setup.live.watch()
    for batch in range(1, 6):
        for job_id in ("a", "b"):
            setup.live.publish_tick(a_tick(batch=batch, job_id=job_id))
    for each in (watcher, second):
        newest: dict[str, int] = {}
        deadline = time.monotonic() + DEADLINE_S
        while newest != {"a": 5, "b": 5} and time.monotonic() < deadline:
            for tick in each.wait(1.0).ticks:
                assert tick.batch > newest.get(tick.job_id, 0)
                newest[tick.job_id] = tick.batch
        assert newest == {"a": 5, "b": 5}
    second.close()


def test_what_was_said_before_the_watch_is_not_repeated(setup: Setup) -> None:
    first = setup.live.watch()
    setup.live.publish_tick(a_tick(batch=1))
    wait_until(first, lambda signal: bool(signal.ticks))
    first.close()
    late = setup.live.watch()
    setup.live.publish_tick(a_tick(batch=2))
    assert [tick.batch for tick in wait_until(late, lambda signal: bool(signal.ticks)).ticks] == [2]
    late.close()


def test_closing_wakes_the_thread_that_waits(setup: Setup) -> None:
    watcher = setup.live.watch()
    is_waiting, signals = threading.Event(), []

    def wait() -> None:
        is_waiting.set()
        signals.append(watcher.wait(60))

    thread = threading.Thread(target=wait)
    thread.start()
    is_waiting.wait(timeout=10)
    watcher.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert signals == [Signal(has_events=False)]


def test_a_forked_child_can_say_ticks_too(setup: Setup, watcher: Watcher) -> None:
    setup.live.publish_tick(a_tick(batch=1))
    wait_until(watcher, lambda signal: bool(signal.ticks))
    script_pid = os.fork()
    if script_pid == 0:
        setup.live.publish_tick(a_tick(batch=2))
        setup.live.close()
        os._exit(0)
    assert [tick.batch for tick in wait_until(watcher, lambda signal: bool(signal.ticks)).ticks] == [2]
    os.waitpid(script_pid, 0)
    setup.live.publish_tick(a_tick(batch=3))
    assert [tick.batch for tick in wait_until(watcher, lambda signal: bool(signal.ticks)).ticks] == [3]


def test_publishing_never_raises(setup: Setup, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    url = setup.url if setup.kind == "sqlite" else "postgresql://postgres@127.0.0.1:1/nowhere"
    live = open_live_channel(url, blocked)
    live.publish_tick(a_tick())
    live.publish_tick(a_tick())
    live.close()


def test_the_file_of_ticks_stays_small_and_forgets_what_an_older_version_kept(tmp_path: Path) -> None:
    file = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(file)) as older:
        older.execute("CREATE TABLE ticks (job_id TEXT PRIMARY KEY, number INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID")
    live = open_live_channel(f"sqlite:///{tmp_path / 'heimdall.sqlite'}", tmp_path)
    for batch in range(4000):
        live.publish_tick(a_tick(batch=batch))
    live.close()
    with closing(sqlite3.connect(file)) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master")] == ["said"]
        assert connection.execute("SELECT count(*), max(number) FROM said").fetchone() < (2000, 4001)


@pytest.mark.scaled
def test_a_lost_connection_counts_as_maybe_new_and_comes_back(migrated_postgres_url: str, tmp_path: Path) -> None:
    store = SqlStore(migrated_postgres_url)
    live = open_live_channel(migrated_postgres_url, tmp_path)
    watcher = live.watch()
    with psycopg.connect(migrated_postgres_url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'heimdall-live' AND datname = current_database()"
        ).fetchone()
    assert ended == (1,)
    assert wait_until(watcher, lambda signal: signal.has_events)
    # Once for the loss, once for the return, whatever came between.
    while watcher.wait(1.0).has_events:
        pass
    append(store)
    assert wait_until(watcher, lambda signal: signal.has_events)
    watcher.close()
    live.close()
    store.close()
