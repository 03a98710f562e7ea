"""The few statements of the hot paths, said to the driver itself.

SQLAlchemy spends 40 to 120 microseconds on a statement, SQLite 5, and an epoch is three statements; it spends some
20 microseconds on a row with converted columns, and a long run has 100 000 of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from heimdall.storage.dialects import Dialect


class DriverStatement:
    """One SQL text with ``:name`` parameters, for both drivers.

    Parameters
    ----------
    sql
        Text that means the same on SQLite and PostgreSQL.
    """

    def __init__(self, sql: str) -> None:
        self._texts = {"sqlite": sql, "postgresql": re.sub(r":(\w+)", r"%(\1)s", sql)}

    def run(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> None:
        """Execute; the driver's own errors come out."""
        self._execute(connection, dialect, values)

    def fetch(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute and return the first row."""
        row: tuple[Any, ...] | None = self._execute(connection, dialect, values).fetchone()
        return row

    def fetch_all(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute and return every row."""
        rows: list[tuple[Any, ...]] = self._execute(connection, dialect, values).fetchall()
        return rows

    def _execute(self, connection: Connection, dialect: Dialect, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        driver: Any = connection.connection.driver_connection
        return driver.execute(self._texts[dialect.name], values)


def instant_value(dialect: Dialect, value: datetime | None) -> Any:  # noqa: ANN401
    """Return an instant as ``InstantColumn`` stores it."""
    if value is None or not dialect.is_sqlite:
        return value
    return value.astimezone(UTC).isoformat(timespec="microseconds")
