"""Writes the audit log in the transaction of the act itself: there is no act without its line, and no line without its act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from heimdall.domain.access import SYSTEM, Principal
from heimdall.domain.audit import AuditAction, AuditEntry, AuditQuery, AuditSubject
from heimdall.domain.ports import Store, Transaction


@dataclass(frozen=True)
class Actor:
    """Who acts now, and through which request."""

    principal: Principal
    client: str | None = None
    request_id: str | None = None


_NOBODY: Final = Actor(SYSTEM)
_ACTOR: Final[ContextVar[Actor]] = ContextVar("actor", default=_NOBODY)
"""Set by the border for one request; threads that serve the request inherit it. What no request led to is the system's."""


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let everything inside be done by ``actor``."""
    before = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(before)


def record(
    tx: Transaction,
    action: AuditAction,
    subject: AuditSubject,
    subject_id: str | None,
    *,
    now: datetime,
    name: str | None = None,
    **detail: Any,  # noqa: ANN401
) -> None:
    """Add a line for the present actor to the transaction that does what the line says.

    Parameters
    ----------
    tx
        The open write transaction.
    action, subject, subject_id
        What was done, to what.
    now
        When.
    name
        The subject's name as it was then.
    detail
        What else a reader needs; values that are None are left out.
    """
    actor = _ACTOR.get()
    who = actor.principal
    tx.audit.append(
        AuditEntry(
            position=0,
            timestamp=now,
            who=who.who,
            name=who.name,
            role=who.role,
            means=who.means,
            client=actor.client,
            request_id=actor.request_id,
            action=action,
            subject=subject,
            subject_id=subject_id,
            subject_name=name,
            detail={key: value for key, value in detail.items() if value is not None},
        )
    )


class AuditService:
    """Reads the audit log."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries, newest first."""
        with self._store.read() as tx:
            return tx.audit.find(query)
