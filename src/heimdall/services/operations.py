"""What an operator wants to know about the jobs right now, read from the database in one consistent look."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from heimdall.domain.jobs import Job, JobStatus
from heimdall.domain.ports import Clock, JobQuery, Store

_NUM_STARTED: Final = 100
_MAX_RUNNING: Final = 200


@dataclass(frozen=True)
class OperationsLook:
    """The state of the queue and of the workers at one moment; seconds are 0 where there is nothing to measure."""

    count_by_status: dict[JobStatus, int]
    queue_depth: int = 0
    oldest_wait_s: float = 0.0
    lease_age_s: float = 0.0
    num_expired: int = 0
    checkpoint_s: float = 0.0
    checkpoint_age_s: float = 0.0
    dispatch_s: dict[str, float] = field(default_factory=dict)


class OperationsService:
    """Looks at everything at once; the cost does not grow with the history."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def look(self) -> OperationsLook:
        """Return the present state. UnavailableError."""
        with self._store.read() as tx:
            counts = tx.jobs.count_by_status()
            waiting = tx.jobs.find(JobQuery(statuses=frozenset({JobStatus.PENDING}), sort="oldest", limit=1)).items
            running = tx.jobs.find(JobQuery(statuses=frozenset({JobStatus.RUNNING}), limit=_MAX_RUNNING)).items
            newest = tx.jobs.find(JobQuery(statuses=frozenset(JobStatus) - {JobStatus.PENDING}, limit=_NUM_STARTED)).items
            now = self._clock.now()
            num_expired = sum(lease.stamp[1] < now for lease in tx.jobs.list_leases())
        checkpoints = [job.checkpoint for job in running if job.checkpoint is not None]
        return OperationsLook(
            count_by_status=counts,
            queue_depth=counts[JobStatus.PENDING],
            oldest_wait_s=max((_age_s(job.status_changed_at or job.created_at, now) for job in waiting), default=0.0),
            lease_age_s=max((_age_s(job.worker_seen_at, now) for job in running if job.worker_seen_at is not None), default=0.0),
            num_expired=num_expired,
            checkpoint_s=max((checkpoint.write_s or 0.0 for checkpoint in checkpoints), default=0.0),
            checkpoint_age_s=max((_age_s(checkpoint.created_at, now) for checkpoint in checkpoints), default=0.0),
            dispatch_s=_measure_dispatch(newest),
        )


def _measure_dispatch(jobs: tuple[Job, ...]) -> dict[str, float]:
    """Return the median and the 95th percentile of the s from creation to first start."""
    waits = sorted((job.started_at - job.created_at).total_seconds() for job in jobs if job.started_at is not None)
    if not waits:
        return {}
    return {quantile: waits[min(len(waits) - 1, int(float(quantile) * len(waits)))] for quantile in ("0.5", "0.95")}


def _age_s(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
