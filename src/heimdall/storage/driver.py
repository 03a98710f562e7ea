"""The few statements of the hot paths, said to the driver itself.

SQLAlchemy spends 40 to 120 microseconds on a statement, SQLite 5, and an epoch is three statements; it spends some
20 microseconds on a row with converted columns, and a long run has 100 000 of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from heimdall.storage.dialects import Dialect

_STREAM: Final = "heimdall_stream"


class DriverStatement:
    """One SQL text with ``:name`` parameters, for both drivers.

    Parameters
    ----------
    sql
        Text for SQLite, and for PostgreSQL too where it means the same there.
    postgresql
        Text for PostgreSQL where it does not.
    """

    def __init__(self, sql: str, *, postgresql: str | None = None) -> None:
        self._texts = {"sqlite": sql, "postgresql": re.sub(r":(\w+)", r"%(\1)s", postgresql or sql)}

    def run(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> int:
        """Execute and return how many rows it touched; the driver's own errors come out."""
        num_rows: int = self._execute(connection, dialect, values).rowcount
        return num_rows

    def run_many(self, connection: Connection, dialect: Dialect, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once for each row; on PostgreSQL without waiting for each answer."""
        if len(rows) == 1:
            self.run(connection, dialect, rows[0])
        else:
            connection.connection.driver_connection.cursor().executemany(self._texts[dialect.name], rows)  # type: ignore[union-attr]

    def fetch(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute and return the first row."""
        row: tuple[Any, ...] | None = self._execute(connection, dialect, values).fetchone()
        return row

    def fetch_all(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute and return every row."""
        rows: list[tuple[Any, ...]] = self._execute(connection, dialect, values).fetchall()
        return rows

    def fetch_chunks(
        self, connection: Connection, dialect: Dialect, values: Mapping[str, Any], *, size: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Execute and yield every row, ``size`` at a time. Only in ``SqlStore.read``, which ends what the caller did not finish."""
        if dialect.is_sqlite:
            rows = self._execute(connection, dialect, values)
        else:
            from psycopg import capabilities

            # The server finds the next rows while these are used; a libpq before 17 gives them one by one.
            at_once = size if capabilities.has_stream_chunked() else 1
            rows = _find_free(connection).cursor().stream(self._texts[dialect.name], values, binary=True, size=at_once)
            connection.info[_STREAM] = rows
        while chunk := list(islice(rows, size)):
            yield chunk
        connection.info.pop(_STREAM, None)

    def _execute(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        driver: Any = connection.connection.driver_connection
        if dialect.is_sqlite:
            return driver.execute(self._texts[dialect.name], values)
        # In binary a number needs no parsing.
        return _find_free(connection).execute(self._texts[dialect.name], values, binary=True)


def _find_free(connection: Connection) -> Any:  # noqa: ANN401
    if _STREAM in connection.info:
        raise RuntimeError("Rows of this transaction are still being fetched; the driver would wait for their end for ever.")
    return connection.connection.driver_connection


def end_stream(connection: Connection) -> None:
    """End what ``fetch_chunks`` began and its caller did not finish: it keeps the lock that a rollback would wait for."""
    stream = connection.info.pop(_STREAM, None)
    if stream is not None:
        stream.close()


def instant_value(dialect: Dialect, value: datetime | None) -> Any:  # noqa: ANN401
    """Return an instant as ``InstantColumn`` stores it."""
    if value is None or not dialect.is_sqlite:
        return value
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_UTC_Z: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def format_instants(dialect: Dialect, values: Sequence[Any]) -> list[str]:
    """Return what ``format_instant`` says of a column of instants, which PostgreSQL must give without its time zone, in UTC.

    All at once, because one by one it costs more than everything else about a row.
    """
    if dialect.is_sqlite:
        return [f"{text[:26]}Z" for text in values]
    texts = orjson.dumps(values, option=_UTC_Z)[2:-2].decode().split('","')
    return [text if len(text) == len("2026-01-01T00:00:00.000001Z") else f"{text[:-1]}.000000Z" for text in texts]
