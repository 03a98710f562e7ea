"""The one reader of the log: losing the doorbell or the database for a while loses no event."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from heimdall.api.subscribers import Subscriber
from heimdall.api.tail import EventTail
from heimdall.bootstrap import SystemClock
from heimdall.domain.errors import UnavailableError
from heimdall.domain.event_log import LogPage
from heimdall.domain.events import EventType, Tick
from heimdall.domain.jobs import Job, TrainingJobConfig
from heimdall.domain.ports import Signal
from heimdall.storage.memory import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class FlakyStore(MemoryStore):
    """A store whose reads can be made to fail."""

    is_unreadable = False
    num_reads = 0

    @contextmanager
    def read(self, *, settled: bool = False) -> Iterator[Any]:
        self.num_reads += 1
        if self.is_unreadable:
            raise UnavailableError("The database does not answer.")
        with super().read(settled=settled) as tx:
            yield tx

    def append(self, count: int = 1) -> None:
        with self.write() as tx:
            job = tx.jobs.get("job", lock=True)
            for number in range(1, count + 1):
                tx.events.append("job", seq=job.last_seq + number, type=EventType.PROGRESS, payload={}, now=NOW)
            tx.jobs.save(job.evolve(last_seq=job.last_seq + count, version=job.version + 1), expected_version=job.version)


class Bell:
    """A doorbell that rings when told to, or never."""

    def __init__(self, *, is_deaf: bool = False) -> None:
        self.is_deaf = is_deaf
        self.num_watchers = 0
        self.ticks: tuple[Tick, ...] = ()
        self.rung = threading.Event()

    def publish_tick(self, tick: Tick) -> None:
        raise NotImplementedError

    def watch(self) -> Bell:
        self.num_watchers += 1
        return self

    def wait(self, timeout_s: float) -> Signal:
        if self.is_deaf:
            self.rung.wait(min(timeout_s, 0.05))
            return Signal(has_events=False)
        has_events = self.rung.wait(min(timeout_s, 0.05))
        self.rung.clear()
        ticks, self.ticks = self.ticks, ()
        return Signal(has_events, ticks)

    def close(self) -> None:
        self.num_watchers -= 1


def make_store() -> FlakyStore:
    store = FlakyStore()
    add_job(store)
    return store


def add_job(store: FlakyStore) -> None:
    config = TrainingJobConfig(job_name="job", dataset_id="d")
    with store.write() as tx:
        tx.jobs.add(Job(id="job", name="job", created_at=NOW, config=config, total_epochs=50, dataset_id="d"))


def make_tail(store: FlakyStore, bell: Bell) -> EventTail:
    return EventTail(store, bell, SystemClock(), max_waiting_events=10_000)


async def collect(subscriber: Subscriber, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            await subscriber.wait()
            for number, _ in subscriber.take()[0]:
                subscriber.cursor = number
                found.append(number)
    return found


def test_losing_the_doorbell_loses_no_event() -> None:
    async def check() -> None:
        store = make_store()
        tail = make_tail(store, Bell(is_deaf=True))
        running = asyncio.create_task(tail.run())
        subscriber = await tail.join("job")
        subscriber.go_live()
        store.append(2500)
        assert await collect(subscriber, 2500) == list(range(1, 2501))
        running.cancel()

    asyncio.run(check())


def test_a_database_that_was_away_is_read_from_where_the_tail_was() -> None:
    async def check() -> None:
        store = make_store()
        bell = Bell()
        tail = make_tail(store, bell)
        running = asyncio.create_task(tail.run())
        subscriber = await tail.join("job")
        subscriber.go_live()
        store.append()
        bell.rung.set()
        assert await collect(subscriber, 1) == [1]
        store.is_unreadable = True
        bell.rung.set()
        (result,) = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(result, UnavailableError)
        assert bell.num_watchers == 0
        store.append(3)
        store.is_unreadable = False
        running = asyncio.create_task(tail.run())
        assert await collect(subscriber, 3) == [2, 3, 4]
        running.cancel()

    asyncio.run(check())


def test_nobody_listening_costs_no_look_at_the_database() -> None:
    async def check() -> None:
        store = make_store()
        bell = Bell()
        tail = make_tail(store, bell)
        running = asyncio.create_task(tail.run())
        for _ in range(20):
            await asyncio.sleep(0)
        assert (store.num_reads, bell.num_watchers) == (0, 0)
        subscriber = await tail.join("job")
        assert (tail.num_clients, bell.num_watchers) == (1, 1)
        tail.leave(subscriber)
        assert tail.num_clients == 0
        running.cancel()

    asyncio.run(check())


def test_a_job_ticks_four_times_a_second_at_most_and_others_are_not_held_up() -> None:
    async def check() -> None:
        store = make_store()
        bell = Bell()
        tail = make_tail(store, bell)
        running = asyncio.create_task(tail.run())
        subscriber = await tail.join(None)
        subscriber.cursor = 0
        subscriber.go_live()

        def make(job_id: str, batch: int) -> Tick:
            return Tick(job_id=job_id, attempt=1, timestamp=NOW, current_epoch=1, progress_percent=1, batch=batch, total_batches=9)

        for batch in range(9):
            tail._hand_out_tick(make("busy", batch))
        tail._hand_out_tick(make("calm", 0))
        texts = subscriber.take()[1]
        assert len(texts) == 2
        assert '"batch":3' in texts[0]
        assert '"calm"' in texts[1]
        running.cancel()

    asyncio.run(check())


class HoldingStore(FlakyStore):
    """A log whose newest events wait for one that another writer has not finished; no doorbell tells of its end."""

    num_held_looks = 0

    @contextmanager
    def read(self, *, settled: bool = False) -> Iterator[Any]:
        with super().read(settled=settled) as tx:
            if self.num_held_looks:
                self.num_held_looks -= 1
                tx.events.read_page = lambda **_asked: LogPage([], is_held_back=True)
            yield tx


class Patience(Bell):
    """A doorbell that never rings and notes how long it was given, in a time of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_s: list[float] = []

    def wait(self, timeout_s: float) -> Signal:
        self.waits_s.append(timeout_s)
        return super().wait(timeout_s)


def test_what_is_held_back_is_looked_for_soon_but_not_all_the_time() -> None:
    async def check() -> None:
        store = HoldingStore()
        add_job(store)
        bell = Patience()
        tail = make_tail(store, bell)
        running = asyncio.create_task(tail.run())
        subscriber = await tail.join("job")
        subscriber.go_live()
        store.num_held_looks = 5
        store.append()
        bell.rung.set()
        assert await collect(subscriber, 1) == [1]
        held = [wait_s for wait_s in bell.waits_s if 0 < wait_s < 0.1]
        assert len(held) == 5
        assert min(held) > 0.01
        running.cancel()

    asyncio.run(check())


def test_ticks_that_never_end_do_not_keep_the_log_from_being_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ticking(Bell):
        def wait(self, timeout_s: float) -> Signal:
            tick = Tick(job_id="job", attempt=1, timestamp=NOW, current_epoch=1, progress_percent=1.0, batch=1, total_batches=10)
            self.rung.wait(min(timeout_s, 0.01))
            return Signal(has_events=False, ticks=(tick,))

    async def check() -> None:
        store = make_store()
        tail = make_tail(store, Ticking())
        running = asyncio.create_task(tail.run())
        subscriber = await tail.join("job")
        subscriber.go_live()
        store.append()
        assert await collect(subscriber, 1) == [1]
        running.cancel()

    monkeypatch.setattr("heimdall.api.tail._WAIT_S", 0.05)
    asyncio.run(check())
