"""What a worker does with a claim. Every write carries the claim: a worker that lost its lease cannot write."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import heimdall
from heimdall.domain.base import format_instant
from heimdall.domain.errors import HeimdallError, NotFoundError, StorageFullError, UnavailableError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, Claim, DeviceInfo, Job, JobEvent, PendingAction
from heimdall.domain.models import TrainedModelDetail, Verification, VerificationCheck
from heimdall.domain.ports import ArtifactStore, Clock, ProgressUpdate, Store, Transaction
from heimdall.domain.training import CheckpointFile, EpochReport, ModelDraft
from heimdall.services.jobs import JobSettings, checkpoint_folder
from heimdall.services.transitions import change_job, give_up_attempt, make_payload, move_job

_MODEL_IDS: Final = uuid.UUID("5d3c2f3e-6a2b-4a53-9a55-0f5f0d3f8c11")
"""Namespace of model ids: one id per attempt, so that a repeated finish is the same finish."""
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_LOG_LINE: Final = 4000


class AttemptService:
    """Claims, heartbeats, epochs, checkpoints and the ends of one attempt."""

    def __init__(self, *, store: Store, artifacts: ArtifactStore, clock: Clock, settings: JobSettings) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._settings = settings

    def claim(self, job_id: str, worker_id: str) -> tuple[Job, Claim] | None:
        """Take a pending job, or return None where it is not there to be taken (a second delivery ends here)."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = tx.jobs.claim(job_id, worker_id=worker_id, lease_until=now + timedelta(seconds=self._settings.lease_s), now=now)
            if job is None:
                return None
            event_type = EventType.STARTED if job.attempt == 1 else EventType.RESUMED
            tx.events.append(job_id, seq=job.last_seq, type=event_type, payload=make_payload(job), now=now)
        return job, Claim(job_id=job_id, worker_id=worker_id, attempt=job.attempt)

    def heartbeat(self, claim: Claim) -> PendingAction | None:
        """Prolong the lease and return what was asked for. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            return tx.jobs.heartbeat(claim, lease_until=now + timedelta(seconds=self._settings.lease_s), now=now)

    def read_control(self, claim: Claim) -> PendingAction | None:
        """Return what was asked for. LeaseLostError."""
        with self._store.read() as tx:
            return tx.jobs.read_control(claim)

    def report_device(self, claim: Claim, device: DeviceInfo, resume_is_exact: bool | None) -> None:
        """Store where the attempt runs and say so. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            change_job(tx, job, EventType.UPDATED, now=now, reason="device", device=device, resume_is_exact=resume_is_exact)

    def record_epoch(self, claim: Claim, report: EpochReport, *, is_repeat: bool = False) -> None:
        """Make one epoch durable: metric row, progress and event in one transaction.

        Parameters
        ----------
        is_repeat
            The call before ended in an ``UnavailableError``, so that it may have been committed: then nothing is written twice.

        Raises
        ------
        LeaseLostError
            Nothing was written.
        """
        metric = report.metric
        update = ProgressUpdate(
            current_epoch=metric.epoch,
            progress_percent=report.progress_percent,
            estimated_completion=report.estimated_completion,
            best_epoch=report.best_epoch,
            best_val_loss=report.best_val_loss,
            best_val_error_median_m=report.best_val_error_median_m,
            device=report.device,
        )
        payload = metric.model_dump(mode="json")
        payload |= {
            "status": "running",
            "progress_percent": report.progress_percent,
            "total_epochs": report.total_epochs,
            "current_epoch": metric.epoch,
            "estimated_completion": format_instant(report.estimated_completion) if report.estimated_completion else None,
            "best_epoch": report.best_epoch,
            "best_val_loss": report.best_val_loss,
        }
        with self._store.write() as tx:
            if is_repeat and any(row.attempt == metric.attempt for row in tx.metrics.list_epochs(claim.job_id, [metric.epoch])):
                tx.jobs.check_claim(claim)
                return
            stamp = tx.jobs.record_progress(claim, update)
            asked = tx.jobs.read_control(claim)
            tx.metrics.put(metric)
            payload |= {"version": stamp.version, "pending_action": asked.value if asked else None}
            tx.events.append(claim.job_id, seq=stamp.seq, type=EventType.PROGRESS, payload=payload, now=metric.timestamp)

    def save_checkpoint(self, claim: Claim, file: CheckpointFile) -> None:
        """Make a checkpoint durable and point the job to it; keeps it and the one before.

        Calling again with the same file after an ``UnavailableError`` is safe.

        Raises
        ------
        LeaseLostError
            The new file is removed; nothing else changed.
        StorageFullError
            The checkpoint before stays valid.
        """
        key = f"{checkpoint_folder(claim.job_id)}/a{claim.attempt}-s{file.step}-b{file.batch}.safetensors"
        self._put_once(key, file.path)
        now = self._clock.now()
        pointer = Checkpoint(
            key=key,
            sha256=file.sha256,
            size_bytes=self._artifacts.size(key),
            epoch=file.epoch,
            step=file.step,
            batch=file.batch,
            attempt=claim.attempt,
            created_at=now,
            write_s=file.write_s,
        )
        try:
            with self._store.write() as tx:
                job = self._hold(tx, claim)
                tx.jobs.save(job.evolve(checkpoint=pointer, version=job.version + 1), expected_version=job.version)
        except UnavailableError:
            raise
        except HeimdallError:
            self._artifacts.delete(key)
            raise
        kept = {key, job.checkpoint.key if job.checkpoint else key}
        # A store that is away now is tidied at the next checkpoint.
        with suppress(UnavailableError):
            for old in self._artifacts.find(checkpoint_folder(claim.job_id)):
                if old not in kept:
                    self._artifacts.delete(old)

    def finish_paused(self, claim: Claim) -> Job:
        """End the attempt as paused, or as cancelled where a cancel came while the checkpoint was written. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            event = JobEvent.CANCEL_DONE if job.pending_action is PendingAction.CANCEL else JobEvent.PAUSE_DONE
            return move_job(tx, job, event, now=now)

    def finish_cancelled(self, claim: Claim) -> Job:
        """End the attempt and the job as cancelled. LeaseLostError."""
        return self._finish(claim, JobEvent.CANCEL_DONE)

    def finish_failed(self, claim: Claim, message: str, detail: str | None = None) -> Job:
        """End the job as failed with one plain sentence, and a traceback where there is one. LeaseLostError."""
        return self._finish(claim, JobEvent.ERROR, error_message=message, error_detail=detail)

    def finish_lost(self, claim: Claim, reason: str = "The training process was lost.", detail: str | None = None) -> Job:
        """End an attempt whose process is gone: back to the queue, or failed after too many losses in a row. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            losses = tx.jobs.count_loss(claim.job_id)
            return give_up_attempt(tx, job, now=now, reason=reason, losses=losses, max_attempts=self._settings.max_attempts, detail=detail)

    def hand_back(self, claim: Claim) -> Job:
        """Give the job back because this worker stops; not a loss. LeaseLostError."""
        now = self._clock.now()
        reason = "The worker was stopped; another one goes on from the last checkpoint."
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            return give_up_attempt(tx, job, now=now, reason=reason, losses=None, max_attempts=self._settings.max_attempts)

    def finish_completed(self, claim: Claim, draft: ModelDraft) -> TrainedModelDetail:
        """Store the network and complete the job in one step. Calling again after an ``UnavailableError`` is safe.

        Raises
        ------
        LeaseLostError, StorageFullError
            Nothing is kept.
        """
        model_id = str(uuid.uuid5(_MODEL_IDS, f"{claim.job_id}:{claim.attempt}"))
        if (known := self._find_model(model_id)) is not None:
            return known
        folder = f"models/{model_id}"
        try:
            self._put_once(f"{folder}/model.onnx", draft.onnx_path)
            self._put_once(f"{folder}/samples.safetensors", draft.samples_path)
            self._put_once(f"{folder}/evaluation.safetensors", draft.evaluation_path)
            sha256 = self._hash(f"{folder}/model.onnx")
            return self._complete(claim, draft, model_id, sha256)
        except HeimdallError as error:
            # A database that is away may still have committed: those files stay for the repeated call.
            if not isinstance(error, UnavailableError) or isinstance(error, StorageFullError):
                self._artifacts.delete(folder)
            raise

    def _complete(self, claim: Claim, draft: ModelDraft, model_id: str, sha256: str) -> TrainedModelDetail:
        now = self._clock.now()
        folder = f"models/{model_id}"
        size_bytes = self._artifacts.size(f"{folder}/model.onnx")
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            dataset = tx.datasets.get(job.dataset_id)
            model = TrainedModelDetail(
                id=model_id,
                name=job.name,
                version=tx.models.next_version(job.name),
                architecture=job.config.model_architecture,
                created_at=now,
                training_job_id=job.id,
                onnx_path=f"{folder}/model.onnx",
                parameters_count=draft.parameters_count,
                final_metrics=draft.final_metrics,
                sha256=sha256,
                size_bytes=size_bytes,
                onnx_opset=draft.onnx_opset,
                dataset_id=dataset.id,
                dataset_name=dataset.name,
                verification=_describe_parity(draft).evolve(verified_at=now),
                baselines=draft.baselines,
                physical_limit=draft.physical_limit,
                accuracy_radius_m=draft.accuracy_radius_m,
                best_epoch=draft.best_epoch,
                inputs=draft.inputs,
                outputs=draft.outputs,
                receivers=dataset.receivers,
                features=dataset.features,
                coordinate_frame=dataset.frame,
                training_config=job.config.model_dump(mode="json"),
                performance=draft.performance,
                normalization=draft.normalization,
                samples_key=f"{folder}/samples.safetensors",
                evaluation_key=f"{folder}/evaluation.safetensors",
                weights_sha256=draft.weights_sha256,
                heimdall_version=heimdall.__version__,
            )
            tx.models.add(model)
            move_job(tx, job, JobEvent.FINISHED, now=now, model_id=model_id, progress_percent=100.0)
        return model

    def append_log(self, job_id: str, lines: Sequence[str]) -> None:
        """Append lines to the job's text log: cut, without control characters."""
        clean = [_CONTROL_CHARACTERS.sub("", line.expandtabs(4))[:_MAX_LOG_LINE] for line in lines]
        with self._store.write() as tx:
            tx.logs.append(job_id, clean, now=self._clock.now())

    @staticmethod
    def _hold(tx: Transaction, claim: Claim) -> Job:
        tx.jobs.check_claim(claim)
        return tx.jobs.get(claim.job_id, lock=True)

    def _finish(self, claim: Claim, event: JobEvent, *, error_message: str | None = None, error_detail: str | None = None) -> Job:
        now = self._clock.now()
        with self._store.write() as tx:
            return move_job(tx, self._hold(tx, claim), event, now=now, error_message=error_message, error_detail=error_detail)

    def _put_once(self, key: str, source: Path) -> None:
        if source.exists():
            self._artifacts.put(key, source)
        elif not self._artifacts.exists(key):
            raise NotFoundError(f"The file for {key} is gone before it was stored.")

    def _find_model(self, model_id: str) -> TrainedModelDetail | None:
        with self._store.read() as tx, suppress(NotFoundError):
            return tx.models.get(model_id)
        return None

    def _hash(self, key: str) -> str:
        digest = hashlib.sha256()
        with self._artifacts.open(key) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()


def _describe_parity(draft: ModelDraft) -> Verification:
    """Return what the export proved: the ONNX network repeats PyTorch on held-out examples (training fails where it does not)."""
    measured = draft.performance
    if not measured.parity_examples:
        return Verification(status="unverified", latency_ms=measured.inference_latency_ms)
    detail = f"ONNX repeats PyTorch on {measured.parity_examples} held-out examples."
    return Verification(
        status="verified",
        checks=(VerificationCheck(name="parity", status="passed", detail=detail),),
        matched=measured.parity_examples,
        total=measured.parity_examples,
        max_abs_diff=measured.parity_max_abs_diff,
        latency_ms=measured.inference_latency_ms,
    )
