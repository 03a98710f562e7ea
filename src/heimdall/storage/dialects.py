"""What SQLite and PostgreSQL say differently, in one place."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import Connection, Table, text

EVENT_CHANNEL: Final = "heimdall_events"
TICK_CHANNEL: Final = "heimdall_ticks"

# First keys of PostgreSQL's two-key advisory locks, so that the three uses never meet.
_EVENT_LOCK: Final = 0x48454901
_LOG_LOCK: Final = 0x48454902
_NAME_LOCK: Final = 0x48454903
MIGRATION_LOCK: Final = 0x4845494D

_LOCK: Final = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:what))")
_LOCK_EVENTS: Final = text(f"SELECT pg_advisory_xact_lock({_EVENT_LOCK}, 0), pg_notify('{EVENT_CHANNEL}', '')")


class Dialect:
    """One of the two databases."""

    def __init__(self, name: Literal["sqlite", "postgresql"]) -> None:
        self.name = name
        self.is_sqlite = name == "sqlite"

    def insert(self, table: Table) -> Any:  # noqa: ANN401
        """Return the INSERT that knows ON CONFLICT; imported late, so that a process loads only its own database's."""
        if self.is_sqlite:
            from sqlalchemy.dialects.sqlite import insert as insert_sqlite

            return insert_sqlite(table)
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)

    def lock_events(self, connection: Connection) -> None:
        """Serialize event writers from here to the commit, and ring the doorbell with it.

        PostgreSQL hands out sequence values before the commit: without the lock a later position could be seen
        first and a reader would step over the earlier one. SQLite has one writer at a time anyway.
        """
        if not self.is_sqlite:
            connection.execute(_LOCK_EVENTS)

    def lock_log(self, connection: Connection, job_id: str) -> None:
        """Serialize the writers of one job's text log until the transaction ends."""
        self._lock(connection, _LOG_LOCK, job_id)

    def lock_name(self, connection: Connection, name: str) -> None:
        """Serialize the users of one model name until the transaction ends."""
        self._lock(connection, _NAME_LOCK, name)

    def _lock(self, connection: Connection, kind: int, what: str) -> None:
        if not self.is_sqlite:
            connection.execute(_LOCK, {"kind": kind, "what": what})
