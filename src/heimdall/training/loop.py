"""The training loop: one attempt of one job, from its last checkpoint to a pause, a cancel, a failure or a model.

Pause and cancel act between two optimizer steps, and between two validation batches. A checkpoint is written at a pause, wherever
inside the epoch that is, and at the ends of epochs. The sink writes both beside training, an epoch's metric row before the checkpoint
that follows it: after a crash an epoch may be trained again, with the same result, but never lacks its row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import torch

from heimdall.domain.errors import TrainingError
from heimdall.domain.jobs import PendingAction
from heimdall.domain.metrics import TrainingMetric, name_non_finite
from heimdall.domain.models import FinalMetrics
from heimdall.domain.training import EpochReport, ModelDraft, Phase, Position, TrainingOutcome, TrainingRequest, TrainingSink
from heimdall.training.checkpoints import CheckpointMemory, FrozenCheckpoint, freeze_checkpoint
from heimdall.training.data import shuffle_rows
from heimdall.training.devices import deterministic
from heimdall.training.metrics import Summary, evaluate, summarize
from heimdall.training.preparation import Run, prepare_run
from heimdall.training.progress import Progress
from heimdall.training.state import RECORD_GRAD_NORM, RECORD_LOCATED, RECORD_LOSS
from heimdall.training.steps import Stepper

CHECK_EVERY_STEPS: Final = 32
"""Steps between looks at the losses: a look waits for the device. The first bad step is named exactly all the same."""


class _StopAsked(Exception):
    def __init__(self, action: PendingAction) -> None:
        super().__init__(action)
        self.action = action


class _NonFiniteLossError(Exception):
    def __init__(self, kind: str, step: int) -> None:
        super().__init__(kind, step)
        self.kind = kind
        self.step = step


def _now() -> datetime:
    return datetime.now(UTC)


def train(
    request: TrainingRequest,
    sink: TrainingSink,
    *,
    now: Callable[[], datetime] = _now,
    monotonic: Callable[[], float] = time.monotonic,
) -> TrainingOutcome:
    """Train one attempt of a job.

    Uses torch's global generators and the present thread count (``torch.set_num_threads`` is the caller's), so a process trains one
    job at a time. Two calls with equal requests on one machine give equal bits.

    Parameters
    ----------
    request
        What to train, and the checkpoint to go on from, if any.
    sink
        Where everything is reported; asked for pause and cancel before every step.
    now, monotonic
        Clocks, for tests.

    Returns
    -------
    TrainingOutcome
        A model, or what the attempt stopped for. A pause has written its checkpoint; a cancel writes nothing.

    Raises
    ------
    TrainingError
        Where the loss is no longer a number (the epoch's row is reported first), the device cannot be had, memory is short or the
        exported network does not agree with the trained one.
    CheckpointError
        Where the checkpoint is damaged or belongs to other data or another configuration.
    InvalidInputError
        Where the data set cannot be read or split as asked.
    LeaseLostError
        From the sink; nothing more is written.
    """
    try:
        with deterministic():
            return _Attempt(prepare_run(request, check_in=lambda: sink.note_phase(Phase.PREPARING)), sink, now, monotonic).run()
    except torch.OutOfMemoryError as error:
        size = request.config.batch_size
        raise TrainingError(f"The device ran out of memory at a batch size of {size}. Try {max(1, size // 2)} or less.") from error


class _Attempt:
    def __init__(self, run: Run, sink: TrainingSink, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._run = run
        self._state = run.state
        self._config = run.request.config
        self._sink = sink
        self._now = now
        self._monotonic = monotonic
        self._step = Stepper(run)
        self._memory = CheckpointMemory()
        self._progress = Progress(
            total_epochs=self._config.epochs,
            batches_per_epoch=run.num_batches,
            epoch=run.state.epoch,
            batch=run.state.batch,
            now=now,
            monotonic=monotonic,
        )

    def run(self) -> TrainingOutcome:
        self._sink.report_device(self._run.monitor.look(), resume_is_exact=self._run.resume_is_exact)
        self._sink.note_phase(Phase.STEPS)
        try:
            while not self._is_finished():
                self._train_epoch()
            return TrainingOutcome(model=self._make_model())
        except _StopAsked as stop:
            if stop.action is PendingAction.PAUSE:
                self._save(self._freeze())
            return TrainingOutcome(stopped_for=stop.action)

    def _is_finished(self) -> bool:
        return self._state.epoch >= self._config.epochs or self._state.best.is_patience_over(self._config.early_stopping_patience)

    def _obey(self) -> None:
        """End the attempt where the person asked for it."""
        action = self._sink.requested_action()
        if action is None:
            return
        if action is PendingAction.PAUSE:
            # A checkpoint of weights that are already lost would look like a way back.
            self._refuse_non_finite()
        raise _StopAsked(action)

    def _train_epoch(self) -> None:
        state, run = self._state, self._run
        started_s = self._monotonic()
        try:
            self._train_batches()
            evaluation = evaluate(state.model, run.examples, run.val_rows, before_batch=self._check_in)
        except _NonFiniteLossError as error:
            state.epoch_seconds += self._monotonic() - started_s
            self._fail(error)
        except _StopAsked:
            state.epoch_seconds += self._monotonic() - started_s
            raise
        else:
            state.epoch_seconds += self._monotonic() - started_s
            self._finish_epoch(summarize(evaluation, run.radius_m))

    def _train_batches(self) -> None:
        state, run = self._state, self._run
        order = shuffle_rows(run.fit_rows, seed=self._config.seed, epoch=state.epoch + 1).to(run.examples.rows_device)
        state.model.train()
        started_s = self._monotonic()
        try:
            for index in range(state.batch, run.num_batches):
                self._obey()
                self._step(order[run.batch_borders[index] : run.batch_borders[index + 1]])
                self._report_tick()
                if index % CHECK_EVERY_STEPS == CHECK_EVERY_STEPS - 1:
                    self._refuse_non_finite()
            self._refuse_non_finite()
        finally:
            state.train_seconds += self._monotonic() - started_s

    def _check_in(self) -> None:
        """Obey, and show the watchdog that the loop lives."""
        self._obey()
        self._report_tick()

    def _report_tick(self) -> None:
        epoch, batch = self._state.epoch, self._state.batch
        self._sink.report_tick(lambda: self._look(epoch, batch))

    def _look(self, epoch: int, batch: int) -> Position:
        return Position(
            epoch=min(epoch + 1, self._config.epochs),
            batch=batch,
            total_batches=self._run.num_batches,
            progress_percent=self._progress.percent(epoch, batch),
            estimated_completion=self._progress.estimate_completion(epoch, batch),
        )

    def _refuse_non_finite(self) -> None:
        self._step.settle()
        losses = self._state.record[: self._state.batch, RECORD_LOSS]
        is_finite = torch.isfinite(losses)
        if bool(is_finite.all()):
            return
        index = int((~is_finite).nonzero()[0])
        raise _NonFiniteLossError(name_non_finite(float(losses[index])) or "not a number", index + 1)

    def _fail(self, error: _NonFiniteLossError) -> None:
        """Show the broken epoch on the curve, then end."""
        epoch = self._state.epoch + 1
        self._report(self._measure(epoch, None), epoch=self._state.epoch)
        raise TrainingError(f"Loss became {_say(error.kind)} at epoch {epoch}, step {error.step}. {self._advise()}") from error

    def _advise(self) -> str:
        return f"Try a learning rate of {float(f'{self._config.learning_rate / 10:.1g}'):g} or less."

    def _finish_epoch(self, summary: Summary) -> None:
        state, config = self._state, self._config
        epoch = state.epoch + 1
        metric = self._measure(epoch, summary)
        if not math.isfinite(summary.loss):
            self._report(metric, epoch=state.epoch)
            kind = _say(name_non_finite(summary.loss) or "not a number")
            raise TrainingError(f"Validation loss became {kind} after epoch {epoch}. {self._advise()}")
        if state.best.see(epoch, summary.loss, _take_final_metrics(metric)):
            state.keep_best_weights()
        state.learning_rate.see(summary.loss)
        state.epoch, state.batch = epoch, 0
        state.total_seconds += state.epoch_seconds
        state.epoch_seconds = state.train_seconds = 0.0
        is_due = self._is_finished() or (epoch % config.checkpoint_every_n_epochs == 0 and self._sink.is_checkpoint_wanted())
        # Frozen before the epoch is handed over: the thread that writes it would take turns with the copy.
        frozen = self._freeze() if is_due else None
        self._report(metric, epoch=epoch)
        if frozen is not None:
            self._save(frozen)

    def _measure(self, epoch: int, summary: Summary | None) -> TrainingMetric:
        state, run = self._state, self._run
        record = state.record[: state.batch].double().cpu()
        sizes = torch.tensor(run.batch_borders, dtype=torch.float64).diff()[: state.batch]
        num_seen = float(sizes.sum())
        return TrainingMetric(
            job_id=run.request.job_id,
            epoch=epoch,
            timestamp=self._now(),
            attempt=run.request.attempt,
            train_loss=float((record[:, RECORD_LOSS] * sizes).sum()) / num_seen,
            train_accuracy=float(record[:, RECORD_LOCATED].sum()) / num_seen,
            grad_norm=float(record[:, RECORD_GRAD_NORM].mean()),
            learning_rate=state.learning_rate.at(state.step - 1),
            epoch_duration_seconds=state.epoch_seconds,
            samples_per_second=num_seen / state.train_seconds if state.train_seconds > 0 else None,
            val_loss=summary.loss if summary else None,
            val_accuracy=summary.accuracy if summary else None,
            val_error_median_m=summary.error_median_m if summary else None,
            val_error_p68_m=summary.error_p68_m if summary else None,
            val_error_p95_m=summary.error_p95_m if summary else None,
            val_nll=summary.nll if summary else None,
            val_coverage_68=summary.coverage_68 if summary else None,
        )

    def _report(self, metric: TrainingMetric, *, epoch: int) -> None:
        """Make an epoch durable; ``epoch`` counts those completed."""
        best = self._state.best
        self._sink.report_epoch(
            EpochReport(
                metric=metric,
                progress_percent=self._progress.percent(epoch, 0),
                total_epochs=self._config.epochs,
                estimated_completion=self._progress.estimate_completion(epoch, 0),
                best_epoch=best.epoch,
                best_val_loss=best.val_loss,
                best_val_error_median_m=best.metrics.val_error_median_m if best.metrics else None,
                device=self._run.monitor.look(),
            )
        )

    def _freeze(self) -> FrozenCheckpoint:
        self._step.settle()
        return freeze_checkpoint(self._state, self._run.identity, self._memory)

    def _save(self, frozen: FrozenCheckpoint) -> None:
        self._sink.save_checkpoint(lambda: frozen.write(self._run.request.work_dir))

    def _make_model(self) -> ModelDraft:
        self._sink.note_phase(Phase.EXPORTING)
        # Here and not at the top: onnx and onnxruntime take a second to import, and most attempts never come this far.
        from heimdall.training.export import draft_model

        return draft_model(self._run, check_in=self._check_in)


def _take_final_metrics(metric: TrainingMetric) -> FinalMetrics:
    return FinalMetrics(**{name: getattr(metric, name) for name in FinalMetrics.model_fields})


def _say(kind: str) -> str:
    return {"nan": "NaN", "inf": "infinite", "-inf": "infinite"}.get(kind, kind)
