"""What logging costs a worker: a durable epoch, ten thousand of them until they can be read, and a tick.

Run: ``.venv/bin/python -m bench.epochs [--epochs 10000] [--database-url postgresql://…]``. Targets: 0.5 ms for a durable epoch, 0.015 ms
for a tick (offered to the side thread), 10 000 epochs logged and readable within 1 s. ``cpu_ms`` is the thread's own processor time;
``bare commit`` is SQLite's durable transaction alone on the same disk, below which nothing durable can go.
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
from bench.serving import make_job
from heimdall.domain.events import Tick
from heimdall.domain.metrics import VALUE_FIELDS
from tests.serving import make_container, make_report


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

        def log(epoch: int) -> None:
            values = dict.fromkeys(VALUE_FIELDS, 1.0 / epoch)
            container.attempts.record_epoch(claim, make_report(claim, epoch, options.epochs, **values))

        def tick(number: int) -> None:
            instant = datetime.now(UTC)
            container.live.publish_tick(
                Tick(job_id=job_id, attempt=1, timestamp=instant, current_epoch=1, progress_percent=1, batch=number, total_batches=9999)
            )

        rows = {"bare commit": measure_commit(folder, 1000), f"{options.epochs} durable epochs": measure(log, options.epochs)}
        began = time.perf_counter()
        num_rows = sum(len(chunk) for chunk in container.metrics.iterate(job_id))
        assert num_rows == options.epochs
        rows["reading them back"] = {"min": 1000 * (time.perf_counter() - began)}
        rows["tick, said by the side thread"] = measure(tick, 2000)
        container.close()
        print_table(f"logging, ms ({'PostgreSQL' if options.database_url else 'SQLite, synchronous=FULL'})", rows)


if __name__ == "__main__":
    main()
