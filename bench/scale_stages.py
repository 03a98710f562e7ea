"""What each stage of one event's way costs on this machine: the figures that ``bench.scale_model`` reckons with.

Run by ``bench.scale_model --measure``. Writers are processes of their own; one transaction each at a time. Times of waiting are those of
writers, database and disk on the same cores; processor times are what another machine's size can be reckoned from.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil
import psycopg

from bench.commit_lock import WAYS, count_commits, own_table
from bench.reads import FIVE, fill_run
from bench.serving import busy_s, make_job, serve
from bench.socket_latency import measure as measure_sockets
from heimdall.bootstrap import Container
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.ports import ProgressUpdate
from heimdall.domain.training import EpochReport
from tests.serving import make_container, make_report

ROWS_A_TRANSACTION: Final = 100
"""Of the plan: a job that measures a hundred times a second commits once a second."""
EPOCHS_BEHIND: Final = 64
"""Epochs of one job that share a transaction today where they end faster than commits (``worker/scribe.py``)."""
MANY: Final = 16
"""Writers at once."""
NUM_ROWS: Final = 30_000
"""Of the run that is read."""


@dataclass(frozen=True)
class Stages:
    """What one event costs on its way through one node of each kind."""

    fsync_ms: float
    """Median of appending 8 kB and flushing it, by one process alone."""
    lone_ms: float
    """One writer's transaction of one epoch, from begin to durable."""
    epochs_per_s: float
    """Of sixteen writers, one epoch a transaction: as jobs do whose epochs take longer than a commit."""
    behind_epochs_per_s: float
    """Of sixteen writers, 64 epochs a transaction: as jobs do that are behind."""
    batch_rows_per_s: float
    """Of sixteen writers, a hundred rows and one event a transaction: the plan."""
    worker_ms: float
    """Processor time of a worker for one epoch in a transaction of its own."""
    batch_worker_ms: float
    """Processor time of a worker for a transaction of a hundred rows and one event."""
    database_ms: float
    """Processor time of PostgreSQL's backends for one epoch in a transaction of its own (SQLite's is the worker's)."""
    batch_database_ms: float
    """The same for a transaction of a hundred rows and one event."""
    copy_us: float
    """The same for one row of a hundred in a transaction, by COPY into a table of the same columns and keys."""
    connections: float
    """Connections of one reporting process."""
    backend_mb: float
    """Memory of one such connection that PostgreSQL's processes do not share."""
    epoch_bytes: float
    """On disk for one epoch: metric row, summaries, event, indices, dead versions of the job's row."""
    row_bytes: float
    """On disk for one metric row: with summaries and index, without an event."""
    summary_bytes: float
    """The summaries' part of it (PostgreSQL alone tells them apart)."""
    wal_bytes: float
    """What PostgreSQL writes to its log for one epoch in a transaction of its own: what a replica is sent."""
    batch_wal_bytes: float
    """The same for a transaction of a hundred rows and one event."""
    tail_us: float
    """Processor time of a server for reading one event from the log."""
    delivery_us: float
    """Processor time of a server for one event at one socket, of a thousand."""
    frame_bytes: float
    """What a socket carries for one event, without TCP's headers."""
    socket_kb: float
    """Memory of a server for one open socket."""
    view_ms: float
    """Processor time of a server for a chart of 800 points of 30 000 epochs."""
    view_database_ms: float
    """PostgreSQL's part of it, where that is not within."""
    view_kb: float
    """What the answer takes, compressed."""


class Written(NamedTuple):
    """What writers did within their time."""

    num_transactions: int
    seconds: float
    worker_s: float
    database_s: float
    num_connections: float
    backend_mb: float
    wal_bytes: float

    @property
    def per_s(self) -> float:
        """Transactions a second."""
        return self.num_transactions / self.seconds


