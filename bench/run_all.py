"""Run the benchmarks of ours alone, one after the other; print their tables, then one line for each figure with its target.

Run: ``make bench``, or ``.venv/bin/python -m bench.run_all [name ...] [--database-url postgresql://…] [--write]``. Some five minutes on
two quiet cores. An empty PostgreSQL database, which is filled, adds its rows; for those of 100 jobs it needs ``max_connections`` of 400.
Results go to ``bench/out/ours.json``, with ``--write`` to docs/figures.md as well. They are printed, never asserted.

What takes longer or needs more than this folder has its own command: ``bench.soak`` (30 minutes), ``bench.growth --full``,
``bench.scale_model``, ``bench.commit_lock`` (PostgreSQL), ``bench.compile_gain``, ``make bench-peers`` (a package index),
``make bench-physics`` (measured data).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.peers.report import describe_machine
from bench.sections import FIGURES, replace_section
from bench.targets import LIMITS, ROWS, Figure, Measured, Row, find

ROOT: Final = Path(__file__).parents[1]
SCRIPTS: Final[dict[str, list[str]]] = {
    "machine": [],
    "startup": ["--runs", "3", "--idle-seconds", "10"],
    "control_latency": ["--rounds", "4"],
    "dispatch": ["--messages", "40", "--idle-s", "1"],
    "epochs": [],
    "load": [],
    "socket_latency": ["--clients", "1000", "5000", "--saturate", "1000", "--rounds", "1"],
    "reads": ["--epochs", "1000", "100000", "--times", "40"],
    "page": ["--epochs", "30"],
    "page_curves": ["--live-s", "6"],
    "training_overhead": [],
    "training_profile": ["--examples", "5000"],
    "simulation_rate": ["--runs", "3"],
    "synthetic_rate": ["--runs", "3"],
    "inference": ["--times", "150"],
    "bundle_memory": [],
}
ON_POSTGRESQL: Final[tuple[list[str], ...]] = (
    ["load"],
    ["load", "--jobs", "100", "--rate", "1", "--phases", "spread"],
    ["socket_latency", *SCRIPTS["socket_latency"]],
    ["reads", *SCRIPTS["reads"]],
)
POSTGRESQL: Final = "(PostgreSQL)"


class Results:
    """What the scripts printed, and how long each took."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.took_s: dict[str, float] = {}
        self.failed: list[str] = []

    def run(self, command: Sequence[str]) -> None:
        """Run one script, pass on what it prints, and keep its lines of JSON."""
        began = time.monotonic()
        words = [sys.executable, "-m", f"bench.{command[0]}", *command[1:]]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                self.figures.append(json.loads(line))
            else:
                print(line, end="", flush=True)
        name = " ".join("PostgreSQL" if "://" in word else word for word in command if word != "--database-url")
        if process.wait():
            self.failed.append(name)
        self.took_s[name] = time.monotonic() - began

    def tabulate(self) -> Iterator[tuple[Row, Measured | None, Measured | None]]:
        """Yield each row with what was found for it: embedded, and on PostgreSQL."""
        kinds = [[one for one in self.figures if (POSTGRESQL in one["figure"]) is wanted] for wanted in (False, True)]
        for row in ROWS:
            embedded, postgresql = (find(row, kind) for kind in kinds)
            if embedded or postgresql:
                yield row, embedded, postgresql


def say(measured: Measured | None, row: Row) -> str:
    """Return a cell: the median, the 95th percentile in brackets, the unit."""
    if measured is None:
        return ""
    p95 = "" if measured.p95 is None else f" ({number(measured.p95)})"
    missed = "" if measured.meets(row) else " **missed**"
    return f"{number(measured.value)}{p95} {row.unit}".strip() + missed


def say_target(row: Row) -> str:
    """Return the target of a row."""
    parts = [f"at most {number(row.most)}"] if row.most is not None else []
    parts += [f"at least {number(row.least)}"] if row.least is not None else []
    parts += [f"p95 {number(row.most_p95)}"] if row.most_p95 is not None else []
    return ", ".join(parts)


def number(value: float) -> str:
    """Return three digits that matter, thousands apart."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def write_lines(results: Results, about: dict[str, Any]) -> list[str]:
    """Return the section of the page."""
    rows = list(results.tabulate())
    num_missed = sum(not found.meets(row) for row, *both in rows for found in both if found)
    return [
        f"{about['at'][:10]}, {about['machine']}, load {about['load_at_start']:.1f} at the start; {about['versions']}. "
        f"Median, in brackets p95 (the least where more is better); "
        f"{sum(results.took_s.values()):.0f} s for all of it. Targets missed: {num_missed}.",
        "",
        "| what | embedded (SQLite) | PostgreSQL | target | script |",
        "|---|---|---|---|---|",
        *(f"| {row.what} | {say(one, row)} | {say(two, row)} | {say_target(row)} | `bench/{row.script}.py` |" for row, one, two in rows),
        *write_limits(rows),
        *(["", "Could not be measured: " + ", ".join(results.failed) + "."] if results.failed else []),
    ]


def write_limits(rows: Sequence[tuple[Row, Measured | None, Measured | None]]) -> list[str]:
    """Return the table of those figures that have the machine's own time for the same work beside them: ratios travel, times do not."""
    found = {row.what: (row, embedded, postgresql) for row, embedded, postgresql in rows}
    lines = []
    for limit in LIMITS:
        _, raw, _ = found.get(limit.raw, (None, None, None))
        if raw is None or limit.of not in found:
            continue
        row, *both = found[limit.of]
        assert row.most is not None
        wanted = row.most / limit.then
        cells = [
            f"{number(one.value / raw.value)}{'' if one.value / raw.value <= wanted else ' **missed**'}" if one else "" for one in both
        ]
        lines.append(f"| {row.what} | {limit.raw.removeprefix('*this machine*: ')} | {cells[0]} | {cells[1]} | at most {number(wanted)} |")
    if not lines:
        return []
    return [
        "",
        "The same as ratios: the median over what this machine itself took in this run; the target over what its own machine took.",
        "",
        "| what | over | embedded (SQLite) | PostgreSQL | target |",
        "|---|---|---|---|---|",
        *lines,
    ]


def describe_versions() -> str:
    """Return the versions that figures depend on."""
    import sqlite3

    import torch

    return f"SQLite {sqlite3.sqlite_version}, torch {torch.__version__}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(SCRIPTS))
    parser.add_argument("--database-url", help="an empty PostgreSQL database, for its rows")
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(SCRIPTS))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(SCRIPTS)}")
    about = {"at": datetime.now(UTC).isoformat(timespec="minutes"), "machine": describe_machine(), "load_at_start": os.getloadavg()[0]}
    about["versions"] = describe_versions()
    names = options.names or list(SCRIPTS)
    results = Results()
    for name in names:
        results.run([name, *SCRIPTS[name]])
    for name, *further in ON_POSTGRESQL if options.database_url else ():
        if name in names:
            results.run([name, *further, "--database-url", options.database_url])
    lines = write_lines(results, about)
    print("\n" + "\n".join(lines))
    print("\n" + ", ".join(f"{name} {spent:.0f} s" for name, spent in results.took_s.items()))
    record = {**about, "took_s": results.took_s, "figures": results.figures, "failed": results.failed}
    out = Path(__file__).parent / "out" / "ours.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    if options.write:
        replace_section(FIGURES, "ours", lines)
    return bool(results.failed)


if __name__ == "__main__":
    sys.exit(main())
