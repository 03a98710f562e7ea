from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch

from heimdall.domain.errors import InvalidInputError, LeaseLostError, TrainingError
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import Phase
from heimdall.training import loop
from heimdall.training.loop import train
from heimdall.training.progress import Progress
from heimdall.training.schedules import LearningRate
from heimdall.training.stopping import BestEpoch
from tests.unit.training.lab import NOW, MemorySink


class TickingClock:
    """Every look costs a quarter of a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.25
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


def test_a_run_learns_and_ends_with_a_model(lab):
    sink = MemorySink()
    outcome = train(lab.request(epochs=12, model_architecture="mlp-baseline"), sink)
    metrics = [report.metric for report in sink.reports]
    assert [metric.epoch for metric in metrics] == list(range(1, 13))
    assert metrics[-1].train_loss < metrics[0].train_loss - 0.5
    assert metrics[-1].val_error_median_m < 500
    assert outcome.model is not None
    assert outcome.model.best_epoch == min(metrics, key=lambda metric: metric.val_loss).epoch
    assert outcome.model.final_metrics.val_loss == min(metric.val_loss for metric in metrics)
    assert (outcome.stopped_for, sink.reports[-1].progress_percent) == (None, 100)


def test_an_attempt_says_what_it_does_and_beats_while_it_prepares(lab):
    sink = MemorySink()
    train(lab.request(epochs=1, model_architecture="radio-map-residual-s"), sink)
    steps, exporting = sink.phases.index(Phase.STEPS), sink.phases.index(Phase.EXPORTING)
    assert set(sink.phases[:steps]) == {Phase.PREPARING}
    assert steps >= 8, "each fit of a map, and each batch of rows, is a sign of life"
    assert sink.phases[steps:] == [Phase.STEPS, Phase.EXPORTING]
    assert exporting == len(sink.phases) - 1


def test_every_figure_of_an_epoch_was_measured(lab):
    sink = MemorySink()
    train(lab.request(epochs=1), sink)
    metric = sink.reports[0].metric
    missing = [name for name, value in metric.model_dump().items() if value is None]
    assert missing == []
    assert 0 <= metric.train_accuracy <= 1
    assert 0 <= metric.val_coverage_68 <= 1
    assert metric.val_error_median_m <= metric.val_error_p68_m <= metric.val_error_p95_m
    assert metric.val_nll == metric.val_loss


def test_training_accuracy_counts_examples_within_the_radius(lab):
    sinks = {radius: MemorySink() for radius in (1.0, 1e6)}
    for radius, sink in sinks.items():
        train(lab.request(epochs=1, accuracy_radius_m=radius), sink)
    assert sinks[1e6].reports[0].metric.train_accuracy == sinks[1e6].reports[0].metric.val_accuracy == 1.0
    assert sinks[1.0].reports[0].metric.train_accuracy < 0.1


def test_a_loss_that_is_no_number_is_named_and_shown(lab, monkeypatch):
    honest = loop.Stepper.__call__

    def spoil(self, rows_B: torch.Tensor) -> None:
        if self._state.step == 7:
            with torch.no_grad():
                next(self._state.model.parameters()).fill_(float("nan"))
        honest(self, rows_B)

    monkeypatch.setattr(loop.Stepper, "__call__", spoil)
    sink = MemorySink()
    with pytest.raises(TrainingError, match=r"Loss became NaN at epoch 2, step 3\. Try a learning rate of 0\.0002 or less\."):
        train(lab.request(), sink)
    broken = sink.reports[-1].metric
    assert (broken.epoch, broken.train_loss, broken.non_finite["train_loss"]) == (2, None, "nan")
    assert broken.val_loss is None
    assert "val_loss" not in broken.non_finite
    assert sink.reports[-1].best_epoch == 1


def test_an_infinite_loss_is_called_infinite(lab, monkeypatch):
    monkeypatch.setattr(
        "heimdall.training.steps.prediction_nll", lambda predicted, truth, scale_km: predicted.position_B2.square().sum(dim=1) / 0
    )
    with pytest.raises(TrainingError, match="Loss became infinite at epoch 1, step 1"):
        train(lab.request(model_architecture="mlp-baseline"), MemorySink())


def test_a_validation_loss_that_is_no_number_is_named_and_shown(lab, monkeypatch):
    honest = loop.summarize
    monkeypatch.setattr(loop, "summarize", lambda evaluation, radius: dataclasses.replace(honest(evaluation, radius), nll=float("nan")))
    sink = MemorySink()
    with pytest.raises(TrainingError, match="Validation loss became NaN after epoch 1"):
        train(lab.request(), sink)
    assert sink.reports[0].metric.non_finite == {"val_loss": "nan", "val_nll": "nan"}
    assert not sink.checkpoints


def test_a_pause_right_after_a_bad_step_is_a_failure_and_no_checkpoint(lab, monkeypatch):
    monkeypatch.setattr(
        "heimdall.training.steps.prediction_nll", lambda predicted, truth, scale_km: predicted.position_B2[:, 0] * float("nan")
    )
    sink = MemorySink(lambda sink: PendingAction.PAUSE if sink.ticks else None)
    with pytest.raises(TrainingError, match="step 1"):
        train(lab.request(), sink)
    assert not sink.checkpoints


def test_pause_acts_between_two_steps_and_leaves_a_checkpoint(lab):
    sink = MemorySink(lambda sink: PendingAction.PAUSE if len(sink.ticks) == 3 else None)
    outcome = train(lab.request(), sink)
    assert (outcome.stopped_for, outcome.model) == (PendingAction.PAUSE, None)
    assert len(sink.ticks) == 3
    assert (sink.checkpoints[-1].epoch, sink.checkpoints[-1].step, sink.checkpoints[-1].batch) == (0, 3, 3)


def test_cancel_acts_between_two_steps_and_writes_nothing(lab):
    request = lab.request()
    sink = MemorySink(lambda sink: PendingAction.CANCEL if len(sink.ticks) == 3 else None)
    assert train(request, sink).stopped_for is PendingAction.CANCEL
    assert (len(sink.ticks), sink.checkpoints, list(request.work_dir.iterdir())) == (3, [], [])


def test_cancel_acts_during_the_export(lab):
    sink = MemorySink(lambda sink: PendingAction.CANCEL if len(sink.reports) == 3 else None)
    assert train(lab.request(), sink).stopped_for is PendingAction.CANCEL


def test_pause_during_the_export_keeps_the_finished_training(lab):
    first = MemorySink(lambda sink: PendingAction.PAUSE if len(sink.ticks) > 20 else None)
    assert train(lab.request(), first).stopped_for is PendingAction.PAUSE
    assert first.checkpoints[-1].epoch == 3
    second = MemorySink()
    assert train(lab.request(after=first.checkpoints[-1], attempt=2), second).model is not None
    assert not second.reports


def test_a_lost_lease_ends_the_loop_at_once(lab):
    class Lost(MemorySink):
        def report_epoch(self, report):
            raise LeaseLostError("another attempt has the job")

    sink = Lost()
    with pytest.raises(LeaseLostError):
        train(lab.request(), sink)
    assert not sink.checkpoints


def test_checkpoints_come_every_n_epochs_and_at_the_end(lab):
    sink = MemorySink()
    train(lab.request(epochs=5, checkpoint_every_n_epochs=2, model_architecture="mlp-baseline"), sink)
    assert [checkpoint.epoch for checkpoint in sink.checkpoints] == [2, 4, 5]


def test_early_stopping_waits_for_its_patience(lab):
    sink = MemorySink()
    train(
        lab.request(epochs=60, early_stopping_patience=3, learning_rate=0.1, lr_scheduler="constant", model_architecture="mlp-baseline"),
        sink,
    )
    last = sink.reports[-1]
    assert last.metric.epoch == last.best_epoch + 3 < 60
    assert sink.checkpoints[-1].epoch == last.metric.epoch


def test_ticks_come_at_every_step_with_an_honest_position(lab):
    sink = MemorySink()
    train(lab.request(epochs=2), sink)
    steps = [(tick.epoch, tick.batch, tick.total_batches) for tick in sink.ticks[:5]]
    assert steps == [(1, batch, 5) for batch in range(1, 6)]
    percents = [tick.progress_percent for tick in sink.ticks]
    assert percents == sorted(percents)
    assert sink.ticks[2].progress_percent == pytest.approx(30)


def test_no_completion_is_estimated_before_two_epochs_or_ten_seconds():
    clock = TickingClock()
    progress = Progress(total_epochs=10, batches_per_epoch=4, epoch=3, batch=2, now=clock.now, monotonic=clock.monotonic)
    assert progress.estimate_completion(3, 2) is None
    assert progress.estimate_completion(5, 1) is None
    assert progress.estimate_completion(5, 2) is not None
    clock.seconds = 100.0
    assert progress.estimate_completion(3, 3) is not None
    assert progress.estimate_completion(3, 2) is None, "nothing done yet is nothing known, however long it took"


def test_the_estimate_is_the_attempts_mean_speed():
    clock = TickingClock()
    progress = Progress(total_epochs=10, batches_per_epoch=4, epoch=4, batch=0, now=clock.now, monotonic=clock.monotonic)
    clock.seconds = 30.0
    estimate = progress.estimate_completion(6, 0)
    assert (estimate - clock.now()).total_seconds() == pytest.approx(4 * (30.25 - 0.25) / 2)


def test_the_estimate_of_a_run_appears_with_its_third_epoch_at_the_latest(lab):
    sink = MemorySink()
    train(lab.request(epochs=3), sink)
    assert [report.estimated_completion is not None for report in sink.reports] == [False, True, True]


@pytest.mark.parametrize(("rule", "expected"), [("constant", [1, 1, 1]), ("cosine", [1, 0.5, 0]), ("onecycle", [0.04, 0.8117, 4e-6])])
def test_schedules_follow_their_curve(lab, rule, expected):
    config = lab.request(epochs=10, learning_rate=1.0, lr_scheduler=rule).config
    rate = LearningRate(config, steps_per_epoch=10)
    np.testing.assert_allclose([rate.at(0), rate.at(50), rate.at(100)], expected, atol=1e-4)


def test_onecycle_is_that_of_torch(lab):
    config = lab.request(epochs=10, learning_rate=0.3, lr_scheduler="onecycle").config
    rate = LearningRate(config, steps_per_epoch=10)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=101, cycle_momentum=False)
    for step in range(100):
        assert rate.at(step) == pytest.approx(theirs.get_last_lr()[0], rel=0.05, abs=1e-3)
        optimizer.step()
        theirs.step()


def test_plateau_halves_after_three_epochs_without_a_better_loss_and_survives_a_checkpoint(lab):
    config = lab.request(epochs=10, learning_rate=1.0, lr_scheduler="plateau").config
    rate, rates = LearningRate(config, steps_per_epoch=10), []
    for loss in (1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4):
        rate.see(loss)
        other = LearningRate(config, steps_per_epoch=10)
        other.restore(rate.state())
        rates.append(other.at(0))
        rate = other
    assert rates == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]


def test_patience_zero_never_stops():
    best = BestEpoch(epochs_since=500)
    assert not best.is_patience_over(0)
    assert best.is_patience_over(500)


@pytest.mark.parametrize(
    ("config", "message"),
    [({"device": "cuda"}, "sees no CUDA device"), ({"precision": "fp16"}, "fp16 needs CUDA")],
    ids=["cuda", "fp16"],
)
def test_what_this_machine_cannot_give_is_an_error_and_not_a_fall_back(lab, monkeypatch, config, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=message):
        train(lab.request(**config), MemorySink())


def test_the_device_is_described(lab):
    sink = MemorySink(lambda sink: PendingAction.CANCEL)
    train(lab.request(), sink)
    device, _ = sink.devices[0]
    assert device.kind == "cpu"
    assert device.name
    assert device.threads == torch.get_num_threads()
    assert device.memory_total_bytes > device.memory_used_bytes > 0


def test_data_that_changed_are_refused(lab):
    request = lab.request()
    changed = dataclasses.replace(request, dataset=request.dataset.evolve(content_hash="0" * 64))
    with pytest.raises(TrainingError, match="not those of the data set"):
        train(changed, MemorySink())


def test_a_fold_that_does_not_exist_is_named(lab):
    with pytest.raises(InvalidInputError, match="Fold 7 does not exist"):
        train(lab.request(validation_fold=7), MemorySink())


def test_the_global_determinism_switch_is_put_back(lab):
    train(lab.request(epochs=1, model_architecture="mlp-baseline"), MemorySink())
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_checkpoint_that_the_sink_does_not_want_is_not_made_but_at_the_last_epoch_and_at_a_pause(lab):
    class Sparing(MemorySink):
        def is_checkpoint_wanted(self):
            return False

    whole = Sparing()
    train(lab.request(model_architecture="mlp-baseline", epochs=3), whole)
    assert [checkpoint.epoch for checkpoint in whole.checkpoints] == [3]
    paused = Sparing(lambda sink: PendingAction.PAUSE if len(sink.reports) == 2 else None)
    train(lab.request(model_architecture="mlp-baseline", epochs=5), paused)
    assert [checkpoint.epoch for checkpoint in paused.checkpoints] == [2]


def test_a_checkpoint_is_copied_before_its_epoch_is_handed_over_and_saved_behind_it(lab, monkeypatch):
    seen = []

    class Noted(MemorySink):
        def report_epoch(self, report):
            seen.append("epoch")
            super().report_epoch(report)

        def save_checkpoint(self, write):
            seen.append("checkpoint")
            super().save_checkpoint(write)

    freeze = loop.freeze_checkpoint
    monkeypatch.setattr(loop, "freeze_checkpoint", lambda *given: seen.append("copy") or freeze(*given))
    train(lab.request(model_architecture="mlp-baseline", epochs=2), Noted())
    assert seen == 2 * ["copy", "epoch", "checkpoint"]
