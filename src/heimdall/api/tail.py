"""The one reader of the event log in this process: reads each event once and hands it to every socket that follows it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from heimdall.api.frames import write_tick
from heimdall.api.subscribers import Delivery, Subscriber

if TYPE_CHECKING:
    from heimdall.domain.events import StoredEvent, Tick
    from heimdall.domain.ports import Clock, LiveChannel, Store, Watcher

_WAIT_S: Final = 1.0
"""s after which the log is read although no doorbell rang: losing the bell loses no event."""
_LINGER_S: Final = 2.0
"""s that the reader goes on without any socket, so that a reload does not stop and start it."""
_HELD_BACK_S: Final = 0.03
"""s after which the log is read again where an earlier event, still being written, holds others back: if given up it rings nothing."""
_BATCH: Final = 1000
_MAX_TICKS_PER_S: Final = 4
_MAX_TICKING_JOBS: Final = 1000
_MAX_OFFERS: Final = 10_000


@dataclass(frozen=True)
class _Batch:
    """What a look brought; the next one is due at ``due_s`` of the monotonic clock, whatever rings before."""

    events: Sequence[StoredEvent]
    ticks: tuple[Tick, ...]
    due_s: float


class EventTail:
    """Follows the log while somebody listens; costs nothing while nobody does.

    Parameters
    ----------
    store
        Where the log is.
    live
        The doorbell and the ticks.
    clock
        For the lag.
    max_waiting_events
        Events that may wait for one socket.
    on_success
        Called whenever the log could be read.
    """

    def __init__(
        self,
        store: Store,
        live: LiveChannel,
        clock: Clock,
        *,
        max_waiting_events: int,
        on_success: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._live = live
        self._clock = clock
        self._max_waiting_events = max_waiting_events
        self._on_success = on_success
        self._of_job: dict[str, set[Subscriber]] = {}
        self._of_all: set[Subscriber] = set()
        self._is_needed = asyncio.Event()
        self._is_following = asyncio.Event()
        self._tick_times: OrderedDict[str, deque[float]] = OrderedDict()
        self.num_clients = 0
        self.num_sent = 0
        self.num_dropped = 0
        self.position = 0
        self.lag_s = 0.0

    async def join(self, job_id: str | None, write: Callable[[bytes], bool] | None = None) -> Subscriber:
        """Add a socket: from the moment this returns it is offered every event committed, in order.

        What was committed before must be read from the database, which then has all of it. ``write`` sends a frame
        past the socket's task, or says that it cannot.
        """
        self._is_needed.set()
        await self._is_following.wait()
        subscriber = Subscriber(job_id, max_events=self._max_waiting_events, write=write)
        (self._of_all if job_id is None else self._of_job.setdefault(job_id, set())).add(subscriber)
        self.num_clients += 1
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Take a socket away."""
        self.num_clients -= 1
        if subscriber.job_id is None:
            self._of_all.discard(subscriber)
            return
        followers = self._of_job.get(subscriber.job_id, set())
        followers.discard(subscriber)
        if not followers:
            self._of_job.pop(subscriber.job_id, None)

    async def run(self) -> None:
        """Follow the log until cancelled. UnavailableError where it cannot be read; started again, it goes on where it was."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="event-tail")
        try:
            while True:
                if self.num_clients == 0:
                    self._is_following.clear()
                    self._on_success()
                    await self._is_needed.wait()
                await self._follow(executor)
        finally:
            executor.shutdown(wait=False)

    async def _follow(self, executor: ThreadPoolExecutor) -> None:
        """Read and hand out until no socket was there for a while."""
        loop = asyncio.get_running_loop()
        watcher = await loop.run_in_executor(executor, self._live.watch)
        try:
            if not self._is_following.is_set():
                # After the subscription to the doorbell: what is committed in between is rung for.
                self.position = await loop.run_in_executor(executor, self._read_position)
                self._is_following.set()
            due_s = 0.0
            alone_since: float | None = None
            while True:
                batch = await loop.run_in_executor(executor, self._poll, watcher, self.position, due_s)
                self._on_success()
                await self._hand_out(batch)
                due_s = batch.due_s
                if self.num_clients:
                    alone_since = None
                    continue
                alone_since = alone_since if alone_since is not None else loop.time()
                if loop.time() - alone_since >= _LINGER_S:
                    self._is_needed.clear()
                    return
        finally:
            watcher.close()

    def _read_position(self) -> int:
        with self._store.read(settled=True) as tx:
            return tx.events.last_position()

    def _poll(self, watcher: Watcher, position: int, due_s: float) -> _Batch:
        signal = watcher.wait(max(0.0, due_s - time.monotonic()))
        if signal.ticks and not signal.has_events and time.monotonic() < due_s:
            return _Batch((), signal.ticks, due_s)
        with self._store.read(settled=True) as tx:
            page = tx.events.read_page(since=position, limit=_BATCH)
        if len(page.events) >= _BATCH:
            return _Batch(page.events, signal.ticks, 0.0)
        return _Batch(page.events, signal.ticks, time.monotonic() + (_HELD_BACK_S if page.is_held_back else _WAIT_S))

    async def _hand_out(self, batch: _Batch) -> None:
        # Ticks first: an event supersedes older ticks of its job that still wait.
        for tick in batch.ticks:
            self._hand_out_tick(tick)
        num_offered = 0
        for event in batch.events:
            delivery = Delivery(event)
            followers = self._followers(event.job_id)
            self.num_sent += sum([subscriber.offer_event(delivery) for subscriber in followers])
            self.position = event.position
            num_offered += len(followers)
            if num_offered >= _MAX_OFFERS:
                # Many sockets: what was written leaves now, and other work of the loop has its turn.
                await asyncio.sleep(0)
                num_offered = 0
        if batch.events:
            self.lag_s = max(0.0, (self._clock.now() - batch.events[-1].created_at).total_seconds())

    def _hand_out_tick(self, tick: Tick) -> None:
        followers = self._followers(tick.job_id)
        if not followers or not self._may_tick(tick.job_id):
            return
        text = write_tick(tick).decode()
        for subscriber in followers:
            subscriber.offer_tick(tick, text)

    def _followers(self, job_id: str) -> Collection[Subscriber]:
        own = self._of_job.get(job_id)
        return (*own, *self._of_all) if own else self._of_all

    def _may_tick(self, job_id: str) -> bool:
        """Allow at most four ticks of a job in any second."""
        now = asyncio.get_running_loop().time()
        times = self._tick_times.setdefault(job_id, deque(maxlen=_MAX_TICKS_PER_S))
        self._tick_times.move_to_end(job_id)
        if len(self._tick_times) > _MAX_TICKING_JOBS:
            self._tick_times.popitem(last=False)
        if len(times) == _MAX_TICKS_PER_S and now - times[0] < 1:
            return False
        times.append(now)
        return True
