"""Past one machine: what the measured costs of today's stages make of 10 000 jobs, 1 000 000 rows a second and 100 000 viewers.

Run: ``.venv/bin/python -m bench.scale_model [--measure SQLite | --measure PostgreSQL --database-url postgresql://…] [--write]``.
Reckons and simulates from ``bench/scale_measured.json``; ``--measure`` takes those figures anew first (``bench/scale_stages.py``; five
minutes, medians of three rounds; PostgreSQL must be on this machine, its database empty). ``--write`` writes the tables of
docs/discussions/scale.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.commit_lock import WAYS
from bench.peers.report import describe_machine
from bench.reporting import print_table
from bench.scale_stages import EPOCHS_BEHIND, ROWS_A_TRANSACTION, Stages, measure_flush, measure_lock, measure_rounds
from bench.sections import replace_section

MEASURED: Final = Path(__file__).parent / "scale_measured.json"
PAGE: Final = Path(__file__).parents[1] / "docs" / "discussions" / "scale.md"
SIZES: Final = (10, 100, 300, 1000, 10_000)

FRAMES_A_VIEWER_S: Final = 4
"""Of the plan: what a person can follow; newer values replace older ones that wait."""
USE: Final = 0.6
"""Share of a node's time that is planned for: above, waiting grows faster than load."""
NODE_CORES: Final = 16
"""Of one database node."""
JOB_CONNECTIONS: Final = 3
"""To PostgreSQL, of one running job: counted in ``pg_stat_activity`` beside a real one (reports, control word, ticks)."""
DEFAULT_CONNECTIONS: Final = 100 - 3
"""Of PostgreSQL as it is installed, without those for its keeper."""
VIEWS_A_VIEWER_S: Final = 1 / 60
"""Charts that a viewer opens."""
PARTITIONS: Final = 16
"""As many as the disks want; the cores want fewer."""
RAW_DAYS: Final = 7
KEPT_SHARE: Final = 0.01
"""Of the rows, after those days; summaries keep every extreme."""


@dataclass(frozen=True)
class Demand:
    """What is asked of the whole."""

    jobs: int = 10_000
    rows_per_s: float = 1_000_000
    viewers: int = 100_000


def plan(stages: Stages, demand: Demand) -> dict[str, dict[str, float]]:
    """Return what the demand needs: with today's code, with the plan, and with the plan in bulk (COPY) where that differs.

    Today each row is an epoch: a transaction, an event, and a frame for each viewer. All of it is arithmetic.
    """
    batches = demand.rows_per_s / ROWS_A_TRANSACTION
    frames = demand.viewers * min(FRAMES_A_VIEWER_S, demand.rows_per_s / demand.jobs)
    views = demand.viewers * VIEWS_A_VIEWER_S
    event_bytes = stages.epoch_bytes - stages.row_bytes
    # A transaction of one epoch does the job's row, the event and the commit; its one row is counted twice.
    bulk_ms = stages.database_ms + ROWS_A_TRANSACTION * stages.copy_us / 1000

    def column(transactions: float, database_ms: float, wal_bytes: float, worker_ms: float, frames: float) -> dict[str, float]:
        cores = transactions * database_ms / 1000 / USE
        disk_bytes = demand.rows_per_s * stages.row_bytes + transactions * event_bytes
        socket_cores = frames * stages.delivery_us / 1e6 / USE
        return {
            "transactions a second": transactions,
            "database cores": cores,
            f"database nodes of {NODE_CORES} cores": math.ceil(cores / NODE_CORES),
            "WAL to one set of replicas, Mbit/s": transactions * wal_bytes * 8 / 1e6,
            "a worker's processor for one job, %": 100 * transactions / demand.jobs * worker_ms / 1000,
            "database connections without a pooler, GB": demand.jobs * JOB_CONNECTIONS * stages.backend_mb / 1000,
            "disk, TB a day": 86_400 * disk_bytes / 1e12,
            "frames to sockets a second": frames,
            "API processes (a core each) for sockets": math.ceil(socket_cores),
            "network to sockets, Mbit/s": frames * stages.frame_bytes * 8 / 1e6,
            "reading the whole log, % of each API process": 100 * transactions * stages.tail_us / 1e6,
            "memory for sockets, GB": demand.viewers * stages.socket_kb / 1e6,
            "API processes for views": math.ceil(views * stages.view_ms / 1000 / USE),
            "database cores for views": views * stages.view_database_ms / 1000 / USE,
            "network of views, Mbit/s": views * stages.view_kb * 8 / 1000,
        }

    today = column(
        demand.rows_per_s, stages.database_ms, stages.wal_bytes, stages.worker_ms, demand.viewers * demand.rows_per_s / demand.jobs
    )
    rows = column(batches, stages.batch_database_ms, stages.batch_wal_bytes, stages.batch_worker_ms, frames)
    bulk = column(batches, bulk_ms, stages.batch_wal_bytes, stages.batch_worker_ms, frames)
    return {name: {"today": today[name], "planned": rows[name], "with COPY": bulk[name]} for name in today}


