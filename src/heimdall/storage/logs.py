"""The text log of each job in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from heimdall.domain.ports import LogLine
from heimdall.storage.dialects import Dialect
from heimdall.storage.events import MAX_INTEGER, bounded
from heimdall.storage.tables import logs

MAX_LINE: Final = 4000
"""Characters kept of one line."""


class SqlLogs:
    """``LogRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def append(self, job_id: str, lines: Sequence[str], *, now: datetime) -> int:
        """Append lines (each cut at 4 000 characters); returns the newest number. NotFoundError for an unknown job."""
        self._dialect.lock_log(self._connection, job_id)
        newest = select(func.coalesce(func.max(logs.c.number), 0)).where(logs.c.job_id == job_id)
        last = int(self._connection.execute(newest).scalar_one())
        if lines:
            rows = [
                {"job_id": job_id, "number": number, "timestamp": now, "text": line[:MAX_LINE]}
                for number, line in enumerate(lines, start=last + 1)
            ]
            self._connection.execute(insert(logs), rows)
        return last + len(lines)

    def find(self, job_id: str, *, since: int = 0, limit: int = 5000) -> list[LogLine]:
        """Return lines with ``number > since`` in order."""
        statement = (
            select(logs.c.number, logs.c.timestamp, logs.c.text)
            .where(logs.c.job_id == job_id, logs.c.number > bounded(since, MAX_INTEGER))
            .order_by(logs.c.number)
            .limit(limit)
        )
        return [LogLine(number, timestamp, text) for number, timestamp, text in self._connection.execute(statement)]

    def cut(self, job_id: str, *, num_kept: int) -> int:
        """Remove all but the newest ``num_kept`` lines; returns how many went. Numbers of those that stay do not change."""
        newest = self._connection.execute(select(func.max(logs.c.number)).where(logs.c.job_id == job_id)).scalar_one()
        if newest is None:
            return 0
        return self._connection.execute(delete(logs).where(logs.c.job_id == job_id, logs.c.number <= newest - num_kept)).rowcount
