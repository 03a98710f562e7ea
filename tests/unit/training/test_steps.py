"""What optimizer steps note of themselves, many at a time."""

from __future__ import annotations

import torch

from heimdall.training.preparation import prepare_run
from heimdall.training.state import RECORD_GRAD_NORM, RECORD_LOCATED, RECORD_LOSS
from heimdall.training.steps import Stepper
from tests.unit.training.lab import Lab

SIZES = [7, 32, 1, 5]


def record_steps(lab: Lab, *, settle_each: bool) -> torch.Tensor:
    run = prepare_run(lab.request(model_architecture="mlp-baseline"))
    step = Stepper(run)
    for rows in torch.split(torch.from_numpy(run.fit_rows[: sum(SIZES)]), SIZES):
        step(rows)
        if settle_each:
            step.settle()
    step.settle()
    return run.state.record[: len(SIZES)]


def test_steps_that_wait_are_noted_as_they_would_be_one_by_one(lab):
    record = record_steps(lab, settle_each=False)
    assert torch.equal(record, record_steps(lab, settle_each=True))
    assert 0 < record[:, RECORD_LOCATED].sum() <= sum(SIZES)
    assert torch.isfinite(record[:, RECORD_LOSS]).all()
    assert (record[:, RECORD_GRAD_NORM] > 0).all()
