"""Medians, spreads and ratios of the rounds, as JSON and as a part of the page docs/figures.md, which nobody writes by hand."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.peers.measuring import Sizes
from bench.peers.products import PRODUCTS

HIGHER_IS_BETTER: Final = {"training throughput with / without"}

_CROWDED: Final = (
    "**Crowded**: other work kept the cores busy, so that every time of waiting is an upper bound, and what waits for the disk "
    "(ours, which is durable, and MLflow) is hurt most. To be repeated on a quiet machine."
)

_CROWDED_PERCENT: Final = 50
"""Of the processors, before anything of ours has begun. The load average would tell of what has ended, too."""

Rounds = Mapping[str, list[dict[str, float]]]


def summarize_rounds(rounds: Rounds) -> dict[str, dict[str, dict[str, float]]]:
    """Return for every row and product the median, the least and the most of its rounds."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for product, found in rounds.items():
        for name in {name: None for figures in found for name in figures}:
            values = [figures[name] for figures in found if name in figures]
            rows.setdefault(name, {})[product] = {
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
                "n": len(values),
            }
    return rows


def describe_machine() -> str:
    """Return the processor and the system in a line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown processor"
    )
    return f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def make_record(
    rounds: Rounds, versions: Mapping[str, str], problems: Mapping[str, list[str]], sizes: Sizes, load: float
) -> dict[str, Any]:
    """Return everything that was found."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine(),
        "load_at_start": load,
        "cpus": os.cpu_count(),
        "versions": dict(versions),
        "sizes": asdict(sizes),
        "rows": summarize_rounds(rounds),
        "rounds": dict(rounds),
        "problems": {name: lines for name, lines in problems.items() if lines},
    }


def join_records(before: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the newer record with those rows of the one before that it has not: one table of two runs on one machine, which says so.

    Raises
    ------
    ValueError
        Another machine, other versions, or other sizes.
    """
    for name in ("machine", "versions", "sizes"):
        if before[name] != record[name]:
            raise ValueError(f"The result of before has another {name}: {before[name]} and {record[name]}.")
    kept = {name: row for name, row in before["rows"].items() if name not in record["rows"]}
    problems = {name: [*before["problems"].get(name, []), *record["problems"].get(name, [])] for name in record["versions"]}
    return {
        **record,
        "rows": kept | record["rows"],
        "rows_of_before": {"at": before["at"], "load_at_start": before["load_at_start"], "rows": list(kept)},
        "problems": {name: lines for name, lines in problems.items() if lines},
    }


def _tell_runs(record: Mapping[str, Any]) -> list[str]:
    before = record.get("rows_of_before")
    if before is None:
        return []
    at, since = before["at"][11:16], record["at"][11:16]
    return [
        f"Two runs: the rows from *{before['rows'][0]}* to *{before['rows'][-1]}* were done at {at} (load {before['load_at_start']:.1f}), "
        f"the others at {since}, UTC."
    ]


def write_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the part of the page."""
    products = [name for name in PRODUCTS if name in record["versions"]]
    sizes, rounds = record["sizes"], record["sizes"]["rounds"]
    lines = [
        f"{record['at'][:10]}, {record['machine']}, load {record['load_at_start']:.1f} at the start. "
        f"{rounds} rounds, products interleaved in one run; medians, in brackets the least and the most of the rounds.",
        "`x 3.1` is the peer's figure over ours: over 1 ours is better (for throughput the reverse). Absolute times belong to this machine "
        "and this hour; the ratios are the claim.",
        *_tell_runs(record),
        *(["", _CROWDED] if record.get("busy_percent_at_start", 0) > _CROWDED_PERCENT else []),
        "",
        "| | " + " | ".join(f"{name} {record['versions'][name]}" for name in products) + " | best |",
        "|---|" + "---|" * (len(products) + 1),
        *(_write_row(name, row, products) for name, row in record["rows"].items()),
        "",
        "What the rows mean:",
        "",
        f"- An epoch is five values. *Back to back*: {sizes['burst_epochs']} epochs as fast as they go; *paced*: {sizes['paced_epochs']}, "
        f"one every {sizes['gap_s']:g} s. Ours is the training thread's part; one beside it writes (SQLite, `synchronous=FULL`, ADR 0012).",
        "- *Lost by kill -9*: the logging process is killed right after its last call returned, and the store is asked for 12 s. "
        "Ours is a worker's child; what it left, its worker stores (ADR 0012).",
        "- *Readable*: from the first log call until the product's own server answers with the last epoch, the run's end included; "
        "no figure where not all were logged within the time that each has for it (120 s; 60 with `--quick`).",
        "- *Log call to reader*: ours by its socket, the peers by asking every 2 ms through their own API; their pages ask less often.",
        f"- *Chart view*: what the page asks for to draw the five series of a run of {sizes['history_epochs']} epochs. While one is asked "
        "the others' servers are stopped (SIGSTOP).",
        "- *CPU*: processor time of the logging process, or of the server with its children.",
        "- *Start*: the server alone, launch to first good answer; memory is the proportional set of all its processes.",
        "- *Throughput*: a small network on one thread with one log call each 50 steps, and without it, in turns in one process.",
        *(f"- {name}: {PRODUCTS[name].note}." for name in products if PRODUCTS[name].note),
    ]
    if record["problems"]:
        lines += [
            "",
            "Not measured:",
            "",
            *(f"- {name}: {line}" for name, found in record["problems"].items() for line in dict.fromkeys(found)),
        ]
    return lines


def _write_row(name: str, row: Mapping[str, Mapping[str, float]], products: list[str]) -> str:
    own = row.get("heimdall", {}).get("median")
    cells = []
    for product in products:
        if product not in row:
            cells.append("-")
            continue
        found = row[product]
        text = f"{found['median']:.3g} ({found['min']:.3g}-{found['max']:.3g})"
        if product != "heimdall" and own:
            ratio = own / found["median"] if name in HIGHER_IS_BETTER else found["median"] / own
            text += f" x {ratio:.2g}"
        cells.append(text)
    pick = max if name in HIGHER_IS_BETTER else min
    best = pick(found["median"] for found in row.values())
    return f"| {name} | " + " | ".join(cells) + f" | {', '.join(product for product in row if row[product]['median'] == best)} |"


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write everything for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
