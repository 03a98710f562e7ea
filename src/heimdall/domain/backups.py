"""What a backup says of itself, and the port that gives and takes all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field, StringConstraints

from heimdall.domain.base import Entity, Instant
from heimdall.domain.ports import Transaction

BACKUP_FORMAT: Final = 1

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BackupFile(Entity):
    """One member of the file: rows of a table, or an artifact by its key."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: Digest


class LeftOut(Entity):
    """An artifact that a row points to and that could not be saved, with the reason."""

    key: str
    reason: str


class BackupManifest(Entity):
    """The last member of a backup; a file without it was cut off."""

    format: Literal[1] = BACKUP_FORMAT
    heimdall_version: str
    created_at: Instant
    revision: str = Field(description="of the database's schema")
    rows: dict[str, int] = Field(description="table to number of rows")
    tables: tuple[BackupFile, ...]
    artifacts: tuple[BackupFile, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Sum of all members."""
        return sum(file.size_bytes for file in (*self.tables, *self.artifacts))


@dataclass(frozen=True)
class RowDump:
    """Every row of one moment, as a folder of files: ``TABLE.jsonl``, first the columns' names, then one row a line."""

    revision: str
    rows: dict[str, int]


class Snapshot(Protocol):
    """One moment of the database."""

    @property
    def tx(self) -> Transaction:
        """Every repository, at this moment."""

    def dump(self, folder: Path) -> RowDump:
        """Write every row into an empty folder."""


class RowArchive(Protocol):
    """All rows at once, in a form that both databases read."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open one moment for reading; writers go on. UnavailableError where the schema is not this program's."""

    def staged(self, folder: Path, revision: str, scratch: Path) -> AbstractContextManager[Callable[[], None]]:
        """Load a dump aside and bring it to this program's schema; the callable then puts it in the place of every row at once.

        InvalidInputError where the dump does not fit its schema; UnavailableError where a newer Heimdall made it.
        """

    def is_empty(self) -> bool:
        """Return whether there is no job, data set, model or event."""

    def find_living_claim(self, now: datetime) -> str | None:
        """Return the worker of a running job whose lease lasts, None where nobody works."""
