"""One socket's place in the stream: the switch from replay to live, gaps, and being too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from heimdall.api.subscribers import CLOSE_SLOW, Delivery, Subscriber
from heimdall.domain.events import EventType, StoredEvent, Tick

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def event(seq: int, *, position: int | None = None, kind: EventType = EventType.PROGRESS, at: datetime = NOW) -> Delivery:
    return Delivery(StoredEvent(position=position or seq, seq=seq, job_id="job", type=kind, payload={"epoch": seq}, created_at=at))


def tick(at: datetime = NOW) -> Tick:
    return Tick(job_id="job", attempt=1, timestamp=at, current_epoch=1, progress_percent=1, batch=1, total_batches=2)


def in_loop(check: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(check())  # type: ignore[arg-type]

    run.__name__ = check.__name__
    run.__doc__ = check.__doc__
    return run


def numbers(subscriber: Subscriber) -> list[int]:
    return [number for number, _ in subscriber.take()[0]]


@in_loop
async def test_what_was_replayed_is_not_sent_again() -> None:
    subscriber = Subscriber("job", max_events=10)
    for seq in (3, 4, 5):
        subscriber.offer_event(event(seq))
    subscriber.cursor = 4
    assert subscriber.go_live()
    assert numbers(subscriber) == [5]


@in_loop
async def test_a_buffer_that_ran_over_during_replay_sends_back_to_the_database() -> None:
    subscriber = Subscriber("job", max_events=2)
    for seq in range(1, 6):
        subscriber.offer_event(event(seq))
    subscriber.cursor = 2
    assert not subscriber.go_live()
    assert not subscriber.ended.done()
    subscriber.cursor = 5
    assert subscriber.go_live()
    subscriber.offer_event(event(6))
    assert numbers(subscriber) == [6]


@in_loop
async def test_a_live_socket_whose_buffer_runs_over_ends() -> None:
    subscriber = Subscriber("job", max_events=2)
    subscriber.go_live()
    for seq in (1, 2, 3):
        subscriber.offer_event(event(seq))
    assert subscriber.ended.result()[0] == CLOSE_SLOW


@in_loop
async def test_a_gap_sends_back_to_the_database_but_a_deletion_does_not() -> None:
    subscriber = Subscriber("job", max_events=10)
    subscriber.go_live()
    subscriber.offer_event(event(1))
    subscriber.offer_event(event(3))
    assert numbers(subscriber) == [1]
    assert subscriber.is_replaying
    deleted = Subscriber("job", max_events=10)
    deleted.go_live()
    deleted.offer_event(event(9, kind=EventType.DELETED))
    assert numbers(deleted) == [9]
    every_job = Subscriber(None, max_events=10)
    every_job.go_live()
    every_job.offer_event(event(1, position=5))
    every_job.offer_event(event(1, position=9))
    assert numbers(every_job) == [5, 9]


@in_loop
async def test_ticks_give_way_to_events_and_to_newer_ticks() -> None:
    subscriber = Subscriber("job", max_events=2)
    subscriber.go_live()
    for text in ("old", "new"):
        subscriber.offer_tick(tick(), text)
    assert subscriber.take() == ([], ["new"])
    subscriber.offer_tick(tick(NOW), "before the event")
    subscriber.offer_event(event(1, at=NOW + timedelta(seconds=1)))
    assert subscriber.take()[1] == []
    subscriber.offer_tick(tick(NOW + timedelta(seconds=2)), "after the event")
    subscriber.offer_event(event(1, at=NOW + timedelta(seconds=1)))
    assert subscriber.take()[1] == ["after the event"]


@in_loop
async def test_many_ticks_never_end_a_socket() -> None:
    subscriber = Subscriber(None, max_events=2)
    for number in range(10_000):
        subscriber.offer_tick(tick().evolve(job_id=f"job {number}"), "tick")
    assert not subscriber.ended.done()
    assert len(subscriber.take()[1]) < 1000


class Wire:
    """Takes frames at once while it is open."""

    def __init__(self) -> None:
        self.is_open = True
        self.written: list[int] = []

    def write(self, frame: bytes) -> bool:
        if self.is_open:
            self.written.append(orjson.loads(frame[frame.index(b"{") :])["seq"])
        return self.is_open


async def sleeping(subscriber: Subscriber) -> asyncio.Task[None]:
    """Let the socket's task wait for news."""
    task = asyncio.create_task(subscriber.wait())
    await asyncio.sleep(0)
    return task


@in_loop
async def test_a_live_event_passes_a_sleeping_task_by() -> None:
    wire = Wire()
    subscriber = Subscriber("job", max_events=10, write=wire.write)
    subscriber.offer_event(event(1))
    assert wire.written == []
    assert subscriber.go_live()
    await subscriber.wait()
    assert numbers(subscriber) == [1]
    subscriber.cursor = 1
    task = await sleeping(subscriber)
    assert subscriber.offer_event(event(2))
    assert not task.done()
    assert (wire.written, subscriber.cursor) == ([2], 2)


@in_loop
async def test_nothing_overtakes_what_waits() -> None:
    wire = Wire()
    subscriber = Subscriber("job", max_events=10, write=wire.write)
    subscriber.go_live()
    await subscriber.wait()
    task = await sleeping(subscriber)
    wire.is_open = False
    assert not subscriber.offer_event(event(1))
    wire.is_open = True
    assert not subscriber.offer_event(event(2))
    await task
    # The task has woken and writes: what comes now must come after it.
    assert numbers(subscriber) == [1, 2]
    assert not subscriber.offer_event(event(3))
    assert wire.written == []


@in_loop
async def test_a_gap_a_repetition_and_a_deletion_wake_the_task() -> None:
    for delivery in (event(3), event(1), event(2, kind=EventType.DELETED)):
        wire = Wire()
        subscriber = Subscriber("job", max_events=10, write=wire.write)
        subscriber.go_live()
        await subscriber.wait()
        subscriber.cursor = 1
        task = await sleeping(subscriber)
        assert not subscriber.offer_event(delivery)
        await task
        assert wire.written == []


@in_loop
async def test_a_tick_that_waits_is_not_overtaken_by_a_newer_event() -> None:
    wire = Wire()
    subscriber = Subscriber("job", max_events=10, write=wire.write)
    subscriber.go_live()
    await subscriber.wait()
    await sleeping(subscriber)
    subscriber.offer_tick(tick(), "tick")
    assert not subscriber.offer_event(event(1))
    assert wire.written == []


def test_a_frame_is_written_once_for_each_form() -> None:
    delivery = event(2, position=40)
    assert delivery.job_frame is delivery.job_frame
    assert orjson.loads(delivery.job_frame.text)["seq"] == 2
    log_frame = orjson.loads(delivery.log_frame.text)
    assert (log_frame["seq"], log_frame["job_seq"]) == (40, 2)
    assert orjson.loads(delivery.job_frame.text) == delivery.event.as_job_frame().model_dump(mode="json")
    assert log_frame == delivery.event.as_log_frame().model_dump(mode="json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_never_breaks_a_frame(value: float) -> None:
    stored = StoredEvent(position=1, seq=1, job_id="job", type=EventType.PROGRESS, payload={"x": value}, created_at=NOW)
    assert orjson.loads(Delivery(stored).job_frame.text)["data"] == {"x": None}
