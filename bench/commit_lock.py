"""PostgreSQL: what it costs to give a log's readers a settled order: the old way, the new one, and none at all.

Run: ``.venv/bin/python -m bench.commit_lock --database-url postgresql://…/name [--writers 1 4 16]``. Writers insert one row of an event's
size a transaction, in turns within each round: ``exclusive`` as Heimdall did until November 2026 (one lock and the doorbell in the
transaction, both held until the commit is on disk, so that one commit follows another), ``bell_inside`` with shared locks but the doorbell
still in the transaction (PostgreSQL serializes those commits itself), ``shared`` as the event log does it today
(``storage/dialects.py``: shared locks, the doorbell after the commit), ``free`` with neither. Makes a table of its own and drops it.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from bench.reporting import print_table

TABLE: Final = "bench_commit_lock"
# Neither locks nor channel are the product's: a server that runs meanwhile is not held up.
_BELL: Final = "NOTIFY bench_commit_lock"
_EXCLUSIVE: Final = f"SELECT pg_advisory_xact_lock({0x48454909}, 0)"
_SHARED: Final = f"SELECT pg_advisory_xact_lock_shared(({0x4849}::bigint << 48) | last_value + 1) FROM {TABLE}_id_seq"
WAYS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "exclusive": ((_EXCLUSIVE, _BELL), ()),
    "bell_inside": ((_SHARED, _BELL), ()),
    "shared": ((_SHARED,), (_BELL,)),
    "free": ((), ()),
}
"""What is said before the row and after the commit."""
BODY: Final = "x" * 700


def count_commits(url: str, num_writers: int, seconds: float, *, way: str) -> float:
    """Return commits a second of so many writers."""
    before, after = WAYS[way]
    counts = [0] * num_writers
    start = threading.Barrier(num_writers)

    def write(number: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            start.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with connection.transaction():
                    for statement in before:
                        connection.execute(statement)  # type: ignore[call-overload]
                    connection.execute(f"INSERT INTO {TABLE} (body) VALUES (%s)", (BODY,))  # type: ignore[arg-type]
                for statement in after:
                    connection.execute(statement)  # type: ignore[call-overload]
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
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way in WAYS:
                    found[way].append(count_commits(options.database_url, num_writers, options.seconds, way=way))
            medians = {way: statistics.median(counts) for way, counts in found.items()}
            rows[f"{num_writers} writers"] = {**medians, "shared/exclusive": medians["shared"] / medians["exclusive"]}
    print_table("commits a second, PostgreSQL", rows)


if __name__ == "__main__":
    main()