def measure_stages(folder: Path, url: str, seconds: float = 2) -> Stages:
    """Measure every stage once."""
    container = make_container(folder, **({"database_url": url} if url else {}))
    with container.store.read(settled=True) as tx:
        start = tx.events.last_position()
    fsync_ms = time_fsync(folder)
    alone = run_writers(container, folder, url, 1, 1, seconds)
    before_bytes = count_bytes(container, url)
    single = run_writers(container, folder, url, MANY, 1, seconds)
    epoch_bytes = (count_bytes(container, url) - before_bytes) / single.num_transactions
    behind = run_writers(container, folder, url, MANY, EPOCHS_BEHIND, seconds)
    batch = run_writers(container, folder, url, MANY, -ROWS_A_TRANSACTION, seconds)
    before_bytes, before_summaries = count_bytes(container, url), count_summaries(url)
    job_id = fill_run(container, NUM_ROWS)
    row_bytes = (count_bytes(container, url) - before_bytes) / NUM_ROWS
    summary_bytes = (count_summaries(url) - before_summaries) / NUM_ROWS
    tail_us = time_tail(container, start)
    with serve(folder, url or None) as server:
        sockets = asyncio.run(measure_sockets(container, server, num_clients=1000, num_events=20, gap_s=0.0))
        path = f"/training/jobs/{job_id}/metrics?max_points=800&{FIVE}"
        server.read(path, times=20, gzip=True)
        database_before_s = count_database_s(url)
        view = server.read(path, times=100, gzip=True)
        view_database_ms = 1000 * (count_database_s(url) - database_before_s) / 101
    container.close()
    return Stages(
        fsync_ms=fsync_ms,
        lone_ms=1000 / alone.per_s,
        epochs_per_s=single.per_s,
        behind_epochs_per_s=EPOCHS_BEHIND * behind.per_s,
        batch_rows_per_s=ROWS_A_TRANSACTION * batch.per_s,
        worker_ms=1000 * single.worker_s / single.num_transactions,
        batch_worker_ms=1000 * batch.worker_s / batch.num_transactions,
        database_ms=1000 * single.database_s / single.num_transactions,
        batch_database_ms=1000 * batch.database_s / batch.num_transactions,
        copy_us=time_copy(url) if url else 0.0,
        connections=single.num_connections,
        backend_mb=single.backend_mb,
        epoch_bytes=epoch_bytes,
        row_bytes=row_bytes,
        summary_bytes=summary_bytes,
        wal_bytes=single.wal_bytes / single.num_transactions,
        batch_wal_bytes=batch.wal_bytes / batch.num_transactions,
        tail_us=tail_us,
        delivery_us=sockets.server_us,
        frame_bytes=sockets.frame_bytes,
        socket_kb=sockets.socket_kb,
        view_ms=view["cpu_ms"],
        view_database_ms=view_database_ms,
        view_kb=view["kB"],
    )


