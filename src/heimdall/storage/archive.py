"""All rows at once: out as JSON lines of one moment, in as a whole or not at all; the same text for both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
from sqlalchemy import Column, Connection, Engine, MetaData, Table, Text, TextClause, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from heimdall.domain.backups import RowDump
from heimdall.domain.errors import InvalidInputError, UnavailableError
from heimdall.domain.jobs import JobStatus
from heimdall.storage.column_types import JsonText
from heimdall.storage.database import SqlStore, SqlTransaction
from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.schema import HEAD_REVISION, read_revision, upgrade
from heimdall.storage.tables import audit, datasets, events, holds, job_changes, jobs, metadata, metric_summaries, models, tombstones

_BATCH: Final = 1000


def _as_raw(table: Table) -> Table:
    """Return the table with its JSON as the text it is, so that no document is parsed on the way."""
    columns: list[Column[Any]] = [Column(column.name, Text() if isinstance(column.type, JsonText) else column.type) for column in table.c]
    return Table(table.name, MetaData(), *columns)


_SAVED: Final = [table for table in metadata.sorted_tables if table not in (tombstones, holds, metric_summaries, job_changes)]
"""Parents before children. Tombstones and holds speak of files that no backup contains; summaries and counts fill themselves."""
_RAW: Final = {table.name: _as_raw(table) for table in _SAVED}


def _forward(table: str) -> TextClause:
    """Return what moves a sequence behind the rows, never backwards: a position must not be seen twice."""
    sequence = f"{table}_position_seq"
    return text(
        f"SELECT setval('{sequence}', greatest((SELECT last_value FROM {sequence}), (SELECT coalesce(max(position), 1) FROM {table})))"
    )


_SEQUENCE_FORWARD: Final = {table.name: _forward(table.name) for table in (events, audit)}


def _unknown_acts(rows: list[dict[str, Any]], known: set[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the audit's lines that are not here yet, to be added at its end: this log cannot be taken back, not even by a restore."""
    fresh = [row for row in rows if tuple(row.values())[1:] not in known]
    for row in fresh:
        del row["position"]
    return fresh


class SqlSnapshot:
    """``Snapshot`` on one read transaction."""

    def __init__(self, tx: SqlTransaction, connection: Connection) -> None:
        self.tx = tx
        self._connection = connection

    def dump(self, folder: Path) -> RowDump:
        """Write every row into an empty folder."""
        counts = {}
        for table in _SAVED:
            with (folder / f"{table.name}.jsonl").open("wb") as target:
                counts[table.name] = self._dump_table(_RAW[table.name], table, target)
        return RowDump(HEAD_REVISION, counts)

    def _dump_table(self, raw: Table, table: Table, target: BinaryIO) -> int:
        target.write(orjson.dumps([column.name for column in raw.c]) + b"\n")
        statement = select(raw).order_by(*(raw.c[column.name] for column in table.primary_key))
        count = 0
        for row in self._connection.execution_options(yield_per=_BATCH).execute(statement):
            target.write(orjson.dumps([_as_text(value) for value in row]) + b"\n")
            count += 1
        return count


def _as_text(value: Any) -> Any:  # noqa: ANN401
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


class SqlArchive:
    """``RowArchive`` on the store's database."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    @contextmanager
    def snapshot(self) -> Iterator[SqlSnapshot]:
        """Open one moment for reading; writers go on. UnavailableError where the schema is not this program's."""
        with self._store.read() as tx:
            connection = tx.connection
            revision = read_revision(connection)
            if revision != HEAD_REVISION:
                has = "no Heimdall schema" if revision is None else f"schema {revision}"
                raise UnavailableError(
                    f"The database has {has}, this Heimdall needs {HEAD_REVISION}. Start 'heimdall up' once, which brings it there."
                )
            yield SqlSnapshot(tx, connection)

    @contextmanager
    def staged(self, folder: Path, revision: str, scratch: Path) -> Iterator[Callable[[], None]]:
        """Load a dump aside and bring it to this program's schema; the callable then puts it in the place of every row at once."""
        engine = open_engine(parse_database_url(f"sqlite:///{scratch / 'staged.sqlite'}"), 5)
        try:
            upgrade(engine, revision)
            with closing(engine.raw_connection()) as raw:
                _load(raw.driver_connection, engine, folder)
            upgrade(engine, HEAD_REVISION)
            yield lambda: self._replace(engine)
        except (DBAPIError, sqlite3.Error) as error:
            raise InvalidInputError(f"The backup's rows do not fit its schema ({error}). Use another backup.") from error
        finally:
            engine.dispose()

    def _replace(self, staged: Engine) -> None:
        with self._store.write() as tx, staged.connect() as source:
            connection = tx.connection
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"LOCK TABLE {', '.join(table.name for table in metadata.sorted_tables)} IN ACCESS EXCLUSIVE MODE"))
            for table in reversed(metadata.sorted_tables):
                if table not in (audit, job_changes):
                    connection.execute(delete(table))
            known = {tuple(row)[1:] for row in connection.execute(select(_RAW["audit"]))}
            for table in _SAVED:
                raw = _RAW[table.name]
                for batch in source.execution_options(yield_per=_BATCH).execute(select(raw)).mappings().partitions(_BATCH):
                    found = [dict(row) for row in batch]
                    if table is audit and known:
                        found = _unknown_acts(found, known)
                    if found:
                        connection.execute(insert(raw), found)
            if connection.dialect.name == "postgresql":
                for table in (events, audit):
                    connection.execute(_SEQUENCE_FORWARD[table.name])

    def is_empty(self) -> bool:
        """Return whether there is no job, data set, model or event."""
        with self._store.read() as tx:
            counts = (tx.connection.execute(select(func.count()).select_from(table)).scalar() for table in (jobs, datasets, models, events))
            return not any(counts)

    def find_living_claim(self, now: datetime) -> str | None:
        """Return the worker of a running job whose lease lasts, None where nobody works."""
        statement = select(jobs.c.worker_id).where(jobs.c.status == JobStatus.RUNNING.value, jobs.c.lease_expires_at > now).limit(1)
        with self._store.read() as tx:
            worker: str | None = tx.connection.execute(statement).scalar()
            return worker


def _load(driver: Any, engine: Engine, folder: Path) -> None:  # noqa: ANN401
    """Insert the dump's rows into the staged SQLite as they stand; tables and columns are the schema's own, never the file's word."""
    known = inspect(engine)
    names = set(known.get_table_names())
    driver.execute("BEGIN")
    # The order of today's tables need not be that of an old schema.
    driver.execute("PRAGMA defer_foreign_keys=ON")
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem not in names:
            raise InvalidInputError(f"The backup has a table '{path.stem[:50]}' that its schema does not know. Use another backup.")
        with path.open("rb") as lines:
            columns = _read_line(next(lines, b""), path.stem)
            if not columns or not set(columns) <= {column["name"] for column in known.get_columns(path.stem)}:
                raise InvalidInputError(f"The backup's table '{path.stem}' has columns that its schema does not know. Use another backup.")
            marks = ", ".join("?" * len(columns))
            driver.executemany(
                f"INSERT INTO {path.stem} ({', '.join(columns)}) VALUES ({marks})", (_read_line(line, path.stem) for line in lines)
            )
    driver.execute("COMMIT")


def _read_line(line: bytes, table: str) -> list[Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"The backup's table '{table}' cannot be read ({error}). Use another backup.") from error
    if not isinstance(values, list):
        raise InvalidInputError(f"The backup's table '{table}' holds a line that is no row. Use another backup.")
    return values
