"""Numbers do not drift: a tiny seeded CPU run of each network against its curve in git.

On one machine a run repeats to the bit (``test_exact_resume.py``). Between processors, operating systems and builds of torch, sums are
taken in another order and only agree to float32 rounding, which grows with the steps: hence the tolerance. After a change that is meant to
move the curves: ``.venv/bin/python -m tests.golden.test_training_curves`` writes them again; say in the commit why they moved.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.training.loop import train
from tests.unit.training.lab import Lab, MemorySink, write_dataset

GOLDEN = Path(__file__).with_name("training_curves.json")
SERIES = ("train_loss", "val_loss", "grad_norm", "learning_rate", "val_error_median_m", "val_error_p95_m")
RTOL = 1e-3


def run(architecture: str, folder: Path) -> dict[str, list[float]]:
    lab = Lab(folder, write_dataset(folder / "data", num_examples=400, seed=11))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sink = MemorySink()
        train(lab.request(model_architecture=architecture, epochs=4, batch_size=64, seed=7), sink)
    finally:
        torch.set_num_threads(before)
    return {name: [getattr(report.metric, name) for report in sink.reports] for name in SERIES}


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.id)
def test_the_curve_is_the_one_in_git(entry, tmp_path):
    golden = json.loads(GOLDEN.read_text())[entry.id]
    curves = run(entry.id, tmp_path)
    for name in SERIES:
        np.testing.assert_allclose(curves[name], golden[name], rtol=RTOL, err_msg=name)


def write() -> None:
    curves = {}
    for entry in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as name:
            curves[entry.id] = run(entry.id, Path(name))
    GOLDEN.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    write()
