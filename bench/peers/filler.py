"""Runs in the environment of one product, as a file: fills a store with a long run, and with many short ones, for the rows that read.

Prints one JSON line: the id of the long run, how many runs there are, and what it took. Ours and MLflow's rows go in by their own tables,
trackio's by its bulk call, TensorBoard's and Aim's by their loggers, none of which is what is measured. ``--limit-s`` ends the filling with
runs; the line says how many there are then.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("product")
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--limit-s", type=float, default=120)
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.extend(filter(None, os.environ.get("BENCH_TORCH_SITE", "").split(os.pathsep)))
    began = time.monotonic()
    fill = {"heimdall": fill_heimdall, "mlflow": fill_mlflow, "trackio": fill_trackio}.get(options.product, fill_by_logger)
    steps = fill(options.product, options.folder, options.epochs, options.jobs)
    run, num_jobs, jobs_began = next(steps), 1, time.monotonic()
    for num_jobs in steps:  # noqa: B007
        if time.monotonic() - jobs_began > options.limit_s:
            break
    out.write(json.dumps({"run": run, "jobs": int(num_jobs), "s": round(time.monotonic() - began, 1)}) + "\n")
    out.flush()
    os._exit(0)


def fill_heimdall(_product: str, folder: str, num_epochs: int, num_jobs: int) -> Iterator[str | int]:
    """Fill ours."""
    from logger import make_values

    from bench.reads import fill_jobs, fill_run
    from tests.serving import make_container

    container = make_container(Path(folder))
    yield fill_run(container, num_epochs, make_values)
    fill_jobs(container, num_jobs - 1)
    container.close()
    yield num_jobs


def fill_mlflow(product: str, folder: str, num_epochs: int, num_jobs: int) -> Iterator[str | int]:
    """Log one epoch by MLflow's client, then multiply rows."""
    from logger import LOGGERS, make_values

    logger = LOGGERS[product](folder, "long", flush=False)
    logger.log(1, make_values(1))
    logger.finish()
    database = sqlite3.connect(f"{folder}/mlflow.db")
    rows = (
        (name, value, 1_700_000_000_000 + epoch, logger.run, epoch)
        for epoch in range(2, num_epochs + 1)
        for name, value in make_values(epoch).items()
    )
    database.executemany("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)", rows)
    database.commit()
    yield logger.run
    for number in range(1, num_jobs):
        fresh = uuid.uuid4().hex
        for table in ("runs", "latest_metrics", "tags"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            taken = ["?" if name == "run_uuid" else f"{name} + {number}" if name == "start_time" else name for name in columns]
            database.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(taken)} FROM {table} WHERE run_uuid = ?", (fresh, logger.run)
            )
    database.commit()
    yield num_jobs


def fill_trackio(_product: str, _folder: str, num_epochs: int, num_jobs: int) -> Iterator[str | int]:
    """Fill trackio."""
    from logger import PROJECT, make_values
    from trackio.sqlite_storage import SQLiteStorage

    def write(run: str, epochs: range) -> None:
        rows = [make_values(epoch) for epoch in epochs]
        SQLiteStorage.bulk_log(project=PROJECT, run=run, metrics_list=rows, steps=list(epochs), config={}, run_id=run)

    for start in range(1, num_epochs + 1, 5000):
        write("long", range(start, min(start + 5000, num_epochs + 1)))
    yield "long"
    for number in range(1, num_jobs):
        write(f"run{number}", range(1, 2))
        yield number + 1


def fill_by_logger(product: str, folder: str, num_epochs: int, num_jobs: int) -> Iterator[str | int]:
    """Fill what has no faster way in."""
    from logger import LOGGERS, make_values

    for number in range(num_jobs):
        logger = LOGGERS[product](folder, f"run{number}", flush=False)
        for epoch in range(1, (num_epochs if number == 0 else 1) + 1):
            logger.log(epoch, make_values(epoch))
        logger.finish()
        yield number + 1 if number else logger.run


if __name__ == "__main__":
    main()
