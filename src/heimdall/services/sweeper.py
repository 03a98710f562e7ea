"""Heals what a lost message or a lost worker left behind: seconds, never a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import NotFoundError, UnavailableError
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import Clock, JobQueue, Store
from heimdall.services.jobs import JobSettings, needs_gpu
from heimdall.services.transitions import give_up_attempt

MAX_DOUBT_S: Final = 60.0
"""s, longest time between two messages for one waiting job."""
DATASET_DOUBT_S: Final = 20.0
"""s without progress after which a data set's builder counts as gone; building twice gives the same data set."""


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did, by job id."""

    moved: dict[str, JobStatus] = field(default_factory=dict)
    sent: tuple[str, ...] = ()
    sent_datasets: tuple[str, ...] = ()
    is_broker_away: bool = False

    @property
    def is_quiet(self) -> bool:
        """True where there was nothing to do."""
        return not (self.moved or self.sent or self.sent_datasets or self.is_broker_away)


@dataclass
class _DatasetLook:
    version: int
    progress_percent: float
    doubted_at: datetime


class Sweeper:
    """One per worker, for one thread; several workers may sweep at the same time."""

    def __init__(self, *, store: Store, queue: JobQueue, clock: Clock, settings: JobSettings) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._looks: dict[str, _DatasetLook] = {}

    def sweep(self) -> SweepReport:
        """Requeue or end jobs whose lease ran out, and send again what may have no message waiting.

        Raises
        ------
        UnavailableError
            The database is away. A broker that is away is only reported.
        """
        now = self._clock.now()
        with self._store.read() as tx:
            expired = [lease.job.id for lease in tx.jobs.list_expired(now)]
            waiting = tx.jobs.list_to_enqueue(now)
            building = [dataset for dataset in tx.datasets.find_all() if dataset.status is DatasetStatus.BUILDING]
        moved = {job_id: status for job_id in expired if (status := self._expire(job_id, now)) is not None}
        requeued = [job_id for job_id, status in moved.items() if status is JobStatus.PENDING]
        sent, is_broker_away = self._send_jobs([*waiting, *(job_id for job_id in requeued if job_id not in waiting)], now)
        sent_datasets: tuple[str, ...] = ()
        looks = {dataset.id: (dataset.version, dataset.progress_percent) for dataset in building}
        if not is_broker_away:
            sent_datasets, is_broker_away = self._send_datasets(looks, now)
        return SweepReport(moved=moved, sent=sent, sent_datasets=sent_datasets, is_broker_away=is_broker_away)

    def _expire(self, job_id: str, now: datetime) -> JobStatus | None:
        with self._store.write() as tx:
            try:
                job = tx.jobs.get(job_id, lock=True)
            except NotFoundError:
                return None
            # Looked at again under the lock: a heartbeat or another sweeper may have come first.
            lease = next((lease for lease in tx.jobs.list_expired(now) if lease.job.id == job_id), None)
            if lease is None:
                return None
            losses = tx.jobs.count_loss(job_id)
            reason = f"The worker was silent for more than {self._settings.lease_s:g} s."
            return give_up_attempt(tx, job, now=now, reason=reason, losses=losses, max_attempts=self._settings.max_attempts).status

    def _send_jobs(self, job_ids: list[str], now: datetime) -> tuple[tuple[str, ...], bool]:
        sent: dict[str, datetime] = {}
        is_broker_away = False
        for job_id in job_ids:
            with self._store.read() as tx:
                try:
                    job = tx.jobs.get(job_id)
                except NotFoundError:
                    continue
            try:
                self._queue.enqueue_job(job_id, needs_gpu=needs_gpu(job.config))
            except UnavailableError:
                is_broker_away = True
                break
            sent[job_id] = now + self._doubt(now - (job.status_changed_at or job.created_at))
        if sent:
            with self._store.write() as tx:
                for job_id, next_enqueue_at in sent.items():
                    tx.jobs.mark_enqueued(job_id, next_enqueue_at=next_enqueue_at)
        return tuple(sent), is_broker_away

    def _doubt(self, waited: timedelta) -> timedelta:
        """Return how long to trust the message: as long as the job waited already, so that the time doubles."""
        return timedelta(seconds=min(max(waited.total_seconds(), self._settings.enqueue_doubt_s), MAX_DOUBT_S))

    def _send_datasets(self, looks: dict[str, tuple[int, float]], now: datetime) -> tuple[tuple[str, ...], bool]:
        sent: list[str] = []
        doubt = timedelta(seconds=DATASET_DOUBT_S)
        self._looks = {dataset_id: look for dataset_id, look in self._looks.items() if dataset_id in looks}
        for dataset_id, (version, progress_percent) in looks.items():
            look = self._looks.get(dataset_id)
            if look is None or (look.version, look.progress_percent) != (version, progress_percent):
                self._looks[dataset_id] = _DatasetLook(version, progress_percent, now + doubt)
            elif now >= look.doubted_at:
                try:
                    self._queue.enqueue_dataset(dataset_id)
                except UnavailableError:
                    return tuple(sent), True
                look.doubted_at = now + doubt
                sent.append(dataset_id)
        return tuple(sent), False
