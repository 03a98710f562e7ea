"""The frames of the event log and of the socket."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from heimdall.domain.base import Entity, Instant


class EventType(StrEnum):
    """Names of what a socket says. All but CONNECTED, PONG and ticks are durable and numbered."""

    CONNECTED = "connected"
    PONG = "pong"
    UPDATED = "training_updated"
    STARTED = "training_started"
    PROGRESS = "training_progress"
    PAUSED = "training_paused"
    RESUMED = "training_resumed"
    CANCELLED = "training_cancelled"
    REQUEUED = "training_requeued"
    COMPLETED = "training_completed"
    FAILED = "training_failed"
    DELETED = "training_deleted"


class RequeueCause(StrEnum):
    """Why a running job went back to the queue, as far as the one who put it there knew."""

    WORKER_STOPPED = "worker_stopped"
    """In good order: it wrote a checkpoint where it could, and gave the job back by itself."""
    WORKER_ENDED = "worker_ended"
    """Its process is no longer there."""
    WORKER_SILENT = "worker_silent"
    """No heartbeat for longer than a lease: it hangs, or nothing comes through from it."""
    PROCESS_LOST = "process_lost"
    """The training process ended by itself, was ended from outside or could not be started; its worker lives."""
    PROCESS_STUCK = "process_stuck"
    """The training process made no step or did not listen, and its worker ended it."""


_KNOWN_DATA: Final = {"properties": {"cause": {"enum": [cause.value for cause in RequeueCause], "type": "string"}}}
"""What a client may read by name though it is there for some events only; events of older versions have none of it."""


class EventFrame(Entity):
    """One message of a socket or of ``/events``.

    ``seq`` is the position in the stream that is read: on a job's own socket and on ``/events`` the
    job's log, dense from 1; on the all-jobs socket the whole log. Ticks and replies have none.
    ``job_seq`` is always the position in the job's own log.
    """

    event: EventType
    seq: int | None = None
    job_id: str | None = None
    timestamp: Instant
    data: Annotated[dict[str, Any], Field(json_schema_extra=_KNOWN_DATA)]
    job_seq: int | None = None


class StoredEvent(Entity):
    """A durable event: ``position`` in the whole log (commit order), ``seq`` in its job's log (dense)."""

    position: int
    seq: int
    job_id: str
    type: EventType
    payload: dict[str, Any]
    created_at: Instant

    def as_job_frame(self) -> EventFrame:
        """Return the frame as a job's own socket sends it."""
        return self._frame(self.seq)

    def as_log_frame(self) -> EventFrame:
        """Return the frame as the all-jobs socket sends it."""
        return self._frame(self.position)

    def _frame(self, number: int) -> EventFrame:
        return EventFrame(event=self.type, seq=number, job_id=self.job_id, timestamp=self.created_at, data=self.payload, job_seq=self.seq)


class Tick(Entity):
    """Progress inside an epoch: short-lived, not numbered, not stored."""

    job_id: str
    attempt: int
    timestamp: Instant
    current_epoch: int
    progress_percent: float
    batch: int
    total_batches: int
    estimated_completion: Instant | None = None

    def as_frame(self) -> EventFrame:
        """Return the tick as a socket sends it."""
        return EventFrame(
            event=EventType.PROGRESS,
            job_id=self.job_id,
            timestamp=self.timestamp,
            data=self.model_dump(mode="json", exclude={"job_id", "timestamp"}),
        )
