"""The durable log of events, and what its readers may rely on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from heimdall.domain.events import EventType, StoredEvent


@dataclass(frozen=True)
class LogPage:
    """Settled events of the whole log in order; ``is_held_back`` says that newer ones wait for an earlier one still being written."""

    events: list[StoredEvent]
    is_held_back: bool


class EventRepository(Protocol):
    """The durable, numbered log.

    Positions are in no order of commits, but a position is *settled* once nothing at or below it can appear any more, and readers
    of the whole log are given settled events alone: who has read up to a position has everything up to it. Numbers may be left out.
    What speaks of the whole log needs ``read(settled=True)``.
    """

    def append(self, job_id: str, *, seq: int, type: EventType, payload: dict[str, Any], now: datetime) -> None:
        """Append in the transaction that changed the job; ``seq`` is the job's ``last_seq`` after that change."""

    def list_of_job(self, job_id: str, *, since: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return the job's events with ``seq > since`` in order."""

    def read_page(self, *, since: int = 0, limit: int = 1000) -> LogPage:
        """Return settled events with ``position > since`` in order; ``since`` is one that the reader was given, or 0.

        Where events are held back no doorbell need ring when they come free: look again soon.
        """

    def last_position(self, *, known: int = 0) -> int:
        """Return the newest settled position, 0 for an empty log.

        ``known`` is what a reader was given before, by whatever process: returned where it is newer, unless the log has nothing
        that new (it is of another database).
        """
