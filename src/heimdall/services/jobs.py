"""Use cases of a job: create, look, pause, resume, cancel, delete, continue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from heimdall.domain.audit import AuditAction, AuditSubject
from heimdall.domain.base import new_id
from heimdall.domain.catalogue import HOW_TO_KEEP_IQ, get_architecture
from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import (
    ConflictError,
    HeimdallError,
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from heimdall.domain.events import EventFrame, EventType
from heimdall.domain.jobs import Checkpoint, Job, JobEvent, JobStatus, PendingAction, TrainingJobConfig, count_folds
from heimdall.domain.ports import ArtifactStore, Clock, JobQuery, JobQueue, LogLine, Page, Store, Transaction
from heimdall.services.attempt_files import discard_unfinished, name_checkpoint
from heimdall.services.audit import record
from heimdall.services.disposal import Disposal, checkpoint_folder
from heimdall.services.retention import CHECKPOINT_EXPIRED
from heimdall.services.transitions import change_job, make_payload, move_job

FULL_DISK_NOTICE: Final = "Waiting: the disk is full. Free some space; the job goes on by itself."
FULL_DISK_BYTES: Final = 4 * 1024 * 1024
"""Free bytes below which a disk counts as full."""

_NUM_LAST_EVENTS: Final = 100
"""Of an ended job, read to learn why it has no checkpoint: after its end little happens to a job."""


class _DamagedCheckpointError(ConflictError):
    code = "checkpoint_invalid"


@dataclass(frozen=True)
class JobSettings:
    """What the rules of jobs need from the settings. ``has_cuda`` looks at the machine without torch."""

    max_attempts: int
    enqueue_doubt_s: float
    lease_s: float
    has_cuda: Callable[[], bool]
    admit: Callable[[], None] = lambda: None
    """Raises where nothing new is taken now, because the quota is used up."""


def needs_gpu(config: TrainingJobConfig) -> bool:
    """Return whether the job goes to the queue of GPU workers; ``auto`` runs wherever there is room."""
    return config.device == "cuda"


def compute_fingerprint(config: TrainingJobConfig) -> str:
    """Return the hash by which a repeated create is told from another one under the same key."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


