"""Where results go: JSON or a table on standard output, remarks on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Align = Literal["left", "right"]


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

    def table(self, columns: Sequence[str | tuple[str, Align]], rows: Sequence[Sequence[object]], *, empty: str) -> None:
        """Print rows under headings, or the sentence ``empty``."""
        if not rows:
            self.line(empty)
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in columns:
            name, align = column if isinstance(column, tuple) else (column, "left")
            table.add_column(name, justify=align, overflow="fold")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(format_value(cell)) for cell in row))
        self.console().print(table)

    def details(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print names and values, one a line; a value that is None is left out."""
        shown = [(name, value) for name, value in pairs if value is not None and value != ""]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {format_value(value)}")

    def console(self) -> Console:
        """Return a Rich console on standard output; wide where nobody sees its edge, so that pipes get whole rows."""
        from rich.console import Console

        return Console(file=self.stdout, highlight=False, width=None if self.stdout.isatty() else 200)


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


def format_duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def parse_instant(text: str | None) -> datetime | None:
    """Return the instant of an ISO 8601 text, or None."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def format_instant_local(text: str | None) -> str | None:
    """Return an ISO 8601 instant in local time to the second."""
    instant = parse_instant(text)
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S") if instant else None
