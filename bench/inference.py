"""One example through each exported network, with what a user does before and after: features into arrays, metres into degrees and axes.

Run: ``.venv/bin/python -m bench.inference [--times 300]``. Batch 1, one thread, weights as they are drawn at the start: they do not change
the time. Before: the receivers' measurements become the graph's three arrays. After: position and covariance in m become latitude,
longitude and the axes of the ellipse. Target: 1 ms. Networks that take raw samples are left out: they need the samples as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.reporting import print_table, summarize
from bench.training_overhead import make_request
from heimdall.datasets.storage import open_dataset
from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.rf.geodesy import enu_to_geodetic, put_on_ellipsoid
from heimdall.training.export import ExportGraph, export_onnx, open_session, run_session
from heimdall.training.preparation import prepare_run


def measure(architecture: str, times: int) -> dict[str, float]:
    """Return ms from measurements to a place on the map."""
    with tempfile.TemporaryDirectory() as name:
        run = prepare_run(make_request(Path(name), epochs=1, num_examples=500, architecture=architecture))
        frame = open_dataset(Path(name) / "data").frame
        rows = run.val_rows[:times]
        arrays = run.arrays
        heard = [
            [(int(index), values) for index, values, is_there in zip(*columns, strict=True) if is_there]
            for columns in zip(arrays.receiver_index[rows], arrays.features[rows], arrays.mask[rows], strict=True)
        ]
        path = Path(name) / "network.onnx"
        export_onnx(ExportGraph(run.state.model.cpu().eval()).eval(), as_inputs(heard[0]), path)
        session = open_session(path)

        def locate(measured: list[tuple[int, np.ndarray]]) -> tuple[float, float, np.ndarray]:
            position, covariance = run_session(session, as_inputs(measured))
            at_m = put_on_ellipsoid(frame, position[:, 0], position[:, 1], frame.altitude_m)
            latitude, longitude, _ = enu_to_geodetic(frame, at_m)
            return float(latitude[0]), float(longitude[0]), np.sqrt(np.linalg.eigvalsh(covariance[0]))

        delays_ms = []
        for number in range(times + 20):
            began = time.perf_counter()
            locate(heard[number % len(heard)])
            delays_ms.append(1000 * (time.perf_counter() - began))
    return summarize(delays_ms[20:])


def as_inputs(measured: list[tuple[int, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the graph's inputs: features [1, R, F], mask [1, R], receiver_index [1, R]."""
    return {
        "features": np.stack([values for _, values in measured])[None].astype(np.float32),
        "mask": np.ones((1, len(measured)), np.bool_),
        "receiver_index": np.array([[index for index, _ in measured]], np.int64),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {one.id: measure(one.id, options.times) for one in ARCHITECTURES if not one.needs_iq}
    slowest = max(rows.values(), key=lambda row: row["median"])
    print_table("one example, ms", {**rows, "slowest of them": slowest})


if __name__ == "__main__":
    main()