def keep(stages: Stages, demand: Demand) -> dict[str, dict[str, float]]:
    """Return what the plan keeps with its retention, and what that is for one partition."""
    needs = {name: row["planned"] for name, row in plan(stages, demand).items()}
    copied = plan(stages, demand)["database cores"]["with COPY"]
    left_bytes = stages.summary_bytes + KEPT_SHARE * (stages.row_bytes - stages.summary_bytes)
    whole = {
        "transactions a second": needs["transactions a second"],
        "cores for writing, row by row": needs["database cores"],
        "cores for writing, with COPY": copied,
        "written to disk (WAL, rows, events), MB/s": needs["WAL to one set of replicas, Mbit/s"] / 8
        + needs["disk, TB a day"] * 1e6 / 86_400,
        "WAL to each replica, Mbit/s": needs["WAL to one set of replicas, Mbit/s"],
        f"disk for {RAW_DAYS} days of rows and events, TB": RAW_DAYS * needs["disk, TB a day"],
        "disk for ever: summaries and one row in a hundred, TB a day": 86_400 * demand.rows_per_s * left_bytes / 1e12,
        "connections behind poolers, four a core": 4 * NODE_CORES * PARTITIONS,
    }
    return {"all": whole, f"each of {PARTITIONS}": {name: value / PARTITIONS for name, value in whole.items()}}


def saturation(stages: Stages, viewers_a_job: float, rate_per_job_s: float) -> dict[str, float]:
    """Return the number of jobs at which each stage of one node is full."""
    api_us = stages.tail_us + viewers_a_job * stages.delivery_us
    found = {
        "commits, one epoch each (writers on the same cores)": stages.epochs_per_s,
        f"commits, up to {EPOCHS_BEHIND} epochs each": stages.behind_epochs_per_s,
        "one API process: reading the log": 1e6 / stages.tail_us,
        "one API process: reading the log and writing to sockets": 1e6 / api_us,
    }
    if stages.database_ms:
        found[f"PostgreSQL's connections as installed, {JOB_CONNECTIONS} a job (a setting)"] = (
            rate_per_job_s * DEFAULT_CONNECTIONS / JOB_CONNECTIONS
        )
        found[f"PostgreSQL's processor, {NODE_CORES} cores of its own"] = NODE_CORES * 1000 / stages.database_ms
    return {name: rate / rate_per_job_s for name, rate in found.items()}


def make_dearer(stages: Stages, factor: float) -> Stages:
    """Return the stages with every time multiplied."""
    rates = {name: value / factor for name, value in asdict(stages).items() if name.endswith("_per_s")}
    times = {name: value * factor for name, value in asdict(stages).items() if name.endswith(("_ms", "_us"))}
    return replace(stages, **rates, **times)


