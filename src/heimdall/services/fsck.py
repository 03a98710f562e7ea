"""Compares rows with files, and rows with each other, and repairs what can be repaired without inventing anything.

Safe while everything runs: files are listed before the rows are read, nothing younger than the grace time is touched, files
are only removed as every deletion removes them, and each repair looks again inside its own transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from heimdall.domain.datasets import Dataset, DatasetStatus
from heimdall.domain.errors import NotFoundError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Job
from heimdall.domain.ports import ArtifactStore, Clock, JobQuery, Store, Transaction
from heimdall.services.backups import find_dataset_fault
from heimdall.services.disposal import CHECKPOINTS, DATASETS, INCOMING, MODELS, Disposal, dataset_folder
from heimdall.services.transitions import change_job

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; ``repair`` returns whether it was still so and is now mended."""

    code: str
    subject: str
    sentence: str
    repair: Callable[[], bool] | None = None


class Fsck:
    """Finds what a crash, a full disk or a person with a file manager left behind."""

    def __init__(self, *, store: Store, artifacts: ArtifactStore, clock: Clock, grace: timedelta = timedelta(hours=1)) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._grace = grace
        self._disposal = Disposal(store=store, artifacts=artifacts, clock=clock)

    def find(self, *, is_deep: bool = False) -> Iterator[Finding]:
        """Yield what is wrong; ``is_deep`` also reads every byte and compares hashes."""
        yield from self.find_orphans()
        yield from self._find_in_jobs()
        yield from self._find_in_models(is_deep=is_deep)
        yield from self._find_in_datasets(is_deep=is_deep)

    def find_orphans(self) -> Iterator[Finding]:
        """Yield folders of artifacts that no row owns."""
        folders = sorted({"/".join(key.split("/")[:2]) for key in self._artifacts.find("")})
        with self._store.read() as tx:
            orphans = [folder for folder in folders if not _is_owned(tx, folder)]
        for folder in orphans:
            if self._is_old(folder):
                sentence = f"{folder}: no row owns these files. Repair removes them."
                yield Finding("orphan_files", folder, sentence, lambda folder=folder: self._bury(folder))  # type: ignore[misc]

    def _is_old(self, folder: str) -> bool:
        with suppress(NotFoundError):
            return self._clock.now() - self._artifacts.modified_at(folder) > self._grace
        return False

    def _bury(self, folder: str) -> bool:
        with self._store.write() as tx:
            if _is_owned(tx, folder) or not self._is_old(folder):
                return False
            tx.upkeep.bury(folder, now=self._clock.now())
        self._disposal.collect()
        return not self._artifacts.exists(folder)

    def _find_in_jobs(self) -> Iterator[Finding]:
        cursor = None
        while True:
            with self._store.read() as tx:
                page = tx.jobs.find(JobQuery(limit=100, cursor=cursor))
                found = [finding for job in page.items for finding in self._examine_job(tx, job)]
            yield from found
            if (cursor := page.next_cursor) is None:
                return

    def _examine_job(self, tx: Transaction, job: Job) -> Iterator[Finding]:
        name = f"job {job.id} '{job.name}'"
        if job.model_id is not None and _find_model(tx, job.model_id) is False:
            sentence = f"{name} points to the model {job.model_id}, which is not here. Repair lets it say that it has no model."
            yield Finding("dangling_model", job.id, sentence, lambda: self._clear_model(job.id))
        seqs = [event.seq for event in tx.events.list_of_job(job.id, limit=job.last_seq + 1)]
        if seqs != list(range(1, job.last_seq + 1)):
            missing = sorted(set(range(1, job.last_seq + 1)) - set(seqs))[:5]
            what = f"lacks events, the first of them {missing}" if missing else f"has events beyond its last number {job.last_seq}"
            yield Finding("events_not_dense", job.id, f"{name} {what}. Nothing can bring them back; restore a backup if you need them.")
        if job.status.is_final and tx.metrics.find(job.id, since_epoch=job.current_epoch):
            sentence = f"{name} ended at epoch {job.current_epoch} and has metrics beyond it. Repair removes those rows."
            yield Finding("metrics_beyond_progress", job.id, sentence, lambda: self._cut_metrics(job.id))
        if job.checkpoint is not None and not self._artifacts.exists(job.checkpoint.key):
            if job.status.is_final:
                sentence = f"{name} points to a checkpoint that is missing. Repair lets it say that it has none; it cannot be continued."
                yield Finding("checkpoint_missing", job.id, sentence, lambda: self._clear_checkpoint(job.id))
            else:
                # Looked at again: a running job may have written its next one meanwhile.
                with suppress(NotFoundError), self._store.read() as again:
                    now = again.jobs.get(job.id)
                    if now.checkpoint == job.checkpoint:
                        sentence = f"{name} points to a checkpoint that is missing. It falls back to the one before, or start a new job."
                        yield Finding("checkpoint_missing", job.id, sentence)

    def _change(self, job_id: str, is_still: Callable[[Transaction, Job], bool], reason: str, **changes: None) -> bool:
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            if not is_still(tx, job):
                return False
            change_job(tx, job, EventType.UPDATED, now=self._clock.now(), reason=reason, **changes)
        return True

    def _clear_model(self, job_id: str) -> bool:
        def is_still(tx: Transaction, job: Job) -> bool:
            return job.model_id is not None and _find_model(tx, job.model_id) is False

        return self._change(job_id, is_still, "model_missing", model_id=None)

    def _clear_checkpoint(self, job_id: str) -> bool:
        def is_still(_: Transaction, job: Job) -> bool:
            return job.status.is_final and job.checkpoint is not None and not self._artifacts.exists(job.checkpoint.key)

        return self._change(job_id, is_still, "checkpoint_missing", checkpoint=None)

    def _cut_metrics(self, job_id: str) -> bool:
        with self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            return job.status.is_final and tx.metrics.delete_after(job_id, job.current_epoch) > 0

    def _find_in_models(self, *, is_deep: bool) -> Iterator[Finding]:
        with self._store.read() as tx:
            models = tx.models.find_all()
        for model in models:
            fault = self._find_file_fault(model.onnx_path, model.sha256 if is_deep else None)
            if fault is not None:
                with suppress(NotFoundError), self._store.read() as tx:
                    tx.models.get(model.id)  # a model deleted meanwhile is no finding
                    sentence = f"model {model.id} '{model.name}': its network {fault}. Import it again from a bundle, or delete it."
                    yield Finding("model_damaged", model.id, sentence)

    def _find_file_fault(self, key: str, sha256: str | None) -> str | None:
        if not self._artifacts.exists(key):
            return "is missing"
        if sha256 is None:
            return None
        digest = hashlib.sha256()
        try:
            with self._artifacts.open(key) as source:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
        except NotFoundError:
            return "is missing"
        return None if digest.hexdigest() == sha256 else "was changed after it was written"

    def _find_in_datasets(self, *, is_deep: bool) -> Iterator[Finding]:
        with self._store.read() as tx:
            datasets = [dataset for dataset in tx.datasets.find_all() if dataset.status is DatasetStatus.READY]
        for dataset in datasets:
            fault = self._find_dataset_fault(dataset, is_deep=is_deep)
            if fault is not None:
                sentence = f"data set {dataset.id} '{dataset.name}': {fault} Repair marks it as failed, so that no job starts on it."
                yield Finding("dataset_damaged", dataset.id, sentence, lambda dataset=dataset: self._fail(dataset, is_deep=is_deep))  # type: ignore[misc]

    def _find_dataset_fault(self, dataset: Dataset, *, is_deep: bool) -> str | None:
        folder = dataset_folder(dataset.id)
        if not self._artifacts.exists(folder):
            return "Its files are missing."
        fault = find_dataset_fault(self._artifacts, folder, dataset.content_hash or "") if is_deep else None
        return None if fault is None else f"{fault.rstrip('.')}."

    def _fail(self, dataset: Dataset, *, is_deep: bool) -> bool:
        fault = self._find_dataset_fault(dataset, is_deep=is_deep)
        if fault is None:
            return False
        with self._store.write() as tx:
            current = tx.datasets.get(dataset.id, lock=True)
            message = f"{fault} Import or generate it again."
            failed = current.evolve(status=DatasetStatus.FAILED, error_message=message, version=current.version + 1)
            tx.datasets.save(failed, expected_version=current.version)
        return True


def _find_model(tx: Transaction, model_id: str) -> bool:
    try:
        tx.models.get(model_id)
    except NotFoundError:
        return False
    return True


def _is_owned(tx: Transaction, folder: str) -> bool:
    """Say whether a row owns the files; folders that Heimdall does not know are left alone."""
    top, _, owner = folder.partition("/")
    try:
        if top == MODELS:
            tx.models.get(owner)
        elif top == CHECKPOINTS:
            tx.jobs.get(owner)
        elif top == DATASETS:
            return tx.datasets.get(owner).status is not DatasetStatus.FAILED
        elif top == INCOMING:
            return tx.datasets.get(owner).status is DatasetStatus.BUILDING
    except NotFoundError:
        return False
    return True
