"""The durable event log in SQL.

Appended events wait in the transaction and are inserted as its last act: on PostgreSQL the lock that keeps
positions in commit order is then held for the commit alone, its flush to the disk included (docs/discussions/scale.md says what
that costs with many writers), and taken after all row locks, so that it cannot deadlock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from heimdall.domain.errors import ConflictError
from heimdall.domain.events import EventType, StoredEvent
from heimdall.storage.column_types import encode_json
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, instant_value
from heimdall.storage.tables import events

MAX_INTEGER: Final = 2**31 - 1
MAX_POSITION: Final = 2**63 - 1

_INSERT: Final = DriverStatement(
    "INSERT INTO events (job_id, seq, type, payload, created_at) VALUES (:job_id, :seq, :type, :payload, :created_at)"
)
_LAST: Final = select(func.coalesce(func.max(events.c.position), 0))
_ALL: Final = select(events).where(events.c.position > bindparam("since")).order_by(events.c.position).limit(bindparam("most"))
_OF_JOB: Final = (
    select(events)
    .where(events.c.job_id == bindparam("job"), events.c.seq > bindparam("since"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)


def bounded(value: int, highest: int) -> int:
    """Return ``value`` within what a column can hold: anything may be asked for, from 0 to ``highest`` is stored."""
    return max(0, min(value, highest))


class SqlEvents:
    """``EventRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect
        self._waiting: list[dict[str, Any]] = []

    def append(self, job_id: str, *, seq: int, type: EventType, payload: dict[str, Any], now: datetime) -> None:
        """Append in the transaction that changed the job; ``seq`` is the job's ``last_seq`` after that change."""
        if any(row["seq"] == seq and row["job_id"] == job_id for row in self._waiting):
            raise event_taken(job_id, seq)
        self._waiting.append(
            {
                "job_id": job_id,
                "seq": seq,
                "type": type.value,
                "payload": encode_json(payload),
                "created_at": instant_value(self._dialect, now),
            }
        )

    def flush(self) -> None:
        """Insert what was appended. Called before the commit and before any read of the log."""
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        self._dialect.lock_events(self._connection)
        _INSERT.run_many(self._connection, self._dialect, rows)

    def list_of_job(self, job_id: str, *, since: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return the job's events with ``seq > since`` in order."""
        self.flush()
        found = self._connection.execute(_OF_JOB, {"job": job_id, "since": bounded(since, MAX_INTEGER), "most": limit})
        return [_event(row) for row in found]

    def list_all(self, *, since: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return events with ``position > since`` in commit order."""
        self.flush()
        return [_event(row) for row in self._connection.execute(_ALL, {"since": bounded(since, MAX_POSITION), "most": limit})]

    def last_position(self) -> int:
        """Return the newest committed position, 0 for an empty log."""
        self.flush()
        return int(self._connection.execute(_LAST).scalar_one())


def event_taken(job_id: str, seq: int) -> ConflictError:
    """Return the error of a number that the job's log already has."""
    return ConflictError(f"Job {job_id} already has an event {seq}; read the job again, then repeat the change.")


def _event(row: Any) -> StoredEvent:  # noqa: ANN401
    position, job_id, seq, kind, payload, created_at = row
    return StoredEvent(position=position, seq=seq, job_id=job_id, type=kind, payload=payload, created_at=created_at)
