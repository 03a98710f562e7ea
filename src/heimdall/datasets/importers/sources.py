"""Bounded reading of source files, and the book of what was left out."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from heimdall.domain.datasets import ImportReport, RejectedRow
from heimdall.domain.errors import InvalidInputError

MAX_LINE_CHARS: Final = 65_536
"""A longer line is rejected and skipped without being held in memory."""

MAX_ROWS: Final = 10_000_000
"""Data rows read from all files of one import."""

MAX_RECEIVERS: Final = 1024
"""Different receivers in one import."""

MAX_LISTED_REJECTIONS: Final = 100

Progress = Callable[[float], None]
"""Called with the share done, 0 to 1; cheap to call often."""


@dataclass(frozen=True)
class SourceFile:
    """One file of an import: its name as the user wrote it (text only, never a path) and where it lies here."""

    name: str
    path: Path


class RowError(Exception):
    """One row that cannot be taken; the text is a general reason, so that equal faults count together."""


class ImportLog:
    """Counts rows read and rejected. Rows are numbered from 1 over all files of the import."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._reasons: Counter[str] = Counter()
        self._rejected: list[RejectedRow] = []
        self._notes: Counter[str] = Counter()

    def start_row(self) -> int:
        """Count one more data row and return its number. InvalidInputError past the limit."""
        self.num_rows += 1
        if self.num_rows > MAX_ROWS:
            raise InvalidInputError(f"The files hold more than {MAX_ROWS:,} rows; import them in parts.")
        return self.num_rows

    def reject(self, row: int, reason: str) -> None:
        """Write down that a row was not taken."""
        self._reasons[reason] += 1
        if len(self._rejected) < MAX_LISTED_REJECTIONS:
            self._rejected.append(RejectedRow(row=row, reason=reason))

    def note(self, text: str, count: int = 1) -> None:
        """Count something that was left out or repaired without losing the row."""
        self._notes[text] += count

    def report(self, num_notes: int = 50) -> ImportReport:
        """Return the whole account."""
        num_rejected = self._reasons.total()
        notes = tuple(f"{text}: {count}" if count > 1 else text for text, count in sorted(self._notes.items())[:num_notes])
        return ImportReport(
            num_rows=self.num_rows,
            num_accepted=self.num_rows - num_rejected,
            num_rejected=num_rejected,
            reasons=dict(self._reasons.most_common()),
            rejected=tuple(self._rejected),
            notes=notes,
        )

    def refuse_if_empty(self) -> None:
        """Raise InvalidInputError where no row was taken, naming the commonest reason."""
        if self.num_rows == 0:
            raise InvalidInputError("The file has a header but no data rows.")
        if self._reasons.total() == self.num_rows:
            reason, count = self._reasons.most_common(1)[0]
            raise InvalidInputError(f"None of the {self.num_rows} rows can be used; the commonest reason ({count} rows): {reason}.")


class CsvTable:
    """A CSV file with a header, read line by line under limits.

    Parameters
    ----------
    source
        The file.
    log
        Where bad rows are written down.
    on_bytes
        Called now and then with the bytes read so far.

    Raises
    ------
    InvalidInputError
        Where there is no usable header.
    """

    def __init__(self, source: SourceFile, log: ImportLog, on_bytes: Callable[[int], None] | None = None) -> None:
        self._source = source
        self._log = log
        self._on_bytes = on_bytes
        first = next(_iterate_lines(source.path), None)
        header = _split(first) if first else None
        if not header:
            raise InvalidInputError(f"'{source.name}' has no CSV header line of at most {MAX_LINE_CHARS} characters.")
        self.header = tuple(name.strip() for name in header)
        doubles = sorted(name for name, count in Counter(self.header).items() if count > 1)
        if doubles:
            raise InvalidInputError(f"'{source.name}' has the column '{doubles[0]}' more than once.")

    def require(self, *names: str) -> None:
        """Raise InvalidInputError naming the columns that are missing."""
        missing = [name for name in names if name not in self.header]
        if missing:
            raise InvalidInputError(f"'{self._source.name}' lacks the column(s) {', '.join(missing)}.")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield row number and fields of every well-formed data row; the others are written into the log."""
        num_bytes = 0
        lines = _iterate_lines(self._source.path)
        next(lines)
        for line in lines:
            if line is not None and not line.strip():
                continue
            row = self._log.start_row()
            num_bytes += len(line) if line else MAX_LINE_CHARS
            if self._on_bytes and row % 256 == 0:
                self._on_bytes(num_bytes)
            fields = _split(line) if line is not None else None
            if line is None:
                self._log.reject(row, f"the line is longer than {MAX_LINE_CHARS} characters")
            elif fields is None:
                self._log.reject(row, "the quotes of the line do not match, or it is not UTF-8 text")
            elif len(fields) != len(self.header):
                self._log.reject(row, f"the row has not the {len(self.header)} fields of the header")
            else:
                yield row, fields


def parse_number(text: str, column: str) -> float:
    """Return a finite number. RowError names the column."""
    if not is_number(text):
        raise RowError(f"{column} is not a number" if text.strip() else f"{column} is empty")
    value = float(text)
    if not math.isfinite(value):
        raise RowError(f"{column} is not a finite number")
    return value


def check_geodetic(latitude: float, longitude: float, what: str) -> None:
    """Raise RowError where a position is not on the Earth."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise RowError(f"the {what}'s latitude or longitude is out of range")


def is_number(text: str) -> bool:
    """Say whether a field can be read as a number (Python's ``1_000`` is none)."""
    if "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _iterate_lines(path: Path) -> Iterator[str | None]:
    """Yield lines without their end; None for one that is too long, which is skipped in pieces."""
    with path.open(encoding="utf-8-sig", errors="replace", newline=None) as file:
        while line := file.readline(MAX_LINE_CHARS + 1):
            if len(line) <= MAX_LINE_CHARS or line.endswith("\n"):
                yield line.rstrip("\n")
                continue
            while (rest := file.readline(MAX_LINE_CHARS)) and not rest.endswith("\n"):
                pass
            yield None


def _split(line: str) -> list[str] | None:
    if "�" in line or "\0" in line:
        return None
    try:
        return next(csv.reader([line], strict=True), None)
    except csv.Error:
        return None
