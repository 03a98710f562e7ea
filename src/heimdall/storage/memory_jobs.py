"""``JobRepository`` in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from heimdall.domain.errors import ConflictError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, Claim, Job, JobStatus, PendingAction
from heimdall.domain.ports import HeldLease, JobQuery, Page, ProgressUpdate, Stamp
from heimdall.storage.column_types import clean_text
from heimdall.storage.faults import CONFLICT_MESSAGE
from heimdall.storage.job_paging import check_limit, decode_cursor, encode_cursor, is_after, ordered, searched_text
from heimdall.storage.job_rows import check_job_version, clamp_percent, finite_or_none, job_changed, key_taken, lease_lost, no_such_job
from heimdall.storage.memory_state import JobRow, MemoryState


class MemoryJobs:
    """Jobs of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def add(self, job: Job, *, idempotency_key: str | None = None, fingerprint: str | None = None) -> None:
        """Store a new job. ConflictError where the idempotency key is taken."""
        if idempotency_key is not None and self.find_idempotent(idempotency_key):
            raise key_taken()
        if job.id in self._state.jobs:
            raise ConflictError(CONFLICT_MESSAGE)
        self._state.jobs[job.id] = JobRow(_stored(job), idempotency_key, fingerprint)

    def get(self, job_id: str, *, lock: bool = False) -> Job:
        """Return the job. NotFoundError."""
        return self._row(job_id).job

    def read_version(self, job_id: str) -> int:
        """Return the job's version alone. NotFoundError."""
        return self.get(job_id).version

    def find_idempotent(self, key: str) -> tuple[Job, str | None] | None:
        """Return the job created under ``key`` and its fingerprint."""
        return next(((row.job, row.fingerprint) for row in self._state.jobs.values() if row.idempotency_key == key), None)

    def save(self, job: Job, *, expected_version: int) -> None:
        """Compare-and-set on ``version``. ConflictError where someone else changed it first."""
        check_job_version(job, expected_version)
        row = self._row(job.id)
        if row.job.version != expected_version:
            raise job_changed(row.job)
        self._state.jobs[job.id] = replace(row, job=_stored(job))

    def delete(self, job_id: str) -> None:
        """Remove the job, its metrics, logs and events; the record of its deletion stays."""
        self._row(job_id)
        del self._state.jobs[job_id]
        self._state.metrics.pop(job_id, None)
        self._state.logs.pop(job_id, None)
        self._state.events = [event for event in self._state.events if event.job_id != job_id or event.type is EventType.DELETED]

    def find(self, query: JobQuery) -> Page[Job]:
        """Return one page. InvalidInputError for a cursor it did not make."""
        limit = check_limit(query.limit)
        place = decode_cursor(query)
        found = ordered(query.sort, [row.job for row in self._state.jobs.values() if self._matches(row.job, query)])
        rest = found if place is None else [job for job in found if is_after(query.sort, job, place)]
        items = tuple(rest[:limit])
        return Page(items, len(found), encode_cursor(query.sort, items[-1]) if len(rest) > limit else None)

    def _matches(self, job: Job, query: JobQuery) -> bool:
        if query.statuses and job.status not in query.statuses:
            return False
        if query.dataset_id is not None and job.dataset_id != query.dataset_id:
            return False
        if not query.text or not query.text.strip():
            return True
        folded = clean_text(query.text.strip()).casefold()
        dataset = self._state.datasets.get(job.dataset_id)
        return folded in searched_text(job) or (dataset is not None and folded in dataset.name.casefold())

    def count_by_status(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each of the six states."""
        counts = dict.fromkeys(JobStatus, 0)
        for row in self._state.jobs.values():
            counts[row.job.status] += 1
        return counts

    def fingerprint(self) -> str:
        """Return a short text that changes whenever any job is added, changed or removed (for ETags)."""
        found = [row.job for row in self._state.jobs.values()]
        newest_us = max((int(job.created_at.timestamp() * 1_000_000) for job in found), default=0)
        return f"{len(found)}-{sum(job.version for job in found)}-{newest_us:x}-{self._state.last_position}"

    def claim(self, job_id: str, *, worker_id: str, lease_until: datetime, now: datetime) -> Job | None:
        """Take a pending job without a pending action; None where it is not pending."""
        row = self._state.jobs.get(job_id)
        if row is None or row.job.status is not JobStatus.PENDING or row.job.pending_action is not None:
            return None
        job = row.job.evolve(
            status=JobStatus.RUNNING,
            attempt=row.job.attempt + 1,
            last_seq=row.job.last_seq + 1,
            version=row.job.version + 1,
            started_at=row.job.started_at or now,
            status_changed_at=now,
            worker_seen_at=now,
            notice=None,
            silent_since=None,
        )
        self._state.jobs[job_id] = replace(row, job=job, worker_id=worker_id, lease_expires_at=lease_until, next_enqueue_at=None)
        return job

    def heartbeat(self, claim: Claim, *, lease_until: datetime, now: datetime) -> PendingAction | None:
        """Prolong the lease and return what was asked for; does not change the version. LeaseLostError."""
        row = self._claimed(claim)
        self._state.jobs[claim.job_id] = replace(row, job=row.job.evolve(worker_seen_at=now), lease_expires_at=lease_until)
        return row.job.pending_action

    def read_control(self, claim: Claim) -> PendingAction | None:
        """Return what was asked for. LeaseLostError where the claim no longer holds."""
        return self._claimed(claim).job.pending_action

    def check_claim(self, claim: Claim) -> None:
        """Prove the claim. LeaseLostError."""
        self._claimed(claim)

    def record_progress(self, claim: Claim, update: ProgressUpdate, *, num_events: int = 1) -> Stamp:
        """Store progress, last_seq and version + ``num_events``, losses back to 0. LeaseLostError."""
        row = self._claimed(claim)
        job = row.job.evolve(
            current_epoch=update.current_epoch,
            progress_percent=clamp_percent(update.progress_percent),
            estimated_completion=update.estimated_completion,
            best_epoch=update.best_epoch,
            best_val_loss=finite_or_none(update.best_val_loss),
            best_val_error_median_m=finite_or_none(update.best_val_error_median_m),
            device=update.device or row.job.device,
            last_seq=row.job.last_seq + num_events,
            version=row.job.version + num_events,
        )
        self._state.jobs[claim.job_id] = replace(row, job=job, losses=0)
        return Stamp(seq=job.last_seq, version=job.version, asked=job.pending_action)

    def read_checkpoint(self, claim: Claim) -> Checkpoint | None:
        """Return the job's newest checkpoint. LeaseLostError."""
        return self._claimed(claim).job.checkpoint

    def point_to(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Store what the job's newest checkpoint is; version + 1. LeaseLostError."""
        row = self._claimed(claim)
        self._state.jobs[claim.job_id] = replace(row, job=row.job.evolve(checkpoint=checkpoint, version=row.job.version + 1))

    def release(self, job_id: str) -> None:
        """Forget worker and lease (after a transition out of running)."""
        self._set(job_id, worker_id=None, lease_expires_at=None, next_enqueue_at=None)

    def list_leases(self, job_id: str | None = None) -> list[HeldLease]:
        """Return the leases of all running jobs, or of one."""
        return [
            HeldLease(row.job.id, row.worker_id, (row.job.attempt, row.lease_expires_at))
            for row in self._state.jobs.values()
            if row.job.status is JobStatus.RUNNING and row.worker_id and row.lease_expires_at and job_id in (None, row.job.id)
        ]

    def count_loss(self, job_id: str) -> int:
        """Add one to the attempts lost in a row and return how many they are now."""
        row = self._state.jobs.get(job_id)
        self._set(job_id, losses=row.losses + 1 if row else 0)
        return row.losses + 1 if row else 0

    def reset_losses(self, job_id: str) -> None:
        """Set the attempts lost in a row to 0 (a person resumed the job)."""
        self._set(job_id, losses=0)

    def list_to_enqueue(self, now: datetime, *, latest: datetime, limit: int = 100) -> list[str]:
        """Return pending jobs that no message may be waiting for, oldest first."""
        due = [
            row.job
            for row in self._state.jobs.values()
            if row.job.status is JobStatus.PENDING
            and row.job.pending_action is None
            and (row.next_enqueue_at is None or not now < row.next_enqueue_at <= latest)
        ]
        return [job.id for job in ordered("oldest", due)[:limit]]

    def mark_enqueued(self, job_id: str, *, next_enqueue_at: datetime) -> None:
        """Note that a message was sent, and when to doubt it."""
        self._set(job_id, next_enqueue_at=next_enqueue_at)

    def _row(self, job_id: str) -> JobRow:
        row = self._state.jobs.get(job_id)
        if row is None:
            raise no_such_job(job_id)
        return row

    def _claimed(self, claim: Claim) -> JobRow:
        row = self._state.jobs.get(claim.job_id)
        is_held = (
            row is not None
            and row.job.status is JobStatus.RUNNING
            and row.worker_id == claim.worker_id
            and row.job.attempt == claim.attempt
        )
        if row is None or not is_held:
            raise lease_lost(claim)
        return row

    def _set(self, job_id: str, **values: Any) -> None:  # noqa: ANN401
        if row := self._state.jobs.get(job_id):
            self._state.jobs[job_id] = replace(row, **values)


def _stored(job: Job) -> Job:
    return job.evolve(
        best_val_loss=finite_or_none(job.best_val_loss),
        best_val_error_median_m=finite_or_none(job.best_val_error_median_m),
    )
