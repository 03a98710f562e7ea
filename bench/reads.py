"""What a reader waits for: the full history, a chart's view at every length of run, the first page of a long list.

Run: ``.venv/bin/python -m bench.reads [--epochs 1000 100000] [--jobs 10000] [--database-url postgresql://…]``. An empty one
is filled. Targets: history of 100 000 epochs x 5 series 350 ms; view 10 ms (p95 25), 60 kB, the same at any length; page 10 ms (30), 50 kB.
``cpu_ms`` is the server's own processor time for one answer: what a busy neighbour changes least.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from bench.reporting import print_table
from bench.serving import make_job, serve
from heimdall.bootstrap import Container
from heimdall.domain.base import new_id
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from heimdall.domain.metrics import VALUE_FIELDS, TrainingMetric
from tests.serving import NOW, make_container

FIVE = "series=" + ",".join(VALUE_FIELDS[:5])


_CHANCE = random.Random(1)


def make_noise(_epoch: int) -> dict[str, float]:
    """Return values that have nothing to do with those before: nothing thins worse."""
    return {name: _CHANCE.random() for name in VALUE_FIELDS}


def fill_run(container: Container, num_epochs: int, make_values: Callable[[int], dict[str, float]] = make_noise) -> str:
    """Return a job with so many epochs."""
    job_id, _ = make_job(container)
    for start in range(1, num_epochs + 1, 5000):
        with container.store.write() as tx:
            rows = []
            for epoch in range(start, min(start + 5000, num_epochs + 1)):
                instant = NOW + timedelta(seconds=epoch)
                rows.append(TrainingMetric(job_id=job_id, epoch=epoch, timestamp=instant, attempt=1, **make_values(epoch)))
            tx.metrics.put(*rows)
    return job_id


def fill_jobs(container: Container, num_jobs: int) -> None:
    """Store so many finished jobs."""
    for start in range(0, num_jobs, 1000):
        with container.store.write() as tx:
            for number in range(start, min(start + 1000, num_jobs)):
                name = f"run {number}"
                config = TrainingJobConfig(job_name=name, dataset_id="d", epochs=50)
                job = Job(
                    id=new_id(), name=name, created_at=NOW + timedelta(seconds=number), config=config, total_epochs=50, dataset_id="d"
                )
                tx.jobs.add(job.evolve(status=JobStatus.COMPLETED, current_epoch=50, progress_percent=100.0, completed_at=NOW))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        container = make_container(Path(folder), **({"database_url": options.database_url} if options.database_url else {}))
        runs = {num_epochs: fill_run(container, num_epochs) for num_epochs in options.epochs}
        fill_jobs(container, options.jobs)
        container.close()
        rows = {}
        with serve(Path(folder), options.database_url) as server:
            for num_epochs, job_id in runs.items():
                path = f"/training/jobs/{job_id}/metrics"
                rows[f"view, 5 series, {num_epochs} epochs"] = server.read(f"{path}?max_points=800&{FIVE}", times=options.times, gzip=True)
                rows[f"view, 13 series, {num_epochs} epochs"] = server.read(f"{path}?max_points=800", times=options.times, gzip=True)
            longest = max(runs)
            path = f"/training/jobs/{runs[longest]}/metrics"
            rows[f"history, 5 series, {longest} epochs"] = server.read(f"{path}?{FIVE}", times=5)
            rows[f"history, 13 series, {longest} epochs"] = server.read(path, times=3)
            rows[f"first page of {options.jobs} jobs"] = server.read("/training/jobs", times=options.times, gzip=True)
        print_table(f"reads, ms ({'PostgreSQL' if options.database_url else 'SQLite'})", rows)


if __name__ == "__main__":
    main()
