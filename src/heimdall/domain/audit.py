"""The audit log: who did what, when, to what. Entries are added and read, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field

from heimdall.domain.access import Means, Role
from heimdall.domain.base import Entity, Instant


class AuditAction(StrEnum):
    """What was done."""

    CREATE = "create"
    CONTINUE = "continue"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    DELETE = "delete"
    RENAME = "rename"
    EXPORT = "export"
    IMPORT = "import"
    IMPORT_REFUSED = "import_refused"


class AuditSubject(StrEnum):
    """What kind of thing it was done to."""

    JOB = "job"
    DATASET = "dataset"
    MODEL = "model"


class AuditEntry(Entity):
    """One line of the log."""

    position: int = Field(description="place in the log, growing")
    timestamp: Instant
    who: str = Field(description="subject of the identity provider, `token`, `loopback` or `system`")
    name: str | None = Field(description="what the identity provider calls the subject")
    role: Role
    means: Means
    client: str | None = Field(description="address that the request came from")
    request_id: str | None = Field(description="`X-Request-Id` of the request; the server's log names it too")
    action: AuditAction
    subject: AuditSubject
    subject_id: str | None = Field(description="id of the job, data set or model; null for an import that was refused")
    subject_name: str | None
    detail: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class AuditQuery:
    """What of the audit log is asked for; ``before`` is the position of the oldest entry already known."""

    limit: int = 100
    before: int | None = None
    who: str | None = None
    action: str | None = None
    subject_id: str | None = None
