"""One socket's place in the stream: what it has, what waits for it, and when it is too slow."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime
from typing import Final

from heimdall.api.frames import write_event
from heimdall.domain.events import EventType, StoredEvent, Tick

CLOSE_SLOW: Final = 4408
CLOSE_GONE: Final = 4404
_MAX_TICKS: Final = 256
_MAX_REPLIES: Final = 16


class Delivery:
    """An event on its way to many sockets: each of its two forms is written at most once."""

    __slots__ = ("_job_text", "_log_text", "event")

    def __init__(self, event: StoredEvent) -> None:
        self.event = event
        self._job_text: str | None = None
        self._log_text: str | None = None

    @property
    def job_text(self) -> str:
        """The frame of the job's own socket."""
        if self._job_text is None:
            self._job_text = write_event(self.event, self.event.seq).decode()
        return self._job_text

    @property
    def log_text(self) -> str:
        """The frame of the all-jobs socket."""
        if self._log_text is None:
            self._log_text = write_event(self.event, self.event.position).decode()
        return self._log_text


class Subscriber:
    """One socket. Only the event loop's thread touches it.

    It is *replaying* until everything committed before it joined was read from the database; live events of that time
    wait in its buffer. The switch to *live* happens between two awaits, so that nothing falls between the two.

    Parameters
    ----------
    job_id
        The one job to follow, or None for all.
    max_events
        Events that may wait. Ticks never push an event out.
    """

    def __init__(self, job_id: str | None, *, max_events: int) -> None:
        self.job_id = job_id
        self.cursor = 0
        """Number of the newest event that was handed to the socket."""
        self.is_replaying = True
        self.has_missed = False
        """While replaying: the buffer ran over, so the database must be read again."""
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._max_events = max_events
        self._events: deque[tuple[int, Delivery]] = deque()
        self._ticks: dict[str, tuple[datetime, str]] = {}
        self._replies: deque[str] = deque()
        self._wake = asyncio.Event()

    def offer_event(self, delivery: Delivery) -> None:
        """Take a live event, or end as too slow where there is no room. It supersedes an older tick of its job."""
        event = delivery.event
        waiting = self._ticks.get(event.job_id)
        if waiting is not None and waiting[0] < event.created_at:
            del self._ticks[event.job_id]
        if len(self._events) >= self._max_events:
            self._overflow()
            return
        self._events.append((self.number_of(event), delivery))
        self._wake.set()

    def offer_tick(self, tick: Tick, text: str) -> None:
        """Take a tick: the newest of each job replaces one not yet sent; beyond the room it is dropped."""
        if tick.job_id in self._ticks or len(self._ticks) < _MAX_TICKS:
            self._ticks[tick.job_id] = (tick.timestamp, text)
            self._wake.set()

    def offer_reply(self, text: str) -> None:
        """Take an answer to the client; one that asks faster than it reads gets fewer."""
        if len(self._replies) < _MAX_REPLIES:
            self._replies.append(text)
            self._wake.set()

    def number_of(self, event: StoredEvent) -> int:
        """Return the event's number in this subscriber's stream."""
        return event.position if self.job_id is None else event.seq

    def text_of(self, delivery: Delivery) -> str:
        """Return the frame in this subscriber's stream."""
        return delivery.log_text if self.job_id is None else delivery.job_text

    def end(self, code: int, reason: str) -> None:
        """Ask for the socket to be closed."""
        if not self.ended.done():
            self.ended.set_result((code, reason))

    async def wait(self) -> None:
        """Return when something waits."""
        await self._wake.wait()
        self._wake.clear()

    def go_live(self) -> bool:
        """End the replay unless events were missed meanwhile; then the database must be read again."""
        if self.has_missed:
            self.has_missed = False
            return False
        while self._events and self._events[0][0] <= self.cursor:
            self._events.popleft()
        self.is_replaying = False
        self._wake.set()
        return True

    def take(self) -> tuple[list[tuple[int, Delivery]], list[str]]:
        """Return the events that are new to the socket, and replies and ticks.

        A gap in a job's dense numbers, which must not be, sends the subscriber back to the database.
        """
        others = [*self._replies, *(text for _, text in self._ticks.values())]
        self._replies.clear()
        self._ticks.clear()
        events: list[tuple[int, Delivery]] = []
        newest = self.cursor
        while self._events:
            number, delivery = self._events.popleft()
            if number <= newest:
                continue
            if self._is_gap(newest, number, delivery.event):
                self.is_replaying, self.has_missed = True, False
                self._events.clear()
                break
            events.append((number, delivery))
            newest = number
        return events, others

    def _is_gap(self, newest: int, number: int, event: StoredEvent) -> bool:
        return self.job_id is not None and number != newest + 1 and event.type is not EventType.DELETED

    def _overflow(self) -> None:
        if self.is_replaying:
            self._events.clear()
            self.has_missed = True
            return
        self.end(CLOSE_SLOW, "too slow: reconnect with since= the last seq received")
