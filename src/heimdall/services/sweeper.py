"""Heals what a lost message or a lost worker left behind: seconds, never a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import LockedError, NotFoundError, UnavailableError
from heimdall.domain.events import RequeueCause
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import Clock, HeldLease, JobQueue, Store
from heimdall.domain.workers import WorkerRegistry
from heimdall.services.jobs import JobSettings, needs_gpu
from heimdall.services.transitions import give_up_attempt

MAX_DOUBT_S: Final = 60.0
"""s, longest time between two messages for one waiting job."""
_KEPT_OUT: Final = 0.05
"""Share of a lease: a writer that waited longer for its turn was kept out, and so were heartbeats."""
DATASET_DOUBT_S: Final = 20.0
"""s without progress after which a data set's builder counts as gone; building twice gives the same data set."""


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did, by job id."""

    moved: dict[str, JobStatus] = field(default_factory=dict)
    sent: tuple[str, ...] = ()
    sent_datasets: tuple[str, ...] = ()
    is_broker_away: bool = False
    blocked: tuple[str, ...] = ()
    """Jobs whose worker is gone or silent, but whose rows another transaction holds; they are tried again."""

    @property
    def is_quiet(self) -> bool:
        """True where there was nothing to do."""
        return not (self.moved or self.sent or self.sent_datasets or self.is_broker_away or self.blocked)

    @property
    def trouble(self) -> str | None:
        """What keeps this sweep from healing, as a sentence; a broker that is away is told by its own ping."""
        if not self.blocked:
            return None
        return (
            f"{len(self.blocked)} job(s) cannot be taken from a worker that is gone or silent, because a transaction holds them: "
            f"{', '.join(self.blocked[:3])}. They are tried again; on PostgreSQL pg_stat_activity names the session."
        )


@dataclass
class _Watch:
    """How long something stayed as it is, in seconds this sweeper was awake and the database answered."""

    state: object
    silent_s: float = 0.0
    is_blocked: bool = False
    """Its row was held by another transaction when it was to be moved."""


class Sweeper:
    """One per worker, for one thread; several workers may sweep at the same time.

    A lease has run out when this sweeper saw no heartbeat for ``lease_s`` of its own monotonic time. No two clocks are compared, so a
    clock that jumps ends no lease and keeps none alive. A worker of this machine whose process is gone is not waited for. The second half
    of a lease counts only while others can write: a database that somebody holds locked keeps every heartbeat out too.
    """

    def __init__(
        self,
        *,
        store: Store,
        queue: JobQueue,
        clock: Clock,
        settings: JobSettings,
        registry: WorkerRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._registry = registry
        self._monotonic = monotonic
        self._swept_at = monotonic()
        self._leases: dict[str, _Watch] = {}
        self._builds: dict[str, _Watch] = {}

    def sweep(self) -> SweepReport:
        """Requeue or end jobs whose worker is gone or silent, and send again what may have no message waiting.

        Raises
        ------
        UnavailableError
            The database is away. A broker that is away is only reported.
        """
        try:
            return self._sweep()
        except UnavailableError:
            # Nobody could write a heartbeat either: every silence is counted anew.
            self._leases.clear()
            raise

    def _sweep(self) -> SweepReport:
        now, elapsed_s = self._clock.now(), self._measure()
        with self._store.read() as tx:
            leases = tx.jobs.list_leases()
            waiting = tx.jobs.list_to_enqueue(now, latest=now + timedelta(seconds=MAX_DOUBT_S + self._settings.enqueue_doubt_s))
            building = [dataset for dataset in tx.datasets.find_all() if dataset.status is DatasetStatus.BUILDING]
        _watch(self._leases, {lease.job_id: lease.stamp for lease in leases}, elapsed_s)
        moved = {lease.job_id: status for lease in leases if (status := self._try_to_expire(lease, now)) is not None}
        blocked = tuple(job_id for job_id, watch in self._leases.items() if watch.is_blocked)
        requeued = [job_id for job_id, status in moved.items() if status is JobStatus.PENDING]
        sent, is_broker_away = self._send_jobs([*waiting, *(job_id for job_id in requeued if job_id not in waiting)], now)
        sent_datasets: tuple[str, ...] = ()
        _watch(self._builds, {dataset.id: (dataset.version, dataset.progress_percent) for dataset in building}, elapsed_s)
        if not is_broker_away:
            sent_datasets, is_broker_away = self._send_datasets()
        return SweepReport(moved=moved, sent=sent, sent_datasets=sent_datasets, is_broker_away=is_broker_away, blocked=blocked)

    def _measure(self) -> float:
        """Return s since the last sweep; a long sleep (a frozen process) counts for little, because others slept with it."""
        before, self._swept_at = self._swept_at, self._monotonic()
        return min(self._swept_at - before, self._settings.lease_s / 2)

    def _try_to_expire(self, lease: HeldLease, now: datetime) -> JobStatus | None:
        """Expire one lease; a row that another transaction holds must not keep the other jobs waiting."""
        watch = self._leases[lease.job_id]
        loss: tuple[RequeueCause, str] | None = None
        if self._registry.is_gone(lease.worker_id):
            loss = RequeueCause.WORKER_ENDED, "The worker that trained it ended without a word."
        elif watch.silent_s > self._settings.lease_s:
            loss = RequeueCause.WORKER_SILENT, f"The worker was silent for more than {self._settings.lease_s:g} s."
        elif watch.silent_s <= self._settings.lease_s / 2:
            return None
        try:
            status = self._expire(lease, now, loss)
        except LockedError:
            watch.is_blocked = loss is not None
            self._give_time()
            return None
        if status is not None:
            watch.is_blocked = False
        return status

    def _give_time(self) -> None:
        """Let every worker have half a lease from now: what kept this writer out kept heartbeats out."""
        self._swept_at = self._monotonic()
        for watch in self._leases.values():
            watch.silent_s = min(watch.silent_s, self._settings.lease_s / 2)

    def _expire(self, lease: HeldLease, now: datetime, loss: tuple[RequeueCause, str] | None) -> JobStatus | None:
        """Take the job from its worker; without a loss only look whether one could write. LockedError where one cannot."""
        began = self._monotonic()
        with self._store.write() as tx:
            try:
                job = tx.jobs.get(lease.job_id, lock=True)
            except NotFoundError:
                return None
            # Looked at again under the lock: a heartbeat or another sweeper may have come first.
            if lease not in tx.jobs.list_leases(lease.job_id):
                return None
            if self._monotonic() - began > _KEPT_OUT * self._settings.lease_s and (loss is None or loss[0] is RequeueCause.WORKER_SILENT):
                self._give_time()
                return None
            if loss is None:
                return None
            cause, reason = loss
            losses = tx.jobs.count_loss(lease.job_id)
            limit = self._settings.max_attempts
            return give_up_attempt(tx, job, now=now, reason=reason, cause=cause, losses=losses, max_attempts=limit).status

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

    def _send_datasets(self) -> tuple[tuple[str, ...], bool]:
        sent: list[str] = []
        for dataset_id, watch in self._builds.items():
            if watch.silent_s < DATASET_DOUBT_S:
                continue
            try:
                self._queue.enqueue_dataset(dataset_id)
            except UnavailableError:
                return tuple(sent), True
            watch.silent_s = 0.0
            sent.append(dataset_id)
        return tuple(sent), False


def _watch(watches: dict[str, _Watch], states: Mapping[str, object], elapsed_s: float) -> None:
    """Note for each subject how long it stayed in its present state; forget those that are no longer there."""
    for subject in watches.keys() - states.keys():
        del watches[subject]
    for subject, state in states.items():
        known = watches.get(subject)
        if known is None or known.state != state:
            watches[subject] = _Watch(state)
        else:
            known.silent_s += elapsed_s
