"""What a worker does with a claim. Every write carries the claim: a worker that lost its lease cannot write."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import heimdall
from heimdall.domain.base import format_instant
from heimdall.domain.errors import HeimdallError, NotFoundError, UnavailableError
from heimdall.domain.events import EventType, RequeueCause
from heimdall.domain.jobs import Checkpoint, Claim, DeviceInfo, Job, JobEvent, PendingAction
from heimdall.domain.models import TrainedModelDetail, Verification, VerificationCheck
from heimdall.domain.ports import ArtifactStore, Clock, ProgressUpdate, Store, Transaction
from heimdall.domain.training import CheckpointFile, EpochReport, ModelDraft
from heimdall.services.attempt_files import discard_model, discard_unfinished, name_checkpoint, name_model, tidy_checkpoints
from heimdall.services.disposal import model_folder
from heimdall.services.jobs import JobSettings
from heimdall.services.transitions import change_job, give_up_attempt, make_payload, move_job

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
        with suppress(UnavailableError):
            discard_model(self._artifacts, job_id, job.attempt - 1)
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

    def fall_back(self, claim: Claim, checkpoint: Checkpoint, damage: str) -> None:
        """Go on from an older checkpoint because the newest is damaged; say so on the job and in an event. LeaseLostError."""
        now = self._clock.now()
        notice = f"{damage}; attempt {claim.attempt} went on from epoch {checkpoint.epoch} (step {checkpoint.step}) instead."
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            change_job(tx, job, EventType.UPDATED, now=now, reason="checkpoint_damaged", notice=notice, checkpoint=checkpoint)

    def note_waiting(self, claim: Claim, notice: str | None, *, silent_s: float | None = None) -> str | None:
        """Say on the job, and in an event, what holds it up; None where it goes on. Saying it again writes nothing.

        Parameters
        ----------
        silent_s
            s since the last sign of progress, where the training process seems to hang.

        Returns
        -------
        str | None
            The sentence that stood there before.

        Raises
        ------
        LeaseLostError
            Nothing was written.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            if job.notice != notice:
                reason = "waiting" if notice else "going_on"
                since = None if silent_s is None else now - timedelta(seconds=silent_s)
                change_job(tx, job, EventType.UPDATED, now=now, reason=reason, notice=notice, silent_since=since)
        return job.notice

    def record_epochs(self, claim: Claim, reports: Sequence[EpochReport], *, is_repeat: bool = False) -> None:
        """Make consecutive epochs durable in one transaction: a metric row and an event for each, the job's progress after the last.

        Parameters
        ----------
        reports
            At least one, in order.
        is_repeat
            The call before ended in an ``UnavailableError``, so that it may have been committed: then nothing is written twice.

        Raises
        ------
        LeaseLostError
            Nothing was written.
        """
        with self._store.write() as tx:
            if is_repeat and self._find_newest(tx, claim, reports[-1:]) is not None:
                tx.jobs.check_claim(claim)
                return
            _put_epochs(tx, claim, reports)

    def record_left(self, claim: Claim, reports: Sequence[EpochReport]) -> int:
        """Make durable what a process that is gone had reported and not stored, as :meth:`record_epochs` would have; return how many.

        Parameters
        ----------
        reports
            What it reported last, in order, also what is stored already. Calling again is safe.

        Raises
        ------
        LeaseLostError
            Nothing was written.
        """
        if not reports:
            return 0
        with self._store.write() as tx:
            self._hold(tx, claim)  # a commit of that process which is still on its way to a server is waited for
            newest = self._find_newest(tx, claim, reports)
            left = [report for report in reports if newest is None or report.metric.epoch > newest]
            left = [report for number, report in enumerate(left) if report.metric.epoch == left[0].metric.epoch + number]
            if left:
                _put_epochs(tx, claim, left)
        return len(left)

    @staticmethod
    def _find_newest(tx: Transaction, claim: Claim, reports: Sequence[EpochReport]) -> int | None:
        """Return the newest of these epochs that this attempt has stored."""
        rows = tx.metrics.list_epochs(claim.job_id, [report.metric.epoch for report in reports])
        return max((row.epoch for row in rows if row.attempt == claim.attempt), default=None)

    def save_checkpoint(self, claim: Claim, file: CheckpointFile) -> None:
        """Make a checkpoint durable and point the job to it; keeps it and the one before.

        Calling again with the same file after an ``UnavailableError`` is safe.

        Raises
        ------
        LeaseLostError
            The new file is removed, unless a call before had been committed; nothing else changed.
        StorageFullError
            The checkpoint before stays valid.
        """
        key = name_checkpoint(claim.job_id, claim.attempt, file.step, file.batch, file.sha256)
        self._put_once(key, file.path)
        now = self._clock.now()
        fresh = Checkpoint(
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
                newest = tx.jobs.read_checkpoint(claim)
                if newest is None or newest.key != key:  # else the call before was committed
                    newest = fresh.evolve(previous=newest.as_previous() if newest else None)
                    tx.jobs.point_to(claim, newest)
                is_held = tx.upkeep.is_held(now)
        except UnavailableError:
            raise
        except HeimdallError:
            self._delete_unowned(claim.job_id, key)
            raise
        if is_held:
            return  # a backup may be copying one of the older files; the next checkpoint tidies them
        # A store that is away now is tidied at the next checkpoint.
        with suppress(UnavailableError):
            tidy_checkpoints(self._artifacts, claim.job_id, newest, attempt=claim.attempt)

    def finish_paused(self, claim: Claim) -> Job:
        """End the attempt as paused, or as cancelled where a cancel came while the checkpoint was written. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            event = JobEvent.CANCEL_DONE if job.pending_action is PendingAction.CANCEL else JobEvent.PAUSE_DONE
            ended = move_job(tx, job, event, now=now)
        return self._tidy(ended)

    def finish_cancelled(self, claim: Claim) -> Job:
        """End the attempt and the job as cancelled. LeaseLostError."""
        return self._finish(claim, JobEvent.CANCEL_DONE)

    def finish_failed(self, claim: Claim, message: str, detail: str | None = None) -> Job:
        """End the job as failed with one plain sentence, and a traceback where there is one. LeaseLostError."""
        return self._finish(claim, JobEvent.ERROR, error_message=message, error_detail=detail)

    def finish_lost(
        self,
        claim: Claim,
        reason: str = "The training process was lost.",
        detail: str | None = None,
        *,
        cause: RequeueCause = RequeueCause.PROCESS_LOST,
    ) -> Job:
        """End an attempt whose process is gone: back to the queue, or failed after too many losses in a row. LeaseLostError."""
        now = self._clock.now()
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            losses = tx.jobs.count_loss(claim.job_id)
            limit = self._settings.max_attempts
            ended = give_up_attempt(tx, job, now=now, reason=reason, cause=cause, losses=losses, max_attempts=limit, detail=detail)
        return self._tidy(ended)

    def hand_back(self, claim: Claim) -> Job:
        """Give the job back because this worker stops; not a loss. LeaseLostError."""
        now = self._clock.now()
        cause, reason = RequeueCause.WORKER_STOPPED, "The worker was stopped; another one goes on from the last checkpoint."
        limit = self._settings.max_attempts
        with self._store.write() as tx:
            job = self._hold(tx, claim)
            ended = give_up_attempt(tx, job, now=now, reason=reason, cause=cause, losses=None, max_attempts=limit)
        return self._tidy(ended)

    def finish_completed(self, claim: Claim, draft: ModelDraft) -> TrainedModelDetail:
        """Store the network and complete the job in one step. Calling again after an ``UnavailableError`` is safe.

        Raises
        ------
        LeaseLostError
            Nothing is kept.
        UnavailableError
            Files already stored wait for the repeated call; where none comes, the end of the attempt removes them.
        """
        model_id = name_model(claim.job_id, claim.attempt)
        if (known := self._find_model(model_id)) is not None:
            return known
        folder = model_folder(model_id)
        try:
            self._put_once(f"{folder}/model.onnx", draft.onnx_path)
            self._put_once(f"{folder}/samples.safetensors", draft.samples_path)
            self._put_once(f"{folder}/evaluation.safetensors", draft.evaluation_path)
            sha256 = self._hash(f"{folder}/model.onnx")
            return self._complete(claim, draft, model_id, sha256)
        except HeimdallError as error:
            # A database that is away may still have committed, and what was moved here has no other copy.
            if not isinstance(error, UnavailableError):
                self._artifacts.delete(folder)
            raise

    def _complete(self, claim: Claim, draft: ModelDraft, model_id: str, sha256: str) -> TrainedModelDetail:
        now = self._clock.now()
        folder = model_folder(model_id)
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
                accuracy_breakdown=draft.accuracy_breakdown,
                samples_key=f"{folder}/samples.safetensors",
                evaluation_key=f"{folder}/evaluation.safetensors",
                weights_sha256=draft.weights_sha256,
                heimdall_version=heimdall.__version__,
            )
            tx.models.add(model)
            ended = move_job(tx, job, JobEvent.FINISHED, now=now, model_id=model_id, progress_percent=100.0)
        self._tidy(ended)
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
            ended = move_job(tx, self._hold(tx, claim), event, now=now, error_message=error_message, error_detail=error_detail)
        return self._tidy(ended)

    def _tidy(self, job: Job) -> Job:
        """Remove the files of the attempt that just ended to which no row points."""
        with suppress(UnavailableError):
            with self._store.read() as tx:
                is_held = tx.upkeep.is_held(self._clock.now())
            discard_unfinished(self._artifacts, job, is_held=is_held)
        return job

    def _put_once(self, key: str, source: Path) -> None:
        if source.exists():
            self._artifacts.put(key, source)
        elif not self._artifacts.exists(key):
            raise NotFoundError(f"The file for {key} is gone before it was stored.")

    def _delete_unowned(self, job_id: str, key: str) -> None:
        with self._store.read() as tx, suppress(NotFoundError):
            checkpoint = tx.jobs.get(job_id).checkpoint
            if checkpoint is not None and (checkpoint.key == key or (checkpoint.previous and checkpoint.previous.key == key)):
                return
        self._artifacts.delete(key)

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


def _put_epochs(tx: Transaction, claim: Claim, reports: Sequence[EpochReport]) -> None:
    """Write a metric row and an event for each, the job's progress after the last. LeaseLostError."""
    last = reports[-1]
    update = ProgressUpdate(
        current_epoch=last.metric.epoch,
        progress_percent=last.progress_percent,
        estimated_completion=last.estimated_completion,
        best_epoch=last.best_epoch,
        best_val_loss=last.best_val_loss,
        best_val_error_median_m=last.best_val_error_median_m,
        device=last.device,
    )
    stamp = tx.jobs.record_progress(claim, update, num_events=len(reports))
    tx.metrics.put(*(report.metric for report in reports))
    for behind, report in zip(reversed(range(len(reports))), reports, strict=True):
        payload = _describe_epoch(report)
        payload |= {"version": stamp.version - behind, "pending_action": stamp.asked.value if stamp.asked else None}
        now = report.metric.timestamp
        tx.events.append(claim.job_id, seq=stamp.seq - behind, type=EventType.PROGRESS, payload=payload, now=now)


def _describe_epoch(report: EpochReport) -> dict[str, Any]:
    """Return an epoch's event without what only its transaction knows."""
    metric = report.metric
    # As ``model_dump(mode="json")`` would, which takes ten times as long.
    return {
        **metric.__dict__,
        "timestamp": format_instant(metric.timestamp),
        "status": "running",
        "progress_percent": report.progress_percent,
        "total_epochs": report.total_epochs,
        "current_epoch": metric.epoch,
        "estimated_completion": format_instant(report.estimated_completion) if report.estimated_completion else None,
        "best_epoch": report.best_epoch,
        "best_val_loss": report.best_val_loss,
    }


def _describe_parity(draft: ModelDraft) -> Verification:
    """Return what the export proved: the ONNX network repeats PyTorch on held-out examples (training fails where it does not)."""
    measured = draft.performance
    if not measured.parity_examples:
        return Verification(status="unverified", latency_ms=measured.inference_latency_ms)
    detail = f"ONNX repeats PyTorch on {measured.parity_examples} held-out examples."
    in_metres = measured.parity_position_diff_m
    return Verification(
        status="verified",
        checks=(VerificationCheck(name="parity", status="passed", detail=detail),),
        matched=measured.parity_examples,
        total=measured.parity_examples,
        max_abs_diff=measured.parity_max_abs_diff if in_metres is None else in_metres,
        max_abs_diff_unit=None if in_metres is None else "m",
        latency_ms=measured.inference_latency_ms,
    )
