"""Why the radio map's ellipses are too small on POWDER's cells: coverage by how their size is calibrated, without a network.

Run: ``.venv/bin/python -m bench.powder_ellipses --data ../shared/data/powder [--folds 0 1 2 3 4] [--draws 8] [--inner] [--json out.json]``
A fold's map is fitted on its training cells and judged on its held-out ones. Rules: ``one draw`` sizes ellipses on 15 % of the training
cells, drawn eight times (0 is what the product did); ``own law`` is draw 0 with a law that has not seen these cells either;
``in turn`` holds each fifth of the training cells out once and pools them. With ``--inner`` the held-out cells of a fold are a fifth of its
*training* cells: rules can be compared there, and the folds that are published stay untouched.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.powder_reference import import_powder
from heimdall.datasets.splits import make_split
from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.training import physics
from heimdall.training.calibration import NOMINAL_RADII, find_radii
from heimdall.training.physics import Law, Rows

SHARE, NUM_PARTS = 0.2, 5
Distances = np.ndarray[Any, np.dtype[np.float64]]


def measure_distances(arrays: DatasetArrays, law: Law, rows: Rows) -> Distances:
    """Return squared Mahalanobis distances of the truths from the map's places, [N]."""
    estimate = torch.zeros(len(arrays), physics.NUM_ESTIMATE)
    physics._estimate(physics._lay(law, arrays), arrays, rows, estimate, lambda: None)
    place = estimate[torch.from_numpy(rows)].double().numpy()
    error_m = np.asarray(arrays.target[rows], np.float64) - place[:, :2]
    east = error_m[:, 0] / place[:, 2]
    north = (error_m[:, 1] - place[:, 3] * east) / place[:, 4]
    return np.asarray(np.square(east) + np.square(north))


def draw_cells(group: Rows, rows: Rows, seed: int, share: float) -> list[Rows]:
    """Return parts of the rows by whole cells, in an order drawn anew."""
    cells = np.unique(group[rows])
    order = np.random.default_rng(seed).permutation(len(cells))
    size = max(1, round(share * len(cells)))
    return [rows[np.isin(group[rows], cells[order[start : start + size]])] for start in range(0, len(cells), size)]


def judge_fold(arrays: DatasetArrays, train_rows: Rows, held_out: Rows, *, draws: int) -> dict[str, Any]:
    """Return coverage of the held-out rows by rule."""
    group = np.asarray(arrays.group)
    final = physics._fit(arrays, train_rows, "radio-map")
    judged = measure_distances(arrays, final, held_out)

    def distances(unseen: Rows, like: Law | None) -> Distances:
        return measure_distances(arrays, physics._fit(arrays, np.setdiff1d(train_rows, unseen), "radio-map", like=like), unseen)

    def covers(sets: list[Distances]) -> list[float]:
        return [float((judged <= radius**2).mean()) for radius in find_radii(sets)]

    rules = {"nominal": [float((judged <= radius**2).mean()) for radius in NOMINAL_RADII]}
    for seed in range(draws):
        rules[f"one draw {seed}"] = covers([distances(draw_cells(group, train_rows, seed, 0.15)[0], final)])
    rules["own law"] = covers([distances(draw_cells(group, train_rows, 0, 0.15)[0], None)])
    parts = [part for part in draw_cells(group, train_rows, 0, 1 / NUM_PARTS) if len(part)]
    rules["in turn"] = covers([np.concatenate([distances(part, final) for part in parts])])
    return {"num_examples": len(held_out), "num_cells": len(np.unique(group[held_out])), "rules": rules}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/powder"))
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        import_powder(options.data, Path(name) / "data")
        arrays = open_dataset(Path(name) / "data")
        lines = []
        for fold in options.folds:
            train_rows, held_out = make_split(arrays, SHARE, fold)
            cuts = [(train_rows, held_out)]
            if options.inner:
                parts = draw_cells(np.asarray(arrays.group), train_rows, 100 + fold, 1 / NUM_PARTS)[:NUM_PARTS]
                cuts = [(np.setdiff1d(train_rows, part), part) for part in parts]
            for seen, unseen in cuts:
                lines.append({"fold": fold, **judge_fold(arrays, seen, unseen, draws=options.draws)})
                print(json.dumps(lines[-1]), flush=True)
    weight = [line["num_examples"] for line in lines]
    pooled = {rule: np.average([line["rules"][rule] for line in lines], axis=0, weights=weight).tolist() for rule in lines[0]["rules"]}
    print(json.dumps(pooled))
    if options.json:
        options.json.write_text(json.dumps({"folds": lines, "pooled": pooled}, indent=2))


if __name__ == "__main__":
    main()
