"""PostgreSQL: what it costs that one lock keeps the events' positions in commit order.

Run: ``.venv/bin/python -m bench.commit_lock --database-url postgresql://…/name [--writers 1 4 16]``. Writers insert one row of an event's
size a transaction, with and without the lock that the event log takes (``storage/dialects.py``), in turns. The lock is given back after the
commit is on disk, so that with it one commit follows another, and without it several share one flush. Makes a table of its own and
drops it.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.reporting import print_table

TABLE = "bench_commit_lock"
LOCK = 0x48454909
"""Not the product's: a server that runs meanwhile is not held up."""
BODY = "x" * 700


def count_commits(url: str, num_writers: int, seconds: float, *, is_locked: bool) -> float:
    """Return commits a second of so many writers."""
    counts = [0] * num_writers
    start = threading.Barrier(num_writers)

    def write(number: int) -> None:
        with psycopg.connect(url) as connection:
            start.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if is_locked:
                    connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK,))
                connection.execute(f"INSERT INTO {TABLE} (body) VALUES (%s)", (BODY,))  # type: ignore[arg-type]
                connection.commit()
                counts[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(num_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


@contextmanager
def own_table(url: str) -> Iterator[None]:
    """Have the table until the end of the block."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, body text)")
        try:
            yield
        finally:
            connection.execute(f"DROP TABLE {TABLE}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--writers", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = {}
    with own_table(options.database_url):
        for num_writers in options.writers:
            found: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(options.rounds):
                for is_locked in (True, False):
                    found[is_locked].append(count_commits(options.database_url, num_writers, options.seconds, is_locked=is_locked))
            locked, free = statistics.median(found[True]), statistics.median(found[False])
            rows[f"{num_writers} writers"] = {"locked": locked, "free": free, "ratio": free / locked}
    print_table("commits a second, PostgreSQL", rows)


if __name__ == "__main__":
    main()