class JobService:
    """What a person can do with jobs. Every change is one transaction with its event."""

    def __init__(self, *, store: Store, queue: JobQueue, artifacts: ArtifactStore, clock: Clock, settings: JobSettings) -> None:
        self._store = store
        self._queue = queue
        self._artifacts = artifacts
        self._clock = clock
        self._settings = settings
        self._disposal = Disposal(store=store, artifacts=artifacts, clock=clock)

    def create(self, config: TrainingJobConfig, *, idempotency_key: str | None = None) -> tuple[Job, bool]:
        """Store a job with its first event and wake a worker; the sweeper does so later where the broker is away.

        Returns
        -------
        tuple
            The job, and whether it is new (False where ``idempotency_key`` had made it before).

        Raises
        ------
        InvalidInputError
            Naming the field that does not fit the data set, the machine or the catalogue.
        ConflictError
            Code ``idempotency_conflict``: the key made a job of another body.
        """
        fingerprint = compute_fingerprint(config)
        try:
            job, is_new = self._create_once(config, idempotency_key, fingerprint)
        except ConflictError:
            if idempotency_key is None or (known := self._find_idempotent(idempotency_key, fingerprint)) is None:
                raise
            return known, False
        if is_new:
            self._enqueue(job)
        return job, is_new

    def _create_once(self, config: TrainingJobConfig, key: str | None, fingerprint: str) -> tuple[Job, bool]:
        if key is not None and (known := self._find_idempotent(key, fingerprint)) is not None:
            return known, False
        self._settings.admit()
        self._check_config(config)
        now = self._clock.now()
        job = Job(
            id=new_id(),
            name=config.job_name,
            created_at=now,
            status_changed_at=now,
            config=config,
            total_epochs=config.epochs,
            dataset_id=config.dataset_id,
            last_seq=1,
        )
        with self._store.write() as tx:
            self._check_dataset(tx, config)
            self._add(tx, job, key=key, fingerprint=fingerprint)
            record(tx, AuditAction.CREATE, AuditSubject.JOB, job.id, now=now, name=job.name)
        return job, True

    def _find_idempotent(self, key: str, fingerprint: str) -> Job | None:
        with self._store.read() as tx:
            known = tx.jobs.find_idempotent(key)
        if known is None:
            return None
        job, known_fingerprint = known
        if known_fingerprint != fingerprint:
            raise ConflictError(
                f"The idempotency key was already used for job {job.id} with another body. Send a new key to create another job.",
                code="idempotency_conflict",
            )
        return job

    def _add(self, tx: Transaction, job: Job, *, key: str | None = None, fingerprint: str | None = None) -> None:
        now = job.created_at
        tx.jobs.add(job, idempotency_key=key, fingerprint=fingerprint)
        tx.events.append(job.id, seq=job.last_seq, type=EventType.UPDATED, payload=make_payload(job, reason="created"), now=now)
        tx.jobs.mark_enqueued(job.id, next_enqueue_at=now + timedelta(seconds=self._settings.enqueue_doubt_s))

    def _enqueue(self, job: Job) -> None:
        # The row is the truth: a broker that is away costs the seconds until the sweeper's next look.
        with suppress(UnavailableError):
            self._queue.enqueue_job(job.id, needs_gpu=needs_gpu(job.config))

    def _check_config(self, config: TrainingJobConfig) -> None:
        try:
            get_architecture(config.model_architecture)
        except NotFoundError as error:
            raise InvalidInputError(error.detail, field="model_architecture") from error
        num_folds = count_folds(config.validation_split)
        if config.validation_fold >= num_folds:
            raise InvalidInputError(
                f"A validation split of {config.validation_split:g} gives {num_folds} folds, numbered from 0. "
                f"Choose a fold from 0 to {num_folds - 1}.",
                field="validation_fold",
            )
        has_cuda = config.device != "cpu" and (config.device == "cuda" or config.precision == "fp16") and self._settings.has_cuda()
        if config.device == "cuda" and not has_cuda:
            raise InvalidInputError("This machine has no CUDA device. Choose 'auto' or 'cpu'.", field="device")
        if config.precision == "fp16" and not has_cuda:
            raise InvalidInputError("fp16 needs a CUDA device, which this job would not have. Choose 'fp32' or 'bf16'.", field="precision")

    @staticmethod
    def _check_dataset(tx: Transaction, config: TrainingJobConfig) -> None:
        try:
            dataset = tx.datasets.get(config.dataset_id, lock=True)
        except NotFoundError as error:
            raise InvalidInputError(
                f"There is no data set '{config.dataset_id}'. Choose one that is listed.", field="dataset_id"
            ) from error
        if dataset.status is not DatasetStatus.READY:
            advice = "Wait until it is ready." if dataset.status is DatasetStatus.BUILDING else "Choose another one."
            raise InvalidInputError(f"The data set '{dataset.name}' is {dataset.status}, not ready. {advice}", field="dataset_id")
        architecture = get_architecture(config.model_architecture)
        if architecture.needs_iq and not dataset.config.get("keep_iq", False):
            raise InvalidInputError(
                f"'{architecture.id}' works on samples, and the data set '{dataset.name}' keeps none. {HOW_TO_KEEP_IQ}",
                field="model_architecture",
            )
        num_folds, split = count_folds(config.validation_split), dataset.split
        if split is not None and split.num_groups < num_folds:
            raise InvalidInputError(
                f"The data set '{dataset.name}' has {split.num_groups} group(s) by {split.column}, too few to hold out one of {num_folds}. "
                "Hold out a larger share, or import it grouped finer.",
                field="validation_split" if split.num_groups > 1 else "dataset_id",
            )

    def get(self, job_id: str) -> Job:
        """Return the job. NotFoundError."""
        with self._store.read() as tx:
            return self._with_full_disk(tx.jobs.get(job_id))

    def find(self, query: JobQuery) -> Page[Job]:
        """Return one page of jobs."""
        with self._store.read() as tx:
            page = tx.jobs.find(query)
        return replace(page, items=tuple(self._with_full_disk(job) for job in page.items))

    def _with_full_disk(self, job: Job) -> Job:
        """Say what a job waits for whose worker was silent for half a lease: on a full disk the database takes no word from it."""
        if job.status is not JobStatus.RUNNING or job.notice is not None or job.worker_seen_at is None:
            return job
        if self._clock.now() - job.worker_seen_at <= timedelta(seconds=self._settings.lease_s / 2):
            return job
        with suppress(UnavailableError):
            if self._artifacts.free_bytes() < FULL_DISK_BYTES:
                return job.evolve(notice=FULL_DISK_NOTICE)
        return job

    def list_fingerprint(self) -> str:
        """Return a text that changes whenever any job does."""
        with self._store.read(settled=True) as tx:
            return tx.jobs.fingerprint()

    def count_by_status(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each state."""
        with self._store.read() as tx:
            return tx.jobs.count_by_status()

    def pause(self, job_id: str) -> Job:
        """Pause a pending job at once, or ask the worker of a running one. Asking twice is the same.

        Raises
        ------
        IllegalTransitionError
            Where the job is neither, or is being cancelled.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            if job.status is JobStatus.PENDING:
                record(tx, AuditAction.PAUSE, AuditSubject.JOB, job_id, now=now, name=job.name)
                return move_job(tx, job, JobEvent.PAUSE_DONE, now=now)
            if job.status is not JobStatus.RUNNING:
                raise _refuse(job, JobStatus.PAUSED, "only a pending or running job can be paused")
            if job.pending_action is PendingAction.CANCEL:
                raise IllegalTransitionError("The job is running and is being cancelled, so it cannot become paused.")
            if job.pending_action is PendingAction.PAUSE:
                return job
            record(tx, AuditAction.PAUSE, AuditSubject.JOB, job_id, now=now, name=job.name)
            return change_job(tx, job, EventType.UPDATED, now=now, reason="pause_requested", pending_action=PendingAction.PAUSE)

    def resume(self, job_id: str) -> Job:
        """Put a paused job back in the queue; it goes on from its last checkpoint.

        Raises
        ------
        IllegalTransitionError
            Where the job is not paused (yet).
        """
        now = self._clock.now()
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            if job.status is not JobStatus.PAUSED:
                advice = "only a paused job can be resumed"
                if job.pending_action is PendingAction.PAUSE:
                    advice = "it is still pausing; resume it once it is paused"
                raise _refuse(job, JobStatus.PENDING, advice)
            resumed = move_job(tx, job, JobEvent.RESUMED, now=now, event_type=EventType.UPDATED, reason="resume_requested")
            record(tx, AuditAction.RESUME, AuditSubject.JOB, job_id, now=now, name=job.name)
            tx.jobs.reset_losses(job_id)
            tx.jobs.mark_enqueued(job_id, next_enqueue_at=now + timedelta(seconds=self._settings.enqueue_doubt_s))
        self._enqueue(resumed)
        return resumed

    def cancel(self, job_id: str) -> Job:
        """Cancel a pending or paused job at once, or ask the worker of a running one. Asking twice is the same.

        Raises
        ------
        IllegalTransitionError
            Where the job is final.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            if job.status.is_final:
                raise _refuse(job, JobStatus.CANCELLED, "a finished job stays as it is")
            if job.pending_action is PendingAction.CANCEL:
                return job
            record(tx, AuditAction.CANCEL, AuditSubject.JOB, job_id, now=now, name=job.name)
            if job.status is JobStatus.RUNNING:
                return change_job(tx, job, EventType.UPDATED, now=now, reason="cancel_requested", pending_action=PendingAction.CANCEL)
            cancelled = move_job(tx, job, JobEvent.CANCEL_DONE, now=now)
            is_held = tx.upkeep.is_held(now)
        with suppress(UnavailableError):
            discard_unfinished(self._artifacts, cancelled, is_held=is_held)
        return cancelled

    def delete(self, job_id: str) -> None:
        """Remove a final job with its metrics, logs and checkpoints; its model stays.

        Raises
        ------
        IllegalTransitionError
            Where the job is still active.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            if not job.status.is_final:
                raise IllegalTransitionError(
                    f"The job is {job.status}; only a completed, failed or cancelled job can be deleted. Cancel it first."
                )
            tx.jobs.delete(job_id)
            record(tx, AuditAction.DELETE, AuditSubject.JOB, job_id, now=now, name=job.name)
            payload = {"status": job.status.value, "version": job.version + 1, "pending_action": None}
            tx.events.append(job_id, seq=job.last_seq + 1, type=EventType.DELETED, payload=payload, now=now)
            tx.upkeep.bury(checkpoint_folder(job_id), now=now)
        self._disposal.collect()

    def continue_job(self, job_id: str, *, epochs: int | None = None, job_name: str | None = None) -> Job:
        """Make a new job that starts from the last checkpoint of a final one; the old one stays as history.

        Raises
        ------
        IllegalTransitionError
            Where the source is still active.
        ConflictError
            Where it has no checkpoint, or no longer: code ``checkpoint_expired``.
        InvalidInputError
            Where ``epochs`` leaves nothing to train.
        """
        source = self.get(job_id)
        self._check_retention(source)
        newest = _require_checkpoint(source)
        if newest.previous is None:
            return self._continue_from(source, newest, epochs=epochs, job_name=job_name)
        try:
            return self._continue_from(source, newest, epochs=epochs, job_name=job_name)
        except _DamagedCheckpointError:
            return self._continue_from(source, Checkpoint(**newest.previous.model_dump()), epochs=epochs, job_name=job_name)

    def _check_retention(self, job: Job) -> None:
        """Tell a job whose checkpoint was kept long enough from one that never had any. ConflictError."""
        if job.checkpoint is not None or not job.status.is_final:
            return
        with self._store.read() as tx:
            last = tx.events.list_of_job(job.id, since=max(0, job.last_seq - _NUM_LAST_EVENTS))
        expired = next((event for event in last if event.payload.get("reason") == CHECKPOINT_EXPIRED), None)
        if expired is not None:
            raise ConflictError(
                f"The job's checkpoint was removed on {expired.created_at:%Y-%m-%d}: those of ended jobs are kept for a limited time "
                "(HEIMDALL_KEEP_CHECKPOINTS_DAYS). Its curve and model stay. Create a new job with the same settings instead.",
                code="checkpoint_expired",
            )

    def _continue_from(self, source: Job, checkpoint: Checkpoint, *, epochs: int | None, job_name: str | None) -> Job:
        config = source.config.evolve(
            epochs=epochs if epochs is not None else source.config.epochs,
            job_name=job_name if job_name is not None else source.name,
        )
        if config.epochs <= checkpoint.epoch:
            raise InvalidInputError(
                f"The checkpoint already holds {checkpoint.epoch} epochs. Ask for more than {checkpoint.epoch}.", field="epochs"
            )
        self._settings.admit()
        self._check_config(config)
        job = self._draft_continuation(source, checkpoint, config)
        try:
            self._copy_checkpoint(checkpoint, _require_checkpoint(job, of_final=False).key)
            with self._store.write() as tx:
                self._check_dataset(tx, config)
                self._add(tx, job)
                tx.metrics.copy(source.id, job.id, until_epoch=checkpoint.epoch)
                record(tx, AuditAction.CONTINUE, AuditSubject.JOB, job.id, now=job.created_at, name=job.name, continues=source.id)
        except HeimdallError:
            self._artifacts.delete(checkpoint_folder(job.id))
            raise
        self._enqueue(job)
        return job

    def _draft_continuation(self, source: Job, checkpoint: Checkpoint, config: TrainingJobConfig) -> Job:
        now = self._clock.now()
        new_job_id = new_id()
        key = name_checkpoint(new_job_id, 0, checkpoint.step, checkpoint.batch, checkpoint.sha256)
        has_best = source.best_epoch is not None and source.best_epoch <= checkpoint.epoch
        return Job(
            id=new_job_id,
            name=config.job_name,
            created_at=now,
            status_changed_at=now,
            config=config,
            total_epochs=config.epochs,
            dataset_id=config.dataset_id,
            last_seq=1,
            current_epoch=checkpoint.epoch,
            progress_percent=100.0 * checkpoint.epoch / config.epochs,
            best_epoch=source.best_epoch if has_best else None,
            best_val_loss=source.best_val_loss if has_best else None,
            best_val_error_median_m=source.best_val_error_median_m if has_best else None,
            continued_from=source.id,
            checkpoint=checkpoint.evolve(key=key, attempt=0, created_at=now, previous=None),
        )

    def _copy_checkpoint(self, checkpoint: Checkpoint, target_key: str) -> None:
        """Copy the file and prove on the way that it is the one that was written."""
        advice = "Create a new job instead; the old one's curve and model stay."
        digest = hashlib.sha256()
        try:
            with self._artifacts.open(checkpoint.key) as source, self._artifacts.write(target_key) as target:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    target.write(chunk)
        except NotFoundError as error:
            raise _DamagedCheckpointError(f"The job's checkpoint file is gone. {advice}") from error
        if digest.hexdigest() != checkpoint.sha256:
            raise _DamagedCheckpointError(f"The job's checkpoint is damaged: its SHA-256 differs. {advice}")

    def events(self, job_id: str, *, since: int = 0, limit: int = 1000) -> tuple[list[EventFrame], int]:
        """Return the job's frames after ``since`` and the number of its newest one. NotFoundError."""
        with self._store.read() as tx:
            job = tx.jobs.get(job_id)
            return [event.as_job_frame() for event in tx.events.list_of_job(job_id, since=since, limit=limit)], job.last_seq

    def logs(self, job_id: str, *, since: int = 0) -> list[LogLine]:
        """Return the job's log lines after ``since``. NotFoundError."""
        with self._store.read() as tx:
            tx.jobs.get(job_id)
            return tx.logs.find(job_id, since=since)


def _refuse(job: Job, target: JobStatus, advice: str) -> IllegalTransitionError:
    return IllegalTransitionError(f"The job is {job.status} and cannot become {target}: {advice}.")


def _require_checkpoint(job: Job, *, of_final: bool = True) -> Checkpoint:
    if of_final and not job.status.is_final:
        raise IllegalTransitionError(
            f"The job is {job.status}; only a completed, failed or cancelled job can be continued by a new one. Resume or cancel it."
        )
    if job.checkpoint is None:
        raise ConflictError(
            f"The job is {job.status} and has no checkpoint to continue from. Create a new job instead.", code="no_checkpoint"
        )
    return job.checkpoint
