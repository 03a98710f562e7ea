"""POWDER July through the product's own job: five folds over 200 m cells (or a later day held out), three seeds, errors pooled.

Run: ``.venv/bin/python -m bench.powder_folds --data ../shared/data/powder [--seeds 0 1 2] [--split day] [--json out.json]``
Starts `heimdall up` in a scratch folder, imports the set over REST, trains seeds x folds jobs, reads every
model's held-out predictions and pools them. Prints the table of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.instance import Heimdall

SPLITS = {"cell": (0.2, (0, 1, 2, 3, 4)), "day": (0.33, (0,))}
"""Share held out and folds by split; of the three days, fold 0 holds out the last, 07-11."""

LEVELS = {"coverage_50": 0.5, "coverage_68": 0.68, "coverage_95": 0.95}
"""Of the models' own ellipses, whose radii calibration found; a covariance alone has those of a Gaussian."""


def pool(instance: Heimdall, job_ids: list[str]) -> dict[str, float]:
    """Return pooled median, p68, p95 (m) and coverage of the ellipses over the folds' validation examples."""
    errors, inside, seconds = [], [], []
    for job_id in job_ids:
        model_id = instance.get(f"/training/jobs/{job_id}")["model_id"]
        evaluation = instance.get(f"/training/models/{model_id}/evaluation")
        errors.append(np.asarray(evaluation["error_m"]))
        points = instance.get(f"/training/models/{model_id}")["accuracy_breakdown"]["reliability"]
        inside.append([next(point["observed"] for point in points if point["nominal"] == level) for level in LEVELS.values()])
        seconds.append(sum(row["epoch_duration_seconds"] for row in instance.metrics(job_id)))
    error = np.concatenate(errors)
    covered = np.average(inside, axis=0, weights=[len(part) for part in errors])
    return {
        "num_examples": len(error),
        "median_m": float(np.median(error)),
        "p68_m": float(np.quantile(error, 0.68)),
        "p90_m": float(np.quantile(error, 0.9)),
        "p95_m": float(np.quantile(error, 0.95)),
        **dict(zip(LEVELS, covered.tolist(), strict=True)),
        "seconds_per_fold": statistics.median(seconds),
    }


def pool_baselines(instance: Heimdall, job_ids: list[str]) -> dict[str, Any]:
    """Return each baseline's fold medians averaged (they are stored per model, not per example)."""
    lines: dict[str, list[dict[str, float]]] = {}
    for job_id in job_ids:
        for line in instance.model_of(job_id)["baselines"]:
            if line["error_median_m"] is None:
                continue
            lines.setdefault(line["id"], []).append(line)
    return {
        name: {key: statistics.mean(line[key] for line in found) for key in ("error_median_m", "error_p68_m")}
        for name, found in lines.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/powder"))
    parser.add_argument("--architecture", default="deepsets-s")
    parser.add_argument("--split", choices=list(SPLITS), default="cell")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        instance = Heimdall(Path(folder) / "data", {"HEIMDALL_WORKER_SLOTS": "2", "HEIMDALL_LEASE_S": "30"})
        instance.start()
        try:
            share, folds = SPLITS[options.split]
            dataset = instance.import_powder(options.data.parent.resolve(), split_column=options.split)
            changes: dict[str, Any] = {"model_architecture": options.architecture}
            if options.epochs:
                changes["epochs"] = options.epochs
            jobs = {
                seed: [
                    instance.create_job(
                        dataset["id"],
                        job_name=f"seed {seed} fold {fold}",
                        seed=seed,
                        validation_split=share,
                        validation_fold=fold,
                        **{"epochs": 50, **changes},
                    )
                    for fold in folds
                ]
                for seed in options.seeds
            }
            rows = []
            for seed, ids in jobs.items():
                for job_id in ids:
                    job = instance.wait_job(job_id, {"completed", "failed"}, timeout_s=3600)
                    assert job["status"] == "completed", job["error_message"]
                rows.append({"seed": seed, **pool(instance, ids)})
                print(json.dumps(rows[-1]))
            baselines = pool_baselines(instance, jobs[options.seeds[0]])
        finally:
            instance.stop()
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "seed"}
    result = {"architecture": options.architecture, "seeds": rows, "median_of_seeds": middle, "baselines_mean_of_folds": baselines}
    print(json.dumps(result["median_of_seeds"]))
    print(json.dumps(baselines))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
