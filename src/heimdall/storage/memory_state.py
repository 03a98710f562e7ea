"""What the in-memory store holds. Rows are immutable and replaced, so that a copy of the outer dicts is a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from heimdall.domain.audit import AuditEntry
from heimdall.domain.datasets import Dataset
from heimdall.domain.errors import NotFoundError
from heimdall.domain.events import StoredEvent
from heimdall.domain.jobs import Job
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import TrainedModelDetail
from heimdall.domain.ports import LogLine
from heimdall.storage.faults import ORPHAN_MESSAGE


@dataclass(frozen=True)
class JobRow:
    """A job with its operational columns."""

    job: Job
    idempotency_key: str | None = None
    fingerprint: str | None = None
    worker_id: str | None = None
    lease_expires_at: datetime | None = None
    losses: int = 0
    next_enqueue_at: datetime | None = None


@dataclass
class MemoryState:
    """All tables. ``metrics`` and ``logs`` hold immutable groups per job."""

    jobs: dict[str, JobRow] = field(default_factory=dict)
    metrics: dict[str, dict[int, TrainingMetric]] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    last_position: int = 0
    logs: dict[str, tuple[LogLine, ...]] = field(default_factory=dict)
    audit: tuple[AuditEntry, ...] = ()
    datasets: dict[str, Dataset] = field(default_factory=dict)
    models: dict[str, TrainedModelDetail] = field(default_factory=dict)
    tombstones: dict[str, datetime] = field(default_factory=dict)
    holds: dict[str, datetime] = field(default_factory=dict)

    def copy(self) -> MemoryState:
        """Return a snapshot."""
        return replace(
            self,
            jobs=self.jobs.copy(),
            metrics=self.metrics.copy(),
            events=self.events.copy(),
            logs=self.logs.copy(),
            datasets=self.datasets.copy(),
            models=self.models.copy(),
            tombstones=self.tombstones.copy(),
            holds=self.holds.copy(),
        )

    def require_job(self, job_id: str) -> None:
        """Raise NotFoundError where a row would belong to no job, as a foreign key does."""
        if job_id not in self.jobs:
            raise NotFoundError(ORPHAN_MESSAGE)
