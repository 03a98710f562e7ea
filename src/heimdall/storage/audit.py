"""The audit log in SQL. Triggers of the schema refuse every change and deletion of a line."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from heimdall.domain.audit import AuditEntry, AuditQuery
from heimdall.storage.events import bounded
from heimdall.storage.settled import MAX_POSITION
from heimdall.storage.tables import audit


class SqlAudit:
    """``AuditRepository`` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        """Add a line; its position is given by the database."""
        row = entry.model_dump(exclude={"position"})
        self._connection.execute(insert(audit).values(row))

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries that match, newest first."""
        statement = select(audit).order_by(audit.c.position.desc()).limit(query.limit)
        if query.before is not None:
            statement = statement.where(audit.c.position < bounded(query.before, MAX_POSITION))
        for column, wanted in ((audit.c.who, query.who), (audit.c.action, query.action), (audit.c.subject_id, query.subject_id)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return [AuditEntry.model_validate(row._asdict()) for row in self._connection.execute(statement)]