def simulate(
    stages: Stages, jobs: int, viewers_a_job: float, rate_per_job_s: float, seconds: float = 20, seed: int = 0
) -> dict[str, float]:
    """Send epochs at random moments through the database and one API process; return the lag in ms and how full each is.

    The database is one server with the measured rate. A job has one transaction at a time, which takes all that waits by then, 64 at most,
    as the worker's scribe does. Reading the log and writing to sockets share the one event loop of an API process, so they are one server
    with the sum of both costs.
    """
    chance = random.Random(seed)
    first_s = 1 / stages.epochs_per_s
    further_s = max(0.0, (EPOCHS_BEHIND / stages.behind_epochs_per_s - first_s) / (EPOCHS_BEHIND - 1))
    further_wait_s = max(0.0, stages.lone_ms / 1000 - first_s)  # transactions that share a flush each wait for all of it
    api_s = (stages.tail_us + viewers_a_job * stages.delivery_us) / 1e6
    arrivals: deque[tuple[float, int]] = deque()
    at = chance.expovariate(jobs * rate_per_job_s)
    while at < seconds:
        arrivals.append((at, chance.randrange(jobs)))
        at += chance.expovariate(jobs * rate_per_job_s)
    waiting: dict[int, deque[float]] = {}
    turns: deque[int] = deque()
    database_free = api_free = database_busy = 0.0
    lags: list[float] = []
    num_transactions = 0
    while arrivals or turns:
        if not turns:
            database_free = max(database_free, arrivals[0][0])
        while arrivals and arrivals[0][0] <= database_free:
            began, job = arrivals.popleft()
            if not waiting.setdefault(job, deque()):
                turns.append(job)
            waiting[job].append(began)
        job = turns.popleft()
        taken = [waiting[job].popleft() for _ in range(min(EPOCHS_BEHIND, len(waiting[job])))]
        if waiting[job]:
            turns.append(job)
        spent = first_s + further_s * (len(taken) - 1)
        database_free += spent
        database_busy += spent
        num_transactions += 1
        api_free = max(database_free + further_wait_s, api_free)
        for began in taken:
            api_free += api_s
            lags.append(api_free - began)
    lags.sort()
    return {
        "lag_ms": 1000 * lags[len(lags) // 2],
        "lag_p95_ms": 1000 * lags[int(0.95 * len(lags))],
        "epochs a transaction": len(lags) / num_transactions,
        "database_percent": 100 * database_busy / max(seconds, database_free),
        "api_percent": 100 * jobs * rate_per_job_s * api_s,
    }


def read_measured() -> tuple[dict[str, Any], dict[str, Stages]]:
    """Return what was measured last: all of it, and the stages of each database."""
    known = json.loads(MEASURED.read_text())
    return known, {name: Stages(**known[name]["stages"]) for name in ("SQLite", "PostgreSQL")}


def measure(name: str, url: str, rounds: int) -> None:
    """Take one database's figures anew and remember them."""
    load = os.getloadavg()[0]
    found = [asdict(stages) for stages in measure_rounds(url, rounds)]
    known = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    known[name] = {
        "about": f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}, load {load:.0f} to {os.getloadavg()[0]:.0f}",
        "stages": {key: statistics.median(one[key] for one in found) for key in found[0]},
        "least": {key: min(one[key] for one in found) for key in found[0]},
        "most": {key: max(one[key] for one in found) for key in found[0]},
    }
    if url:
        known["lock"] = measure_lock(url)
        known["flush"] = measure_flush(url)
    MEASURED.write_text(json.dumps(known, indent=1) + "\n")


ROWS: Final[dict[str, tuple[str, float]]] = {
    "lone_ms": ("one writer: an epoch until it is durable, ms", 1),
    "epochs_per_s": ("16 writers: epochs a second, one a transaction", 1),
    "behind_epochs_per_s": ("16 writers: epochs a second, 64 a transaction (jobs that are behind)", 1),
    "batch_rows_per_s": ("16 writers: rows a second, 100 rows and one event a transaction (the plan)", 1),
    "fsync_ms": ("one flush of the disk beside it, ms", 1),
    "worker_ms": ("*a worker's processor for an epoch, ms*", 1),
    "database_ms": ("*PostgreSQL's for the same, ms*", 1),
    "batch_worker_ms": ("*a worker's for 100 rows and one event, ms*", 1),
    "batch_database_ms": ("*PostgreSQL's for the same, ms*", 1),
    "copy_us": ("*PostgreSQL's for one row by COPY, 100 at once, us*", 1),
    "tail_us": ("*a server's to read one event of the log, us*", 1),
    "delivery_us": ("*a server's for one event at one of 1 000 sockets, us*", 1),
    "view_ms": ("*a server's for one chart, 800 points of 30 000 epochs, ms*", 1),
    "view_database_ms": ("*PostgreSQL's for the same, ms*", 1),
    "epoch_bytes": ("disk for an epoch and its event, kB", 1000),
    "row_bytes": ("disk for a row without an event, kB", 1000),
    "summary_bytes": ("of which summaries, kB", 1000),
    "wal_bytes": ("written ahead (WAL) for an epoch, kB", 1000),
    "batch_wal_bytes": ("the same for 100 rows and one event, kB", 1000),
    "frame_bytes": ("one event on a socket, kB", 1000),
    "view_kb": ("one chart's answer, compressed, kB", 1),
    "socket_kb": ("a server's memory for a socket, kB", 1),
}
"""What the page says of each stage, and what to divide it by. In italics: processor time."""


