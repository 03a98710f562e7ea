"""Networks on captures: those that see samples beside those that see what was measured from them, and the solver alone.

Run: ``.venv/bin/python -m bench.capture_rows [--examples 1000] [--seeds 0 1 2] [--networks ...] [--work FOLDER] [--json out.json]``
12.5 kHz flat noise of 0.2 s, 50 ns clocks, transmitters inside the receivers' box, simulation seed 0, fold 0 of five over cells of 5 km.
Prints the table of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.synthetic_rows import FOLD, NETWORK, SHARE, Row, open_or_simulate, summarize, train_once
from heimdall.datasets.limits import check_against_limit
from heimdall.datasets.observations import fit_arrival_law, observe_arrivals
from heimdall.datasets.splits import make_split
from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.rf.synthetic import SyntheticGenerator

DATA: dict[str, Any] = {"signal": "captures", "waveform": "flat-12k5", "keep_iq": True, "margin_km": 0.0, "clock_sigma_ns": 50.0}
NETWORKS: dict[str, dict[str, Any]] = {
    "arrival-residual-s": {"epochs": 8},
    "iq-residual-s": {"epochs": 8, "batch_size": 32},
    "set-transformer-m": {"epochs": 25, "batch_size": 32},
    "iq-encoder": {"epochs": 25, "batch_size": 32},
}


def judge(
    error_m: np.ndarray[Any, np.dtype[np.float64]], arrays: DatasetArrays, rows: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, float]:
    """Return percentiles and the ratio to the bound's p68."""
    return {**summarize(error_m), "of_bound": check_against_limit(error_m, np.asarray(arrays.bound_sigma_m, np.float64)[rows]).ratio}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = SyntheticDatasetConfig(name="captures", seed=0, num_examples=options.examples, **DATA)
        place = (options.work or Path(folder)) / f"captures-{options.examples}"
        arrays = open_or_simulate(place, config, SyntheticGenerator(config, NETWORK))
        truth = np.asarray(arrays.target, np.float64)
        train_rows, held_out = make_split(arrays, SHARE, FOLD)
        found = fit_arrival_law(arrays, train_rows).locate(observe_arrivals(arrays, held_out))
        results: list[dict[str, Any]] = [
            {"network": "arrival-map"} | judge(np.hypot(*(found.position_m - truth[held_out]).T), arrays, held_out)
        ]
        print(json.dumps(results[-1]), flush=True)
        for name in options.networks:
            lines = []
            for seed in options.seeds:
                started_s = time.process_time()
                got = train_once(arrays, Row({}, {"model_architecture": name, **NETWORKS[name]}), seed)
                line = judge(np.hypot(*(got.place_m - truth[got.row]).T), arrays, got.row)
                line |= dict(zip(("coverage_50", "coverage_68", "coverage_95"), got.coverage(truth[got.row]), strict=True))
                lines.append({"seed": seed, **line, "cpu_s": math.ceil(time.process_time() - started_s)})
                print(json.dumps({"network": name, **lines[-1]}), flush=True)
            keys = lines[0].keys() - {"seed"}
            spread = {key: [pick(line[key] for line in lines) for pick in (min, statistics.median, max)] for key in sorted(keys)}
            results.append({"network": name, **spread})
            print(json.dumps(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
