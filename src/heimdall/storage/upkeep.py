"""Tombstones and holds in SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, exists, func, select

from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, instant_value
from heimdall.storage.job_rows import FINAL_STATUSES
from heimdall.storage.tables import holds, jobs, logs, tombstones

_ENDED: Final = select(jobs.c.id).where(jobs.c.status.in_(FINAL_STATUSES)).order_by(jobs.c.completed_at, jobs.c.id)

_HOLD: Final = DriverStatement("SELECT 1 FROM holds WHERE expires_at > :now LIMIT 1")


class SqlUpkeep:
    """``UpkeepRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def bury(self, *keys: str, now: datetime) -> None:
        """Note that nothing points to these keys any more. Burying one twice is the same."""
        if keys:
            rows = [{"key": key, "created_at": now} for key in keys]
            self._connection.execute(self._dialect.insert(tombstones).on_conflict_do_nothing(index_elements=["key"]), rows)

    def list_buried(self, *, limit: int = 100) -> list[str]:
        """Return keys whose files may go, oldest first."""
        statement = select(tombstones.c.key).order_by(tombstones.c.created_at, tombstones.c.key).limit(limit)
        return list(self._connection.execute(statement).scalars())

    def forget(self, *keys: str) -> None:
        """Remove tombstones: the files are gone, or the key lives again. Unknown keys are no error."""
        if keys:
            self._connection.execute(delete(tombstones).where(tombstones.c.key.in_(keys)))

    def hold(self, holder: str, *, until: datetime) -> None:
        """Forbid, until then, that any file goes that a row pointed to when the hold began; calling again prolongs it."""
        statement = self._dialect.insert(holds).values(id=holder, expires_at=until)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"expires_at": until}))

    def release(self, holder: str) -> None:
        """End a hold."""
        self._connection.execute(delete(holds).where(holds.c.id == holder))

    def list_checkpoints_before(self, before: datetime, *, job_id: str | None = None, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still point to a checkpoint, or whether this one is such a job."""
        statement = _ENDED.where(jobs.c.completed_at < before, jobs.c.checkpoint.is_not(None)).limit(limit)
        if job_id is not None:
            statement = statement.where(jobs.c.id == job_id)
        return list(self._connection.execute(statement).scalars())

    def list_logs_before(self, before: datetime, *, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still have log lines."""
        has_lines = exists().where(logs.c.job_id == jobs.c.id)
        return list(self._connection.execute(_ENDED.where(jobs.c.completed_at < before, has_lines).limit(limit)).scalars())

    def list_logs_beyond(self, num_lines: int, *, limit: int = 100) -> list[str]:
        """Return jobs of any state whose log has more lines than this."""
        # Numbers are dense from the oldest line kept, so the index answers without counting.
        newest, oldest = (select(pick(logs.c.number)).where(logs.c.job_id == jobs.c.id).scalar_subquery() for pick in (func.max, func.min))
        statement = select(jobs.c.id).where(newest - oldest >= num_lines).order_by(jobs.c.id).limit(limit)
        return list(self._connection.execute(statement).scalars())

    def is_held(self, now: datetime) -> bool:
        """Return whether any hold lasts."""
        return _HOLD.fetch(self._connection, self._dialect, {"now": instant_value(self._dialect, now)}) is not None
