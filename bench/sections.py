"""The parts of docs/figures.md that scripts write: each between two marks, so that one can be measured anew without the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.peers.report import describe_machine

FIGURES: Final = Path(__file__).parents[1] / "docs" / "figures.md"


def introduce(load: float, further: str) -> str:
    """Return the line above a table: day, machine, load, and what else is to be known."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}, load {load:.1f} at the start. {further}"


def tabulate(first: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]) -> list[str]:
    """Return a table of ``columns`` (name of a number: heading), three digits that matter."""
    head = [f"| {' | '.join((first, *columns.values()))} |", "|---" * (1 + len(columns)) + "|"]
    return head + [f"| {name} | {' | '.join(_say(row.get(column)) for column in columns)} |" for name, row in rows.items()]


def _say(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}".replace(",", " ") if abs(number) >= 1000 else f"{number:.3g}"


def replace_section(path: Path, name: str, lines: Sequence[str]) -> None:
    """Write ``lines`` between the marks of ``name``. ValueError where the page has no such marks."""
    begin, end = f"<!-- begin {name}, written by a script -->", f"<!-- end {name} -->"
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{path} must have the marks {begin} and {end} once, in this order.")
    before, rest = text.split(begin)
    path.write_text(before + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1])
