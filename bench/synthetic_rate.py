"""How many synthetic examples one core simulates and stores in a second. Prints a table and one line of JSON.

Run: ``python -m bench.synthetic_rate [--examples 50000] [--runs 5]``
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

from bench.reporting import print_table, summarize  # noqa: E402  (threads are set before NumPy loads)
from heimdall.datasets.build import build_synthetic  # noqa: E402
from heimdall.domain.datasets import SyntheticDatasetConfig  # noqa: E402
from heimdall.rf.network import load_default_network  # noqa: E402
from heimdall.rf.synthetic import SyntheticGenerator  # noqa: E402

TARGET_PER_S = 5_000


def time_simulation(config: SyntheticDatasetConfig) -> float:
    started = time.perf_counter()
    for _ in SyntheticGenerator(config, load_default_network()).blocks():
        pass
    return config.num_examples / (time.perf_counter() - started)


def time_build(config: SyntheticDatasetConfig) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build_synthetic(config, Path(folder), lambda share: None)
        return config.num_examples / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = SyntheticDatasetConfig(name="bench", num_examples=options.examples)
    time_build(config.evolve(num_examples=2_000))
    rates = {
        name: [measure(config) for _ in range(options.runs)]
        for name, measure in (("simulate", time_simulation), ("simulate and store", time_build))
    }
    title = f"synthetic examples per second on one core ({options.examples} examples, target {TARGET_PER_S})"
    print_table(title, {name: summarize(values) for name, values in rates.items()})


if __name__ == "__main__":
    main()
