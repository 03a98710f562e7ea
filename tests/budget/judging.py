"""What the hot paths may cost: a committed table, and the rule that compares with it.

Run ``make budget`` to write the table anew: after a change that makes a path cheaper, so that the gain is kept, or dearer for a reason that
the commit's message gives. The diff of ``budget.json`` is the change of cost, for the reviewer.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Final

import structlog

from tests.budget.counting import Cost, measure
from tests.budget.paths import all_paths
from tests.budget.seeded import count_seeded

TABLE: Final = Path(__file__).with_name("budget.json")
ALLOWED: Final = 1.1
"""Of the table's cost: repeated counts differ by less than 3 %, a regression of 20 % is outside."""
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


def read_table() -> dict[str, Cost]:
    """Return the allowed cost of each path."""
    paths: dict[str, Cost] = json.loads(TABLE.read_text())["paths"]
    return paths


def read_version() -> str:
    """Return the Python whose instructions the table counts."""
    return str(json.loads(TABLE.read_text())["python"])


def find_excess(cost: Cost, budget: Cost) -> list[str]:
    """Say where ``cost`` is over ``budget``."""
    return [
        f"{kind}: {cost[kind]}, budget {allowed} ({cost[kind] / max(allowed, 1):.2f} times)"
        for kind, allowed in budget.items()
        if cost[kind] > ALLOWED * allowed
    ]


def main() -> None:
    # Else each request of the paths is a line here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder, all_paths(Path(folder)) as paths:
        costs = {name: measure(work) for name, work in paths.items()}
        if sys.argv[1:] == ["--write"]:
            TABLE.write_text(json.dumps({"python": VERSION, "paths": costs}, indent=2) + "\n")
            print(TABLE.read_text())
        else:
            print(json.dumps({"plain": costs, "seeded": count_seeded(paths, costs)}))


if __name__ == "__main__":
    main()
