"""The one way an event becomes bytes: the same on a socket and on ``/events``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from heimdall.domain.base import format_instant
from heimdall.domain.events import EventType, StoredEvent, Tick


def write_frame(
    event: EventType,
    data: dict[str, Any] | orjson.Fragment,
    *,
    timestamp: datetime,
    job_id: str | None = None,
    seq: int | None = None,
    job_seq: int | None = None,
) -> bytes:
    """Return a frame of :class:`~heimdall.domain.events.EventFrame` as JSON. A number that is not finite becomes null."""
    frame = {
        "event": event.value,
        "seq": seq,
        "job_id": job_id,
        "timestamp": format_instant(timestamp),
        "data": data,
        "job_seq": job_seq,
    }
    return orjson.dumps(frame)


def write_event(event: StoredEvent, seq: int) -> bytes:
    """Return a durable event under ``seq``: its number in the job's log, or its position in the whole log."""
    return write_frame(event.type, event.payload, timestamp=event.created_at, job_id=event.job_id, seq=seq, job_seq=event.seq)


def write_tick(tick: Tick) -> bytes:
    """Return a tick's frame, which has no number."""
    frame = tick.as_frame()
    return write_frame(frame.event, frame.data, timestamp=frame.timestamp, job_id=frame.job_id)
