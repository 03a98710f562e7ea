"""Where results go: JSON or a table on standard output, remarks on standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from heimdall.cli.table import Column

_WIDE: Final = 2000
"""Columns of an output that nobody sees the edge of."""


@dataclass
class Output:
    """Prints one command's result in the form that was asked for."""

    as_json: bool
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)

    def result(self, payload: Any, show: Callable[[], None]) -> None:  # noqa: ANN401
        """Print ``payload`` as one JSON document, or call ``show`` for a person."""
        if self.as_json:
            self.line(json.dumps(payload, ensure_ascii=False, indent=2))
        else:
            show()

    def line(self, text: str = "") -> None:
        """Print one line of the result."""
        print(text, file=self.stdout, flush=True)

    def remark(self, text: str) -> None:
        """Say something beside the result; silent with ``--json``."""
        if not self.as_json:
            print(text, file=self.stderr, flush=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[object]], *, empty: str) -> None:
        """Print rows under headings, cut to the terminal's width, or the sentence ``empty``."""
        if not rows:
            self.line(empty)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from heimdall.cli.table import GAP, fit_table

        shown, cells = fit_table(columns, [[format_value(cell) for cell in row] for row in rows], self.width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))  # the box adds one
        for column in shown:
            table.add_column(column.heading, justify="right" if column.is_number else "left", overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        self.console().print(table)

    def details(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print names and values, one a line; a value that is None is left out."""
        shown = [(name, value) for name, value in pairs if value is not None and value != ""]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {format_value(value)}")

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where the output goes elsewhere, so that pipes get whole rows."""
        if "COLUMNS" not in os.environ and not self.stdout.isatty():
            return None
        return shutil.get_terminal_size().columns

    def console(self) -> Console:
        """Return a Rich console on standard output."""
        from rich.console import Console

        return Console(file=self.stdout, highlight=False, width=self.width or _WIDE)


def format_value(value: object) -> str:
    """Return a value as a person reads it; a missing one as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
    return clean_text(str(value))


def clean_text(text: str) -> str:
    """Return ``text`` without control characters: a name from a file must not steer the terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def format_size(num_bytes: int) -> str:
    """Return a size with a decimal unit."""
    amount = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def format_metres(value: float | None) -> str | None:
    """Return a length as a person reads it, None for none."""
    if value is None:
        return None
    return (f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}".removesuffix(".0")) + " m"


def format_place(latitude_deg: float, longitude_deg: float) -> str:
    """Return ``44.97000° N, 8.15000° E``."""
    north, east = "N" if latitude_deg >= 0 else "S", "E" if longitude_deg >= 0 else "W"
    return f"{abs(latitude_deg):.5f}° {north}, {abs(longitude_deg):.5f}° {east}"


def format_share(value: float | None) -> str | None:
    """Return a share between 0 and 1 in percent, None for none."""
    return f"{100 * value:.1f} %" if value is not None else None


def count(number: int, noun: str) -> str:
    """Return ``1 epoch`` or ``3 epochs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def parse_instant(text: str | None) -> datetime | None:
    """Return the instant of an ISO 8601 text, or None."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def format_span(start: str | None, end: str | None) -> str | None:
    """Return the time between two ISO 8601 instants, None where one is not known."""
    started, ended = parse_instant(start), parse_instant(end)
    return format_duration((ended - started).total_seconds()) if started and ended else None


def format_instant_local(text: str | None) -> str | None:
    """Return an ISO 8601 instant in local time to the second."""
    instant = parse_instant(text)
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S") if instant else None
