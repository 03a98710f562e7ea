"""The one way a job changes: compare-and-set with its event in the same transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from heimdall.domain.events import EventType, RequeueCause
from heimdall.domain.jobs import Job, JobEvent, JobStatus, PendingAction, next_status
from heimdall.domain.ports import Transaction

_FINAL_EVENT_TYPES: dict[JobStatus, EventType] = {
    JobStatus.PAUSED: EventType.PAUSED,
    JobStatus.CANCELLED: EventType.CANCELLED,
    JobStatus.FAILED: EventType.FAILED,
    JobStatus.COMPLETED: EventType.COMPLETED,
}


def make_payload(job: Job, **extra: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the ``data`` of a lifecycle frame: the full job and the three words every durable frame carries."""
    return {
        "status": job.status.value,
        "version": job.version,
        "pending_action": job.pending_action.value if job.pending_action else None,
        "job": job.model_dump(mode="json"),
        **{name: value for name, value in extra.items() if value is not None},
    }


def change_job(
    tx: Transaction,
    job: Job,
    event_type: EventType,
    *,
    now: datetime,
    reason: str | None = None,
    cause: RequeueCause | None = None,
    **changes: Any,  # noqa: ANN401
) -> Job:
    """Save ``job`` with ``changes`` and append the event that says so.

    Raises
    ------
    ConflictError
        Someone else changed the job first; the transaction rolls back as a whole.
    """
    changed = job.evolve(version=job.version + 1, last_seq=job.last_seq + 1, **changes)
    tx.jobs.save(changed, expected_version=job.version)
    tx.events.append(changed.id, seq=changed.last_seq, type=event_type, payload=make_payload(changed, reason=reason, cause=cause), now=now)
    return changed


def move_job(
    tx: Transaction,
    job: Job,
    event: JobEvent,
    *,
    now: datetime,
    reason: str | None = None,
    cause: RequeueCause | None = None,
    event_type: EventType | None = None,
    **changes: Any,  # noqa: ANN401
) -> Job:
    """Move ``job`` along the table of transitions and give its worker's lease back where it was running.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such move.
    ConflictError
        Someone else changed the job first.
    """
    target = next_status(job.status, event)
    moved = change_job(
        tx,
        job,
        event_type or _FINAL_EVENT_TYPES[target],
        now=now,
        reason=reason,
        cause=cause,
        status=target,
        status_changed_at=now,
        pending_action=None,
        estimated_completion=None,
        worker_seen_at=None,
        silent_since=None,
        notice=job.notice if event is JobEvent.FINISHED else None,
        completed_at=now if target.is_final else None,
        **changes,
    )
    if job.status is JobStatus.RUNNING:
        tx.jobs.release(job.id)
    return moved


def give_up_attempt(
    tx: Transaction,
    job: Job,
    *,
    now: datetime,
    reason: str,
    cause: RequeueCause,
    losses: int | None,
    max_attempts: int,
    detail: str | None = None,
) -> Job:
    """Move a running job whose worker is gone to where it belongs.

    A cancel or pause that was asked for is honoured; else the job waits for the next attempt at its last
    checkpoint, or fails after too many losses in a row.

    Parameters
    ----------
    losses
        Attempts lost in a row with this one; None where the worker gave the job back by itself.
    """
    if job.pending_action is PendingAction.CANCEL:
        return move_job(tx, job, JobEvent.CANCEL_DONE, now=now, reason=reason)
    if job.pending_action is PendingAction.PAUSE:
        return move_job(tx, job, JobEvent.PAUSE_DONE, now=now, reason=reason)
    if losses is not None and losses >= max_attempts:
        times = "once" if losses == 1 else f"{losses} times in a row"
        message = f"{reason} The job was stopped because this happened {times} without one finished epoch."
        return move_job(tx, job, JobEvent.ERROR, now=now, error_message=message, error_detail=detail)
    moved = move_job(tx, job, JobEvent.WORKER_LOST, now=now, reason=reason, cause=cause, event_type=EventType.REQUEUED)
    tx.jobs.mark_enqueued(job.id, next_enqueue_at=now)
    return moved
