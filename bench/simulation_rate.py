"""What one core simulates in a second: captures with samples, examples by features, terrain paths, conversions of positions.

Run: ``python -m bench.simulation_rate [--runs 5]``. Rates are per second of processor time, so a busy machine does not count.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402  (threads are set before NumPy loads)

from bench.reporting import print_table, summarize  # noqa: E402
from heimdall.domain.datasets import SyntheticDatasetConfig  # noqa: E402
from heimdall.rf.capture import Channel, Scene, simulate_capture  # noqa: E402
from heimdall.rf.captured import CaptureGenerator  # noqa: E402
from heimdall.rf.geodesy import enu_to_geodetic, geodetic_to_enu  # noqa: E402
from heimdall.rf.longley_rice import LongleyRicePathLoss  # noqa: E402
from heimdall.rf.network import load_default_network  # noqa: E402
from heimdall.rf.randomness import make_generator  # noqa: E402
from heimdall.rf.synthetic import SyntheticGenerator  # noqa: E402
from heimdall.rf.terrain import Terrain  # noqa: E402
from heimdall.rf.waveforms import make_waveform  # noqa: E402

NETWORK = load_default_network()
TARGETS_PER_S = {
    "captures, 7 receivers, 16 kS/s, 0.2 s voice, 3 echoes": 300,
    "captures simulated and measured, flat 12.5 kHz, as a data set has them": 300,
    "feature examples": 5_000,
    "terrain paths, 90 points": 3_000,
    "conversions": 1_000_000,
}


def simulate_captures(count: int = 200) -> int:
    scene = Scene(np.array([1e3, 2e3, -200.0]), np.zeros(3), NETWORK.position_m, np.full(7, -100.0), np.zeros(7), 145.0)
    for number in range(count):
        generator = make_generator(0, number)
        sent = make_waveform("nbfm-voice", generator, 3360, 16_000.0)
        simulate_capture(sent, scene, generator, num_samples=3200, channel=Channel(num_echoes=3))
    return count


def measure_captures(count: int = 100) -> int:
    config = SyntheticDatasetConfig(name="bench", num_examples=count, signal="captures", waveform="flat-12k5")
    block = SyntheticGenerator(config, NETWORK).block(0)
    return len(CaptureGenerator(config, NETWORK).measure(block, 0, range(count)).heard)


def simulate_features(count: int = 20_480) -> int:
    generator = SyntheticGenerator(SyntheticDatasetConfig(name="bench", num_examples=count, waveform="nbfm-voice"), NETWORK)
    return sum(len(block.heard) for block in generator.blocks())


def compute_paths(count: int = 150) -> int:
    """Hills of 300 m, wavelengths of 5 to 20 km: what matters for the time is that few paths are in sight."""
    axis = np.arange(400) / 100
    hills = 400 + 150 * np.add.outer(np.sin(40 * axis), np.cos(25 * axis)) + 80 * np.sin(90 * axis)[:, None]
    model = LongleyRicePathLoss(Terrain("hills", 47.0, 6.5, (0.01, 0.01), hills), NETWORK.frame, 145.0)
    place = np.random.default_rng(0).uniform(-6e4, 6e4, (count, 3)) * [1, 1, 0]
    return model.path_loss_db(place, NETWORK.position_m).size


def convert_positions(count: int = 500_000) -> int:
    position = np.random.default_rng(0).uniform(-1e5, 1e5, (count, 3))
    geodetic_to_enu(NETWORK.frame, *enu_to_geodetic(NETWORK.frame, position))
    return 2 * count


WORK: dict[str, Callable[[], int]] = dict(
    zip(TARGETS_PER_S, (simulate_captures, measure_captures, simulate_features, compute_paths, convert_positions), strict=True)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows = {}
    for name, work in WORK.items():
        work()
        rates = []
        for _ in range(options.runs):
            started = time.process_time()
            rates.append(work() / (time.process_time() - started))
        rows[name] = {**summarize(rates), "target": TARGETS_PER_S[name]}
    print_table("simulated in a second on one core (processor time)", rows)


if __name__ == "__main__":
    main()
