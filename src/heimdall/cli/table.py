"""Which columns of a list fit a terminal, and how long a name may be in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

GAP: Final = 2
"""Spaces between two columns."""

SHORTEST_NAME: Final = 16


@dataclass(frozen=True)
class Column:
    """One column of a list.

    Parameters
    ----------
    heading
        Its first line.
    is_number
        Whether it is set to the right.
    is_name
        Whether its cells may be cut.
    rank
        0 always stays; of the others the highest is left out first where the terminal is narrow.
    """

    heading: str
    is_number: bool = False
    is_name: bool = False
    rank: int = 0


def fit_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> tuple[list[Column], list[list[str]]]:
    """Return the columns and cells that fit ``width``; None fits everything."""
    kept = list(range(len(columns)))
    cells = [[flatten(cell) for cell in row] for row in rows]
    widths = [max([cell_len(column.heading), *(cell_len(row[index]) for row in cells)]) for index, column in enumerate(columns)]
    if width is not None:
        shortest = [min(size, SHORTEST_NAME) if column.is_name else size for column, size in zip(columns, widths, strict=True)]
        while _total(shortest, kept) > width and any(columns[index].rank for index in kept):
            kept.remove(max(kept, key=lambda index: columns[index].rank))
        for index in kept:
            if columns[index].is_name:
                room = max(SHORTEST_NAME, width - (_total(widths, kept) - widths[index]))
                for row in cells:
                    row[index] = cut(row[index], room)
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in cells]


def cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` cells of a terminal, an ellipsis at the end where some of it is gone."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def flatten(text: str) -> str:
    """Return ``text`` on one line."""
    return " ".join(text.split("\n")).replace("\t", " ")


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[index] for index in kept) + GAP * (len(kept) - 1)
