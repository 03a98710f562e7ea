"""The parts of docs/figures.md that scripts write: each between two marks, so that one can be measured anew without the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

FIGURES: Final = Path(__file__).parents[1] / "docs" / "figures.md"


def replace_section(path: Path, name: str, lines: Sequence[str]) -> None:
    """Write ``lines`` between the marks of ``name``. ValueError where the page has no such marks."""
    begin, end = f"<!-- begin {name}, written by a script -->", f"<!-- end {name} -->"
    text = path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{path} must have the marks {begin} and {end} once, in this order.")
    before, rest = text.split(begin)
    path.write_text(before + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1])
