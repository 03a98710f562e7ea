"""Tombstones and holds in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from heimdall.storage.dialects import Dialect
from heimdall.storage.tables import holds, tombstones


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

    def is_held(self, now: datetime) -> bool:
        """Return whether any hold lasts."""
        return bool(self._connection.execute(select(func.count()).select_from(holds).where(holds.c.expires_at > now)).scalar_one())
