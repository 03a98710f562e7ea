"""Past one machine: what each stage of today's design costs, measured, and what that makes of 10 000 jobs and 100 000 viewers.

Run: ``.venv/bin/python -m bench.scale_model [--database-url postgresql://…] [--no-measure]``. Measures the stages of one event's way
(commit by concurrent writers, rows in bulk, reading by the tail, writing to a socket, bytes on disk), works out how many nodes the plan
needs, and simulates the way as two queues in a row, to find the number of jobs at which the lag runs away and the stage that does it.
``--no-measure`` takes the figures of docs/discussions/scale.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.commit_lock import count_commits, own_table
from bench.reads import fill_run
from bench.reporting import print_table
from bench.serving import make_job, serve
from bench.socket_latency import measure as measure_sockets
from heimdall.bootstrap import Container
from heimdall.domain.metrics import VALUE_FIELDS
from tests.serving import make_container, make_report

ROWS_A_TRANSACTION = 100
"""Of the plan: a job that measures a hundred times a second commits once a second."""
FRAMES_A_VIEWER_S = 4
"""Of the plan: what a person can follow; newer values replace older ones that wait."""
USE = 0.6
"""Share of a node's time that is planned for: above, waiting grows faster than load."""


@dataclass(frozen=True)
class Stages:
    """What one event costs on its way through one node of each kind."""

    commits_per_s: float
    """Of one database as it is, by concurrent writers: an epoch's whole transaction."""
    free_commits_per_s: float
    """Of one database whose writers do not wait for each other (PostgreSQL; one row a transaction). SQLite has one writer."""
    bulk_rows_per_s: float
    """Metric rows a second of one writer, a thousand in a transaction."""
    tail_us: float
    """Processor time of a server for reading one event from the log."""
    delivery_us: float
    """Processor time of a server for one event at one socket."""
    epoch_bytes: float
    """On disk for one epoch: metric row, event, indices."""
    writer_ms: float
    """Processor time of a worker for one commit."""


@dataclass(frozen=True)
class Demand:
    """What is asked of the whole."""

    jobs: int = 10_000
    rows_per_s: float = 1_000_000
    viewers: int = 100_000


def measure_stages(folder: Path, database_url: str, num_writers: int, num_epochs: int) -> Stages:
    """Measure every stage here."""
    container = make_container(folder, **({"database_url": database_url} if database_url else {}))
    claims = [make_job(container)[1] for _ in range(num_writers)]
    with container.store.read(settled=True) as tx:
        start = tx.events.last_position()
    before_bytes = database_bytes(container, database_url)
    command = [sys.executable, "-m", "bench.load", "--database-url", database_url, "--be"]
    tasks = [json.dumps([str(folder), claim.model_dump(), num_epochs, 0.0]) for claim in claims]
    writers = [subprocess.Popen([*command, task], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for task in tasks]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    began = time.perf_counter()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=300)
    commits_per_s = num_writers * num_epochs / (time.perf_counter() - began)
    epoch_bytes = (database_bytes(container, database_url) - before_bytes) / (num_writers * num_epochs)
    bulk_rows_per_s = time_bulk(container)
    tail_us = time_tail(container, start)
    writer_ms = time_writer(container, num_epochs)
    with serve(folder, database_url or None) as server:
        delivery_us = asyncio.run(measure_sockets(container, server, num_clients=200, num_events=50, gap_s=0.0)).server_us
    container.close()
    free_commits_per_s = commits_per_s
    if database_url:
        with own_table(database_url):
            free_commits_per_s = count_commits(database_url, 16, 2, way="free")
    return Stages(commits_per_s, free_commits_per_s, bulk_rows_per_s, tail_us, delivery_us, epoch_bytes, writer_ms)


