"""The durable event log in SQL.

Appended events wait in the transaction and are inserted as its last act: what holds back the readers of the whole log on
PostgreSQL (``settled.py``) then lasts for the commit alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from heimdall.domain.errors import ConflictError
from heimdall.domain.event_log import LogPage
from heimdall.domain.events import EventType, StoredEvent
from heimdall.storage.column_types import encode_json
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, instant_value
from heimdall.storage.settled import MAX_POSITION, SettledMark, enter_log
from heimdall.storage.tables import events

MAX_INTEGER: Final = 2**31 - 1

_INSERT: Final = DriverStatement(
    "INSERT INTO events (job_id, seq, type, payload, created_at) VALUES (:job_id, :seq, :type, :payload, :created_at)"
)
_SETTLED: Final = select(func.coalesce(func.max(events.c.position), 0)).where(events.c.position <= bindparam("horizon"))
_NEWEST: Final = select(func.coalesce(func.max(events.c.position), 0))
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
    """``EventRepository`` on one connection.

    Parameters
    ----------
    horizon
        Position up to which the transaction's snapshot has all that will ever be; None where it was not asked for.
    mark
        Where to note what was settled.
    """

    def __init__(self, connection: Connection, dialect: Dialect, *, horizon: int | None, mark: SettledMark) -> None:
        self._connection = connection
        self._dialect = dialect
        self._horizon = horizon
        self._mark = mark
        self._waiting: dict[tuple[str, int], dict[str, Any]] = {}
        self.has_inserted = False

    def append(self, job_id: str, *, seq: int, type: EventType, payload: dict[str, Any], now: datetime) -> None:
        """Append in the transaction that changed the job; ``seq`` is the job's ``last_seq`` after that change."""
        if (job_id, seq) in self._waiting:
            raise event_taken(job_id, seq)
        self._waiting[job_id, seq] = {
            "job_id": job_id,
            "seq": seq,
            "type": type.value,
            "payload": encode_json(payload),
            "created_at": instant_value(self._dialect, now),
        }

    def flush(self) -> None:
        """Insert what was appended. Called before the commit and before any read of the log."""
        if not self._waiting:
            return
        rows, self._waiting = list(self._waiting.values()), {}
        if not self.has_inserted:
            enter_log(self._connection, self._dialect)  # once: its bound is below all later positions too
            self.has_inserted = True
        _INSERT.run_many(self._connection, self._dialect, rows)

    def list_of_job(self, job_id: str, *, since: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return the job's events with ``seq > since`` in order."""
        self.flush()
        found = self._connection.execute(_OF_JOB, {"job": job_id, "since": bounded(since, MAX_INTEGER), "most": limit})
        return [_event(row) for row in found]

    @property
    def horizon(self) -> int:
        """Position up to which the log is settled. RuntimeError where the transaction was opened without it."""
        if self._horizon is None:
            raise RuntimeError("This needs the horizon of the log: open the transaction with read(settled=True).")
        return self._horizon

    def read_page(self, *, since: int = 0, limit: int = 1000) -> LogPage:
        """Return settled events with ``position > since``, which the reader has all up to, in order."""
        found = [_event(row) for row in self._connection.execute(_ALL, {"since": bounded(since, MAX_POSITION), "most": limit})]
        settled, num_settled = max(since, self.horizon), 0
        for event in found:
            # The very next one is settled whatever the horizon: nothing fits in between.
            if event.position > settled + 1:
                break
            settled, num_settled = max(settled, event.position), num_settled + 1
        if num_settled and since <= self.horizon:  # else it rests on the word of a reader, which binds nobody else
            self._mark.note(found[num_settled - 1].position)
        return LogPage(found[:num_settled], is_held_back=num_settled < len(found))

    def last_position(self, *, known: int = 0) -> int:
        """Return the newest settled position, 0 for an empty log, or ``known`` where it is newer and in the log's range."""
        settled = int(self._connection.execute(_SETTLED, {"horizon": self.horizon}).scalar_one())
        self._mark.note(settled)
        if known <= settled:
            return settled
        return known if known <= int(self._connection.execute(_NEWEST).scalar_one()) else settled


def event_taken(job_id: str, seq: int) -> ConflictError:
    """Return the error of a number that the job's log already has."""
    return ConflictError(f"Job {job_id} already has an event {seq}; read the job again, then repeat the change.")


def _event(row: Any) -> StoredEvent:  # noqa: ANN401
    position, job_id, seq, kind, payload, created_at = row
    return StoredEvent(position=position, seq=seq, job_id=job_id, type=kind, payload=payload, created_at=created_at)
