"""What logging costs a worker: an epoch as the training thread feels it, ten thousand of them until they can be read, and a tick.

Run: ``.venv/bin/python -m bench.epochs [--epochs 10000] [--database-url postgresql://…]``. Targets: 0.5 ms for a durable epoch, 0.015 ms
for a tick, 10 000 epochs logged and readable within 1 s. ``reported`` is the training thread's part through
a job's own sink, the row's total until the last one can be read: at once, where the queue fills and each 64th waits for a commit, and at
a rate that no real epoch reaches, where 5 ms is the target and a full queue a fault. ``alone`` is one commit each.
``cpu_ms`` is the thread's own processor time; ``bare commit`` is SQLite's durable transaction on the same disk, below which nothing goes.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.reporting import print_table, summarize
from bench.serving import make_job, make_sink
from heimdall.domain.events import Tick
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.training import EpochReport, Position
from tests.serving import make_container, make_report

_PER_S = 1000
_PACED = 5000


def measure(act: Callable[[int], object], times: int) -> dict[str, float]:
    """Return ms of each call, and ms of this thread's processor."""
    delays_ms = []
    busy_s = time.thread_time()
    for number in range(1, times + 1):
        began = time.perf_counter()
        act(number)
        delays_ms.append(1000 * (time.perf_counter() - began))
    busy_ms = 1000 * (time.thread_time() - busy_s) / times
    found = summarize(delays_ms)
    return {**{name: found[name] for name in ("min", "median", "p95", "max")}, "cpu_ms": busy_ms, "total_s": sum(delays_ms) / 1000}


def measure_paced(act: Callable[[int], object], times: int, per_s: float) -> dict[str, float]:
    """Return ms of each call where a loop makes so many in a second."""
    delays_ms = []
    began = time.perf_counter()
    for number in range(1, times + 1):
        time.sleep(max(0.0, began + number / per_s - time.perf_counter()))
        called = time.perf_counter()
        act(number)
        delays_ms.append(1000 * (time.perf_counter() - called))
    found = summarize(delays_ms)
    return {**{name: found[name] for name in ("min", "median", "p95", "max")}, "total_s": time.perf_counter() - began}


def measure_commit(folder: Path, times: int) -> dict[str, float]:
    """Return what one row costs in SQLite alone, as durable as ours."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, body TEXT)")
    found = measure(lambda number: connection.execute("INSERT INTO rows VALUES (?, ?)", (number, "x" * 1000)), times)
    connection.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        container = make_container(folder, **({"database_url": options.database_url} if options.database_url else {}))
        job_id, claim = make_job(container)

        def describe(epoch: int) -> EpochReport:
            return make_report(claim, epoch, options.epochs, **dict.fromkeys(VALUE_FIELDS, 1.0 / epoch))

        def tick(number: int) -> None:
            now = datetime.now(UTC)
            container.live.publish_tick(
                Tick(
                    job_id=job_id,
                    attempt=1,
                    timestamp=now,
                    current_epoch=1,
                    progress_percent=100 * number / 9999,
                    batch=number,
                    total_batches=9999,
                    estimated_completion=now,
                )
            )

        def offer(number: int) -> None:
            sink.report_tick(lambda: Position(1, number, 9999, 100 * number / 9999, None))

        rows = {"bare commit": measure_commit(folder, 1000)}
        rows["epochs alone, durable"] = measure(lambda epoch: container.attempts.record_epochs(claim, [describe(epoch)]), 1000)
        reports = [describe(1000 + number) for number in range(1, options.epochs + 1)]
        sink = make_sink(container, claim)
        began = time.perf_counter()
        with sink.writing():
            rows[f"{options.epochs} epochs reported"] = measure(lambda number: sink.report_epoch(reports[number - 1]), options.epochs)
        [last] = container.metrics.iterate(job_id, since_epoch=1000 + options.epochs - 1)
        assert last[0] == (1000 + options.epochs,)
        rows[f"{options.epochs} epochs reported"]["total_s"] = time.perf_counter() - began
        paced = [describe(1000 + options.epochs + number) for number in range(1, _PACED + 1)]
        with sink.writing():
            rows[f"{_PACED} reported, {_PER_S} a second"] = measure_paced(
                lambda number: sink.report_epoch(paced[number - 1]), _PACED, _PER_S
            )
        began = time.perf_counter()
        num_rows = sum(len(columns[0]) for columns in container.metrics.iterate(job_id))
        assert num_rows == 1000 + options.epochs + _PACED
        rows["reading them back"] = {"min": 1000 * (time.perf_counter() - began)}
        rows["tick, offered by the training thread"] = measure(offer, 20_000)
        rows["tick, said by the side thread"] = measure(tick, 5000)
        container.close()
        print_table(f"logging, ms ({'PostgreSQL' if options.database_url else 'SQLite, synchronous=FULL'})", rows)


if __name__ == "__main__":
    main()
