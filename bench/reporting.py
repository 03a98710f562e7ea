"""One shape of result for every benchmark: a table for people, a JSON line for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median, p95, maximum and count."""
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))],
        "max": ordered[-1],
        "n": len(ordered),
    }


def print_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print rows of named figures, then the same as one JSON line with the machine beside it."""
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows)
    print(f"\n{title}")
    print(" " * width + "".join(f"{column:>12}" for column in columns))
    for name, row in rows.items():
        print(name.ljust(width) + "".join(f"{row.get(column, float('nan')):>12.4g}" for column in columns))
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.system()}
    print(json.dumps({"figure": title, "rows": {name: dict(row) for name, row in rows.items()}, "machine": machine}))
