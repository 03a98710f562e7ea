"""LocaRDS sets 1-5 through the product's own job: five folds over sessions, three seeds, errors pooled.

Run: ``.venv/bin/python -m bench.locards_folds --data ../shared/data/locards [--seeds 0 1 2] [--json out.json]``
A session is one aircraft of one recording; all its messages are on one side. Prints the table of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.powder_folds import pool, pool_baselines
from tests.instance import Heimdall

NUM_FOLDS = 5


def import_locards(instance: Heimdall, folder: Path) -> dict[str, Any]:
    """Import the table of sensors and every recording of a folder, grouped by session."""
    paths = [folder / "sensors.csv", *sorted(folder.glob("set_*.csv"))]
    files = [("file", (path.name, path.read_bytes(), "text/csv")) for path in paths]
    fields = {"kind": "locards", "name": "LocaRDS", "split_column": "session"}
    answer = instance.client.post("/training/datasets", data=fields, files=files)
    assert answer.status_code in (201, 202), answer.text
    return instance.wait_dataset(answer.json()["id"])


def run(instance: Heimdall, options: argparse.Namespace) -> dict[str, Any]:
    """Train every seed on every fold and pool each seed's held-out examples."""
    dataset = import_locards(instance, options.data.resolve())
    rows = []
    for seed in options.seeds:
        ids = [
            instance.create_job(
                dataset["id"],
                job_name=f"seed {seed} fold {fold}",
                seed=seed,
                validation_split=1 / NUM_FOLDS,
                validation_fold=fold,
                epochs=options.epochs,
                model_architecture=options.architecture,
            )
            for fold in range(NUM_FOLDS)
        ]
        for job_id in ids:
            job = instance.wait_job(job_id, {"completed", "failed"}, timeout_s=3600)
            assert job["status"] == "completed", job["error_message"]
        rows.append({"seed": seed, **pool(instance, ids)})
        print(json.dumps(rows[-1]), flush=True)
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "seed"}
    return {"seeds": rows, "median_of_seeds": middle, "baselines_mean_of_folds": pool_baselines(instance, ids)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/locards"))
    parser.add_argument("--architecture", default="arrival-residual-s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        instance = Heimdall(Path(folder) / "data", {"HEIMDALL_WORKER_SLOTS": "2", "HEIMDALL_LEASE_S": "60"})
        instance.start()
        try:
            result = run(instance, options)
        finally:
            instance.stop()
    print(json.dumps(result["median_of_seeds"]), json.dumps(result["baselines_mean_of_folds"]), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
