"""A run that was paused or that crashed ends in the same bits as one that was not."""

from __future__ import annotations

import pytest

from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import TrainingOutcome
from heimdall.training.loop import train
from tests.unit.training.lab import Finished, Lab, MemorySink, collect_metrics

COMBINATIONS = [
    *({"model_architecture": entry.id} for entry in ARCHITECTURES),
    *({"optimizer": name} for name in ("adam", "sgd")),
    *({"lr_scheduler": name, "epochs": 7} for name in ("constant", "onecycle", "plateau")),
    {"precision": "bf16"},
    {"max_grad_norm": 0.0},
]


class CrashError(Exception):
    """Stands for a kill: raised out of the sink in the middle of an epoch."""


def pause_after(num_ticks: int):
    return lambda sink: PendingAction.PAUSE if len(sink.ticks) >= num_ticks else None


def crash_after(num_ticks: int):
    def decide(sink: MemorySink) -> None:
        if len(sink.ticks) >= num_ticks:
            raise CrashError

    return decide


def finish(outcome: TrainingOutcome, *sinks: MemorySink) -> Finished:
    assert outcome.model is not None
    return Finished(collect_metrics(*sinks), outcome.model.weights_sha256)


def run_straight(lab: Lab, **config) -> Finished:
    sink = MemorySink()
    return finish(train(lab.request(**config), sink), sink)


@pytest.mark.parametrize("config", COMBINATIONS, ids=lambda config: "-".join(map(str, config.values())))
def test_a_run_paused_twice_equals_a_straight_run_to_the_bit(lab, config):
    straight = run_straight(lab, **config)

    first, second, third = MemorySink(pause_after(8)), MemorySink(pause_after(4)), MemorySink()
    assert train(lab.request(**config), first).stopped_for is PendingAction.PAUSE
    assert first.checkpoints[-1].batch == 2, "the first pause lies inside the second epoch"
    assert train(lab.request(after=first.checkpoints[-1], attempt=2, **config), second).stopped_for is PendingAction.PAUSE
    outcome = train(lab.request(after=second.checkpoints[-1], attempt=3, **config), third)

    assert finish(outcome, first, second, third) == straight
    assert third.devices[0][1] is True, "the resume says of itself that it is exact"


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.id)
def test_a_crash_inside_an_epoch_costs_only_the_steps_since_the_last_checkpoint(lab, entry):
    straight = run_straight(lab, model_architecture=entry.id)

    crashed, resumed = MemorySink(crash_after(15)), MemorySink()
    with pytest.raises(CrashError):
        train(lab.request(model_architecture=entry.id), crashed)
    assert crashed.checkpoints[-1].batch == 0
    outcome = train(lab.request(after=crashed.checkpoints[-1], attempt=2, model_architecture=entry.id), resumed)

    assert finish(outcome, crashed, resumed) == straight


class FullDiskSink(MemorySink):
    """Cannot keep the checkpoint of the second epoch."""

    def save_checkpoint(self, write):
        checkpoint = write()
        if checkpoint.epoch == 2:
            raise CrashError
        self.checkpoints.append(checkpoint)


def test_a_crash_between_metric_and_checkpoint_trains_the_epoch_again_with_the_same_result(lab):
    straight = run_straight(lab)
    crashed, resumed = FullDiskSink(), MemorySink()
    with pytest.raises(CrashError):
        train(lab.request(), crashed)
    assert [report.metric.epoch for report in crashed.reports] == [1, 2]
    assert [checkpoint.epoch for checkpoint in crashed.checkpoints] == [1]
    outcome = train(lab.request(after=crashed.checkpoints[-1], attempt=2), resumed)
    assert [report.metric.epoch for report in resumed.reports] == [2, 3]
    assert finish(outcome, crashed, resumed) == straight


def test_a_pause_during_validation_resumes_at_the_validation(lab):
    straight = run_straight(lab)
    # Five batches, then the tick of the validation batch; the next question is asked before it.
    first = MemorySink(lambda sink: PendingAction.PAUSE if sink.num_asked == 6 else None)
    assert train(lab.request(), first).stopped_for is PendingAction.PAUSE
    assert (first.checkpoints[-1].epoch, first.checkpoints[-1].batch) == (0, 5)
    second = MemorySink()
    outcome = train(lab.request(after=first.checkpoints[-1], attempt=2), second)
    assert finish(outcome, first, second) == straight


def test_a_pause_before_the_first_step_resumes_at_the_first_step(lab):
    straight = run_straight(lab)
    first, second = MemorySink(pause_after(0)), MemorySink()
    assert train(lab.request(), first).stopped_for is PendingAction.PAUSE
    assert not first.ticks
    outcome = train(lab.request(after=first.checkpoints[-1], attempt=2), second)
    assert finish(outcome, first, second) == straight


def test_a_crash_after_the_last_epoch_goes_straight_to_the_model(lab):
    first, second = MemorySink(), MemorySink()
    straight = finish(train(lab.request(), first), first)
    outcome = train(lab.request(after=first.checkpoints[-1], attempt=2), second)
    assert not second.reports
    assert outcome.model is not None
    assert outcome.model.weights_sha256 == straight.weights_sha256


def test_an_early_stop_comes_at_the_same_epoch_after_a_pause(lab):
    config = {"epochs": 40, "early_stopping_patience": 2, "learning_rate": 0.05, "lr_scheduler": "constant"}
    straight = run_straight(lab, **config)
    assert len(straight.metrics) < 40
    first, second = MemorySink(pause_after(6 * len(straight.metrics) - 3)), MemorySink()
    assert train(lab.request(**config), first).stopped_for is PendingAction.PAUSE
    outcome = train(lab.request(after=first.checkpoints[-1], attempt=2, **config), second)
    assert finish(outcome, first, second) == straight


def test_another_seed_gives_another_run(lab):
    assert run_straight(lab, seed=1).weights_sha256 != run_straight(lab, seed=2).weights_sha256
