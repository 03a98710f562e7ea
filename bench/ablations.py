"""What each part is worth: the same simulated set with a measurement hidden, or the network without its physics.

Run: ``.venv/bin/python -m bench.ablations [--seeds 0 1 2] [--work FOLDER] [--json out.json]``
The voice set of ``bench.synthetic_rows`` (0.5 us excess delay, 50 ns clocks), fold 0 of cells. A hidden measurement is 0 in every example,
in training and test. Prints the table of docs/results.md; what terrain is worth stands in the terrain row of ``bench.synthetic_rows``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.synthetic_rows import ROWS, Row, open_or_simulate, summarize, train_once
from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.rf.accuracy import coverage
from heimdall.rf.network import load_default_network
from heimdall.rf.synthetic import SyntheticGenerator
from heimdall.training import preparation

PHYSICS = {"model_architecture": "arrival-residual-s", "epochs": 8}
PLAIN = {"model_architecture": "deepsets-s", "epochs": 30, "batch_size": 128, "learning_rate": 2e-3}
PARTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "all": (PHYSICS, ()),
    "without strengths": (PHYSICS, ("rssi_dbm",)),
    "without signal-to-noise ratio": (PHYSICS, ("snr_db",)),
    "without physics inside": (PLAIN, ()),
    "without physics inside and strengths": (PLAIN, ("rssi_dbm", "snr_db")),
    "without physics inside and delays": (PLAIN, ("toa_offset_us",)),
}
"""Training and the features hidden."""


def hide(arrays: DatasetArrays, names: tuple[str, ...]) -> DatasetArrays:
    """Return the set with these features 0 everywhere."""
    features = np.array(arrays.features)
    for name in names:
        features[..., arrays.feature_index(name)] = 0
    return dataclasses.replace(arrays, features=features)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = SyntheticDatasetConfig(name="voice", seed=0, **ROWS["voice"].data)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        generator = SyntheticGenerator(config, load_default_network())
        arrays = open_or_simulate((options.work or Path(folder)) / "voice-0", config, generator)
        for name, (training, hidden) in PARTS.items():
            preparation.open_dataset = lambda directory, hidden=hidden: hide(open_dataset(directory), hidden)  # type: ignore[misc]
            lines = []
            for seed in options.seeds:
                found = train_once(arrays, Row({}, training), seed)
                truth = np.asarray(arrays.target[found.row], np.float64)
                figures = summarize(np.hypot(*(found.place_m - truth).T))
                lines.append({"seed": seed, **figures, "coverage_68": coverage(found.place_m, truth, found.covariance_m2)})
            keys = ("median_m", "p68_m", "p95_m", "coverage_68")
            spread = {key: [pick(line[key] for line in lines) for pick in (min, statistics.median, max)] for key in keys}
            results.append({"part": name, **spread})
            print(json.dumps(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