def number(value: float) -> str:
    """Return the digits that matter, thousands apart."""
    if value == 0:
        return "-"
    if abs(value) >= 1000:
        digits = 3 - math.ceil(math.log10(abs(value)))
        return f"{round(value, digits):,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def tabulate(head: str, columns: dict[str, dict[str, float]]) -> list[str]:
    """Return a table of these columns."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(number(column[name]) if name in column else "" for column in columns.values())] for name in names]
    return [f"| {' | '.join([head, *columns])} |", "|---" * (1 + len(columns)) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def say(value: float, known: dict[str, Any], key: str, unit: float) -> str:
    """Return a cell of what was measured: the median, and in brackets the least and the most."""
    least, most = (number(known[end][key] / unit) for end in ("least", "most"))
    return number(value) + ("" if least == most else f" ({least} to {most})")


def write_sections() -> dict[str, list[str]]:
    """Return the tables of the page."""
    known, stages = read_measured()
    measured = [f"{known['SQLite']['about']} (SQLite) and {known['PostgreSQL']['about'].split(', ')[-1]} (PostgreSQL).", ""]
    measured += ["| measured, median of 3 (least to most) | SQLite | PostgreSQL |", "|---|---|---|"]
    for key, (name, unit) in ROWS.items():
        cells = [say(getattr(one, key) / unit, known[db], key, unit) for db, one in stages.items()]
        measured.append(f"| {name} | {' | '.join(cells)} |")
    titles = {
        "exclusive": "exclusive lock, bell within (before)",
        "bell_inside": "shared locks, bell within",
        "shared": "shared locks, bell after (today)",
        "free": "neither",
    }
    lock = {titles[way]: {writers: row[way] for writers, row in known["lock"].items()} for way in WAYS}
    lock["today / before"] = {writers: row["shared"] / row["exclusive"] for writers, row in known["lock"].items()}
    postgresql, demand = stages["PostgreSQL"], Demand()
    planned, dearer = plan(postgresql, demand), plan(make_dearer(postgresql, 2), demand)
    needs = {
        "today's code": {name: row["today"] for name, row in planned.items()},
        "plan": {name: row["planned"] for name, row in planned.items()},
        "plan with COPY": {name: row["with COPY"] for name, row in planned.items()},
        "with COPY, every time twice": {name: row["with COPY"] for name, row in dearer.items()},
    }
    full = {
        "SQLite": saturation(stages["SQLite"], 10, 1),
        "PostgreSQL": saturation(postgresql, 10, 1),
        "PostgreSQL, every time twice": saturation(make_dearer(postgresql, 2), 10, 1),
    }
    simulated = ["| jobs | " + " | ".join(f"{name}: lag, p95 | epochs a transaction | database, API busy" for name in stages) + " |"]
    simulated.append("|---" * 7 + "|")
    for jobs in SIZES:
        cells = []
        for one in stages.values():
            row = simulate(one, jobs, 10, 1)
            lags = f"{number(row['lag_ms'])}, {number(row['lag_p95_ms'])} ms"
            busy = f"{row['database_percent']:.0f} %, {row['api_percent']:.0f} %"
            cells.append(f"{lags} | {row['epochs a transaction']:.1f} | {busy}")
        simulated.append(f"| {number(jobs)} | {' | '.join(cells)} |")
    on, off = known["flush"]["on"], known["flush"]["off"]
    flush = (
        f"PostgreSQL, 16 writers, three rounds in turns: {number(on['epochs_per_s'])} epochs/s where each commit waits for the disk, "
        f"{number(off['epochs_per_s'])} where none does (`synchronous_commit=off`); worker and database took {number(on['busy_ms'])} ms of "
        f"processor for each, {number(on['epochs_per_s'] * on['busy_ms'] / 1000)} of the two cores, and neighbours the rest."
    )
    about_lock = (
        "The order of positions alone: one bare row a transaction, commits a second, medians of three rounds (`bench/commit_lock.py`):"
    )
    about_simulation = "Simulated, 20 s, epochs at random moments, one database at the measured rate and one API process:"
    return {
        "measured": [*measured, "", flush, "", about_lock, "", *tabulate("writers", lock)],
        "full": [*tabulate("full at so many jobs", full), "", about_simulation, "", *simulated],
        "needs": [
            *tabulate("10 000 jobs, 1 000 000 rows/s, 100 000 viewers", needs),
            "",
            *tabulate("the plan's partitions", keep(postgresql, demand)),
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", choices=["SQLite", "PostgreSQL"])
    parser.add_argument("--database-url", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the tables of docs/discussions/scale.md")
    options = parser.parse_args()
    if (options.measure == "PostgreSQL") != bool(options.database_url):
        parser.error("--database-url goes with --measure PostgreSQL, and only with it")
    if options.measure:
        measure(options.measure, options.database_url, options.rounds)
    for name, stages in read_measured()[1].items():
        print_table(f"stages of one event's way ({name})", {key: {"median": value} for key, value in asdict(stages).items()})
    for name, lines in write_sections().items():
        print("\n".join(["", *lines]))
        if options.write:
            replace_section(PAGE, f"scale {name}", lines)


if __name__ == "__main__":
    main()