def measure_lock(url: str, seconds: float = 1, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Return commits a second of ``bench.commit_lock``: medians of rounds, the ways in turns."""
    rows = {}
    with own_table(url):
        for num_writers in (1, 4, 16):
            found = [{way: count_commits(url, num_writers, seconds, way=way) for way in WAYS} for _ in range(rounds)]
            rows[str(num_writers)] = {way: statistics.median(one[way] for one in found) for way in WAYS}
    return rows


def measure_flush(url: str, rounds: int = 3, seconds: float = 2) -> dict[str, dict[str, float]]:
    """Return epochs a second of sixteen writers whose commits wait for the disk, and of such that do not: medians, in turns."""
    found: dict[str, list[Written]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory() as name:
        container = make_container(Path(name), database_url=url)
        for _ in range(rounds):
            for way, written in found.items():
                own_url = f"{url}{'&' if '?' in url else '?'}options=-c%20synchronous_commit%3D{way}"
                written.append(run_writers(container, Path(name), own_url, MANY, 1, seconds))
        container.close()
    return {
        way: {
            "epochs_per_s": statistics.median(one.per_s for one in written),
            "busy_ms": statistics.median(1000 * (one.worker_s + one.database_s) / one.num_transactions for one in written),
        }
        for way, written in found.items()
    }


def run_writers(container: Container, folder: Path, url: str, num_writers: int, size: int, seconds: float) -> Written:
    """Let processes write for some seconds; a ``size`` below zero is the plan's transaction of so many rows and one event."""
    claims = [make_job(container)[1] for _ in range(num_writers)]
    tasks = [json.dumps([str(folder), url, claim.model_dump(), size, seconds]) for claim in claims]
    command = [sys.executable, "-m", "bench.scale_stages", "--be"]
    others = set(list_backends(url))
    with starting([[*command, task] for task in tasks]) as writers:
        for writer in writers:
            assert ask(writer) == "ready"
        before_s, before_wal = count_database_s(url), count_wal(url)
        for writer in writers:
            say(writer)
        told = [json.loads(ask(writer)) for writer in writers]
        database_s, wal_bytes = count_database_s(url) - before_s, count_wal(url) - before_wal
        backends = [psutil.Process(pid) for pid in list_backends(url) if pid not in others]
        backend_mb = statistics.median(one.memory_full_info().uss for one in backends) / 1e6 if backends else 0.0
        for writer in writers:
            say(writer)
    counts, busy = zip(*told, strict=True)
    return Written(sum(counts), seconds, sum(busy), database_s, len(backends) / num_writers, backend_mb, wal_bytes)


@contextmanager
def starting(commands: list[list[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Have these processes until the end of the block."""
    started = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for one in commands]
    try:
        yield started
        for process in started:
            process.wait(30)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ask(writer: subprocess.Popen[str]) -> str:
    """Return the next line that it says."""
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


def say(writer: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert writer.stdin is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()


def be_writer(folder: str, url: str, claim: Claim, size: int, seconds: float) -> None:
    """Write, and print how many transactions it were and s of processor."""
    container = make_container(Path(folder), **({"database_url": url} if url else {}))
    epoch = 0

    def write() -> None:
        nonlocal epoch
        first, epoch = epoch + 1, epoch + abs(size)
        reports = [make_report(claim, number, 100_000, **dict.fromkeys(VALUE_FIELDS, 1 / number)) for number in range(first, epoch + 1)]
        if size > 0:
            container.attempts.record_epochs(claim, reports)
        else:
            write_batch(container, claim, reports)

    for _ in range(3):
        write()
    print("ready", flush=True)
    sys.stdin.readline()
    num_transactions, busy_before_s, end = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        write()
        num_transactions += 1
    print(json.dumps([num_transactions, time.process_time() - busy_before_s]), flush=True)
    sys.stdin.readline()  # its connections are looked at meanwhile
    container.close()


def write_batch(container: Container, claim: Claim, reports: list[EpochReport]) -> None:
    """Do what the plan's worker does once a second: all rows, one event with the newest of them."""
    last = reports[-1]
    update = ProgressUpdate(last.metric.epoch, last.progress_percent, None, last.metric.epoch, 0.5, 0.5)
    with container.store.write() as tx:
        stamp = tx.jobs.record_progress(claim, update, num_events=1)
        tx.metrics.put(*(report.metric for report in reports))
        payload = last.metric.model_dump(mode="json", exclude={"job_id"})
        tx.events.append(claim.job_id, seq=stamp.seq, type=EventType.PROGRESS, payload=payload, now=last.metric.timestamp)


def time_fsync(folder: Path, times: int = 100) -> float:
    """Return the median ms of a flush."""
    delays_ms = []
    with (folder / "flushed").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 8192)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            delays_ms.append(1000 * (time.perf_counter() - began))
    return statistics.median(delays_ms)


def time_tail(container: Container, start: int) -> float:
    """Return us of processor for reading one event of the log, in the tail's batches."""
    num_events, position, busy_before_s = 0, start, time.thread_time()
    while True:
        with container.store.read(settled=True) as tx:
            events = tuple(tx.events.read_page(since=position, limit=1000).events)
        if not events:
            return 1e6 * (time.thread_time() - busy_before_s) / num_events
        num_events, position = num_events + len(events), events[-1].position


def time_copy(url: str, num_transactions: int = 300) -> float:
    """Return us of a backend's processor for a row by COPY: the form that rows could have. Takes its rows from the filled run."""
    with psycopg.connect(url, autocommit=True) as connection:
        pid = connection.info.backend_pid
        connection.execute("CREATE TABLE bench_copy (LIKE metrics INCLUDING ALL)")
        try:
            most = num_transactions * ROWS_A_TRANSACTION
            query = "SELECT m.* FROM metrics m JOIN (SELECT job_id FROM metrics GROUP BY 1 ORDER BY count(*) DESC LIMIT 1) l USING (job_id)"
            with connection.cursor().copy(f"COPY ({query} LIMIT {most}) TO STDOUT") as source:  # type: ignore[arg-type]
                rows = [bytes(row) for row in source]
            before_s = busy_s(pid)
            for start in range(0, len(rows), ROWS_A_TRANSACTION):
                with connection.cursor().copy("COPY bench_copy FROM STDIN") as target:
                    target.write(b"".join(rows[start : start + ROWS_A_TRANSACTION]))
            return 1e6 * (busy_s(pid) - before_s) / len(rows)
        finally:
            connection.execute("DROP TABLE bench_copy")


def count_bytes(container: Container, url: str) -> float:
    """Return what the database takes, without its log of pending pages."""
    sql = "SELECT pg_database_size(current_database())"
    with container.store.read() as tx:
        sqlite = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return float(tx.connection.exec_driver_sql(sql if url else sqlite).scalar_one())


def count_summaries(url: str) -> float:
    """Return what the summaries of PostgreSQL take; 0 for SQLite."""
    return float(ask_postgresql(url, "SELECT pg_total_relation_size('metric_summaries')")[0]) if url else 0.0


def count_wal(url: str) -> float:
    """Return how much PostgreSQL has written to its log; 0 for SQLite."""
    return float(ask_postgresql(url, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0]) if url else 0.0


def count_database_s(url: str) -> float:
    """Return s of processor of this database's backends, which must run on this machine; 0 for SQLite."""
    return sum(busy_s(pid) for pid in list_backends(url))


def list_backends(url: str) -> list[int]:
    """Return the processes of this database's connections, but the one that asks; none for SQLite."""
    where = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    return [int(pid) for pid in ask_postgresql(url, f"SELECT pid FROM pg_stat_activity WHERE {where}")] if url else []


def ask_postgresql(url: str, query: str) -> list[Any]:
    """Return the first column."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query)]  # type: ignore[call-overload]


def measure_rounds(url: str, rounds: int) -> list[Stages]:
    """Measure some times, each in a folder of its own."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            found.append(measure_stages(Path(name), url))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--be", required=True, help="internal: be one writer")
    given_folder, given_url, given_claim, *pace = json.loads(parser.parse_args().be)
    be_writer(given_folder, given_url, Claim(**given_claim), *pace)
