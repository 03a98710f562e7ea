"""One socket's place in the stream: what it has, what waits for it, and when it is too slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from heimdall.api.frames import write_event
from heimdall.api.websocket_protocol import encode_frame
from heimdall.domain.events import EventType, StoredEvent, Tick

CLOSE_SLOW: Final = 4408
CLOSE_GONE: Final = 4404
_MAX_TICKS: Final = 256
_MAX_REPLIES: Final = 16


class Delivery:
    """An event on its way to many sockets: each of its two forms is written at most once."""

    __slots__ = ("_job_frame", "_log_frame", "event")

    def __init__(self, event: StoredEvent) -> None:
        self.event = event
        self._job_frame: Frame | None = None
        self._log_frame: Frame | None = None

    @property
    def job_frame(self) -> Frame:
        """What the job's own socket sends."""
        if self._job_frame is None:
            self._job_frame = Frame(write_event(self.event, self.event.seq))
        return self._job_frame

    @property
    def log_frame(self) -> Frame:
        """What the all-jobs socket sends."""
        if self._log_frame is None:
            self._log_frame = Frame(write_event(self.event, self.event.position))
        return self._log_frame


class Frame:
    """One text, as the application and as the wire have it."""

    __slots__ = ("text", "wire")

    def __init__(self, payload: bytes) -> None:
        self.text = payload.decode()
        self.wire = encode_frame(payload)


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
    write
        Writes a frame at once, or says that it cannot. Used while nothing waits and the socket's task sleeps, so that a
        live event costs no task switch.
    """

    def __init__(self, job_id: str | None, *, max_events: int, write: Callable[[bytes], bool] | None = None) -> None:
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
        self._write = write
        self._is_idle = False

    def offer_event(self, delivery: Delivery) -> bool:
        """Take a live event, or end as too slow where there is no room; return whether it is sent already.

        It supersedes an older tick of its job.
        """
        if self._is_idle and self._send(delivery):
            return True
        event = delivery.event
        waiting = self._ticks.get(event.job_id)
        if waiting is not None and waiting[0] < event.created_at:
            del self._ticks[event.job_id]
        if len(self._events) >= self._max_events:
            self._overflow()
            return False
        self._events.append((self.number_of(event), delivery))
        self._call()
        return False

    def _send(self, delivery: Delivery) -> bool:
        """Write the event past the sleeping task, where it is the next one and nothing must follow it."""
        event = delivery.event
        number = self.number_of(event)
        if self._write is None or event.type is EventType.DELETED or number <= self.cursor or self._is_gap(self.cursor, number, event):
            return False
        if not self._write(self.frame_of(delivery).wire):
            return False
        self.cursor = number
        return True

    def _call(self) -> None:
        self._is_idle = False
        self._wake.set()

    def offer_tick(self, tick: Tick, text: str) -> None:
        """Take a tick: the newest of each job replaces one not yet sent; beyond the room it is dropped."""
        if tick.job_id in self._ticks or len(self._ticks) < _MAX_TICKS:
            self._ticks[tick.job_id] = (tick.timestamp, text)
            self._call()

    def offer_reply(self, text: str) -> None:
        """Take an answer to the client; one that asks faster than it reads gets fewer."""
        if len(self._replies) < _MAX_REPLIES:
            self._replies.append(text)
            self._call()

    def number_of(self, event: StoredEvent) -> int:
        """Return the event's number in this subscriber's stream."""
        return event.position if self.job_id is None else event.seq

    def frame_of(self, delivery: Delivery) -> Frame:
        """Return the frame in this subscriber's stream."""
        return delivery.log_frame if self.job_id is None else delivery.job_frame

    def end(self, code: int, reason: str) -> None:
        """Ask for the socket to be closed."""
        if not self.ended.done():
            self.ended.set_result((code, reason))

    async def wait(self) -> None:
        """Return when something waits."""
        self._is_idle = not self.is_replaying and not self._wake.is_set()
        await self._wake.wait()
        self._is_idle = False
        self._wake.clear()

    def go_live(self) -> bool:
        """End the replay unless events were missed meanwhile; then the database must be read again."""
        if self.has_missed:
            self.has_missed = False
            return False
        while self._events and self._events[0][0] <= self.cursor:
            self._events.popleft()
        self.is_replaying = False
        self._call()
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
