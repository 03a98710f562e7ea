"""What the machine itself takes, without us: the limits below which nothing goes, beside which our figures on it are to be read.

Run: ``.venv/bin/python -m bench.machine [--runs 5]``. Bare: a Starlette that answers one path; a hundred thousand rows of five numbers from
SQLite to JSON; the same numbers in memory cut into a thousand buckets with their extremes, as JSON; a loop of a million additions.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing

import numpy as np
import orjson

from bench.reporting import print_table, summarize
from tests.instance import find_free_port

NUM_ROWS = 100_000
NUM_BUCKETS = 1000
NAMES = ("epoch", "timestamp", "a", "b", "c", "d", "e")
STARLETTE = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
uvicorn.run(Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))]), port=%d, log_level="error")
"""


def time_starlette() -> float:
    """Return s from launch to the first answer."""
    port = find_free_port()
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", STARLETTE % port]) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                except OSError:
                    time.sleep(0.002)
                else:
                    return time.perf_counter() - began
        finally:
            process.kill()


def time_call(act: Callable[[], object]) -> float:
    """Return s of one call."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = range(parser.parse_args().runs)
    numbers = np.random.default_rng(1).random((NUM_ROWS, 5))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rows (epoch INTEGER PRIMARY KEY, timestamp TEXT, a REAL, b REAL, c REAL, d REAL, e REAL)")
        rows = ((epoch, "2026-01-02T03:04:05.678901Z", *values) for epoch, values in enumerate(numbers.tolist()))
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

        def to_json() -> bytes:
            found = connection.execute("SELECT * FROM rows ORDER BY epoch").fetchall()
            return orjson.dumps([dict(zip(NAMES, row, strict=True)) for row in found])

        def thin() -> bytes:
            buckets = numbers.reshape(NUM_BUCKETS, -1, 5)
            return orjson.dumps([buckets.min(axis=1).tolist(), buckets.max(axis=1).tolist()])

        taken = {
            "bare Starlette, launch to first answer, s": [time_starlette() for _ in runs],
            "rows from SQLite to JSON, s": [time_call(to_json) for _ in runs],
            "buckets from memory, ms": [1000 * time_call(thin) for _ in runs],
            "a million additions, ms": [1000 * time_call(lambda: sum(number for number in range(1_000_000))) for _ in runs],
        }
    print_table("the machine itself", {name: summarize(values) for name, values in taken.items()})


if __name__ == "__main__":
    main()
