"""The audit log: added to in the act's own transaction, read newest first, and by nobody changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from heimdall.domain.access import Role
from heimdall.domain.audit import AuditAction, AuditEntry, AuditQuery, AuditSubject
from heimdall.domain.ports import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_entry(**changes: Any) -> AuditEntry:
    base: dict[str, Any] = {
        "position": 0, "timestamp": NOW, "who": "u-1", "name": "ada", "role": Role.OPERATOR, "means": "oidc", "client": "10.0.0.7",
        "request_id": "r" * 32, "action": AuditAction.DELETE, "subject": AuditSubject.JOB, "subject_id": "j-1",
        "subject_name": "night\x00run", "detail": {"code": "x"},
    }  # fmt: skip
    return AuditEntry(**{**base, **changes})


def test_entries_come_back_newest_first_page_by_page_and_filtered(store: Store) -> None:
    with store.write() as tx:
        for number in range(5):
            tx.audit.append(make_entry(who=f"u-{number % 2}", subject_id=f"j-{number}"))
        tx.audit.append(make_entry(action=AuditAction.EXPORT, subject_id=None, name=None, client=None, request_id=None, detail={}))
    with store.read() as tx:
        everything = tx.audit.find(AuditQuery())
        assert [entry.subject_id for entry in everything] == [None, "j-4", "j-3", "j-2", "j-1", "j-0"]
        assert everything == sorted(everything, key=lambda entry: -entry.position)
        older = tx.audit.find(AuditQuery(limit=2, before=everything[1].position))
        assert [entry.subject_id for entry in older] == ["j-3", "j-2"]
        assert len(tx.audit.find(AuditQuery(who="u-0"))) == 3
        assert [entry.subject_id for entry in tx.audit.find(AuditQuery(action="export"))] == [None]
        assert len(tx.audit.find(AuditQuery(subject_id="j-1"))) == 1
        assert tx.audit.find(AuditQuery(before=2**80))[0] == everything[0]
        assert everything[1].evolve(position=0, subject_name=None) == make_entry(who="u-0", subject_id="j-4", subject_name=None)


def test_an_act_that_is_rolled_back_leaves_no_line(store: Store) -> None:
    def act() -> None:
        with store.write() as tx:
            tx.audit.append(make_entry())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    with store.read() as tx:
        assert tx.audit.find(AuditQuery()) == []


WRITE_OVER = "INSERT OR REPLACE INTO audit SELECT position, timestamp, 'nobody', name, role, means, client, request_id, action, subject, subject_id, subject_name, detail FROM audit"  # noqa: E501


@pytest.mark.parametrize("change", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "TRUNCATE audit", WRITE_OVER])
def test_the_database_itself_refuses_to_change_a_line(backend: Any, change: str) -> None:
    store = backend.open()
    if backend.kind == "memory":
        assert not hasattr(type(store), "delete_audit")
        return
    if change in {"sqlite": {"TRUNCATE audit"}, "postgresql": {WRITE_OVER}}[backend.kind]:
        pytest.skip("the other database's own words")
    with store.write() as tx:
        tx.audit.append(make_entry())
    pool = store._own_pool()
    with pytest.raises(DatabaseError, match="can only be added to"), pool.engine.begin() as connection:
        connection.execute(text(change))
    with store.read() as tx:
        assert [entry.who for entry in tx.audit.find(AuditQuery())] == ["u-1"]