def database_bytes(container: Container, database_url: str) -> float:
    """Return what the database takes, without its log of pending pages."""
    sql = (
        "SELECT pg_database_size(current_database())"
        if database_url
        else "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    )
    with container.store.read() as tx:
        return float(tx.connection.exec_driver_sql(sql).scalar_one())


def time_bulk(container: Container, num_rows: int = 5000) -> float:
    """Return rows a second, written as many in a transaction."""
    began = time.perf_counter()
    fill_run(container, num_rows)
    return num_rows / (time.perf_counter() - began)


def time_tail(container: Container, start: int) -> float:
    """Return us of processor for reading one event of the log, in the tail's batches."""
    num_events, position, busy_s = 0, start, time.thread_time()
    while True:
        with container.store.read(settled=True) as tx:
            events = tuple(tx.events.read_page(since=position, limit=1000).events)
        if not events:
            return 1e6 * (time.thread_time() - busy_s) / num_events
        num_events, position = num_events + len(events), events[-1].position


def time_writer(container: Container, num_epochs: int) -> float:
    """Return ms of processor of the writer for one epoch."""
    _, claim = make_job(container)
    busy_s = time.thread_time()
    for epoch in range(1, num_epochs + 1):
        container.attempts.record_epochs(claim, [make_report(claim, epoch, num_epochs, **dict.fromkeys(VALUE_FIELDS, 1 / epoch))])
    return 1000 * (time.thread_time() - busy_s) / num_epochs


def plan(stages: Stages, demand: Demand) -> dict[str, dict[str, float]]:
    """Return how many of each the demand needs: as it is, and with batches, writers that share flushes, partitions and coalescing."""
    commits = demand.rows_per_s / ROWS_A_TRANSACTION
    frames_today = demand.viewers * demand.rows_per_s / demand.jobs
    frames = demand.viewers * min(FRAMES_A_VIEWER_S, demand.rows_per_s / demand.jobs)
    tail_cores, socket_cores = stages.tail_us / 1e6, stages.delivery_us / 1e6 / USE
    tb_a_day = 86_400 * demand.rows_per_s * stages.epoch_bytes / 1e12
    return {
        "databases, for their commits": {
            "today": demand.rows_per_s / stages.commits_per_s / USE,
            "planned": commits / stages.free_commits_per_s / USE,
        },
        "databases, for their rows": {
            "today": demand.rows_per_s / stages.commits_per_s / USE,
            "planned": demand.rows_per_s / stages.bulk_rows_per_s,
        },
        "cores to tail the whole log": {"today": demand.rows_per_s * tail_cores, "planned": commits * tail_cores},
        "cores to write to sockets": {"today": frames_today * socket_cores, "planned": frames * socket_cores},
        "TB a day": {"today": tb_a_day, "planned": tb_a_day},
    }


def saturation(stages: Stages, viewers_a_job: float, rate_per_job_s: float) -> dict[str, float]:
    """Return the number of jobs at which each stage of one node is full."""
    return {
        "commit": stages.commits_per_s / rate_per_job_s,
        "tail": 1e6 / stages.tail_us / rate_per_job_s,
        "sockets": 1e6 / (stages.delivery_us * max(viewers_a_job, 1e-9)) / rate_per_job_s,
    }


def simulate(
    stages: Stages, jobs: int, viewers_a_job: float, rate_per_job_s: float, seconds: float = 20, seed: int = 0
) -> dict[str, float]:
    """Send events at random moments through commit, tail and sockets, one node each; return the lag in ms and how full each stage is.

    Tail and sockets share the one event loop of an API process, so they are one server with the sum of both costs.
    """
    chance = random.Random(seed)
    commit_s = 1 / stages.commits_per_s
    api_s = (stages.tail_us + viewers_a_job * stages.delivery_us) / 1e6
    at = commit_free = api_free = 0.0
    lags: list[float] = []
    while at < seconds:
        at += chance.expovariate(jobs * rate_per_job_s)
        commit_free = max(at, commit_free) + commit_s
        api_free = max(commit_free, api_free) + api_s
        lags.append(api_free - at)
    lags.sort()
    load = jobs * rate_per_job_s
    return {
        "lag_ms": 1000 * lags[len(lags) // 2],
        "lag_p95_ms": 1000 * lags[int(0.95 * len(lags))],
        "commit_percent": 100 * load * commit_s,
        "api_percent": 100 * load * api_s,
    }


MEASURED = Stages(
    commits_per_s=69.8, free_commits_per_s=3144, bulk_rows_per_s=10_000, tail_us=14.5, delivery_us=13, epoch_bytes=1731, writer_ms=0.8
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", default="")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--no-measure", action="store_true")
    parser.add_argument("--jobs", type=int, nargs="*", default=[10, 100, 300, 1000, 3000, 10_000])
    options = parser.parse_args()
    stages = MEASURED
    if not options.no_measure:
        with tempfile.TemporaryDirectory() as name:
            stages = measure_stages(Path(name), options.database_url, options.writers, options.epochs)
    say(stages, options.jobs, "PostgreSQL" if options.database_url else "SQLite")


def say(stages: Stages, jobs: Sequence[int], name: str) -> None:
    demand = Demand()
    print_table(f"stages of one event's way ({name})", {"measured": asdict(stages)})
    print_table(f"nodes for {demand.jobs} jobs, {demand.rows_per_s:g} rows/s, {demand.viewers} viewers", plan(stages, demand))
    rate, viewers_a_job = 1.0, demand.viewers / demand.jobs
    print_table(
        f"full at so many jobs ({rate:g} epoch/s each, {viewers_a_job:g} viewers each)", {"jobs": saturation(stages, viewers_a_job, rate)}
    )
    rows = {f"{count} jobs": simulate(stages, count, viewers_a_job, rate) for count in jobs}
    print_table("simulated, one database and one API process, 20 s", rows)


if __name__ == "__main__":
    main()
