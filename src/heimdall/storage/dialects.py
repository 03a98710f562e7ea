"""What SQLite and PostgreSQL say differently, in one place."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy import Connection, Table, text

EVENT_CHANNEL: Final = "heimdall_events"
TICK_CHANNEL: Final = "heimdall_ticks"

# First keys of PostgreSQL's two-key advisory locks, so that the uses never meet. 0x48454901 was the event log's (settled.py).
_LOG_LOCK: Final = 0x48454902
_NAME_LOCK: Final = 0x48454903
MIGRATION_LOCK: Final = 0x4845494D

_LOCK: Final = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:what))")


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

    def lock_log(self, connection: Connection, job_id: str) -> None:
        """Serialize the writers of one job's text log until the transaction ends."""
        self._lock(connection, _LOG_LOCK, job_id)

    def lock_name(self, connection: Connection, name: str) -> None:
        """Serialize the users of one model name until the transaction ends."""
        self._lock(connection, _NAME_LOCK, name)

    def _lock(self, connection: Connection, kind: int, what: str) -> None:
        if not self.is_sqlite:
            connection.execute(_LOCK, {"kind": kind, "what": what})
