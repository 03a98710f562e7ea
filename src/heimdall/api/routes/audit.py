"""The audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heimdall.api.deps import services
from heimdall.api.documentation import Route, errors
from heimdall.api.responses import join_entities, json_response
from heimdall.api.schemas import AuditPage
from heimdall.domain.audit import AuditAction, AuditQuery

router = APIRouter(prefix="/api/v1", tags=["access"], route_class=Route)

_MAX_PAGE = 1000


@router.get("/audit", summary="Read the audit log", response_model=AuditPage, responses=errors(422))
def list_audit(
    request: Request,
    before: Annotated[int | None, Query(ge=1, description="`next_before` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="entries at most")] = 100,
    who: Annotated[str | None, Query(max_length=255, description="only what this one did")] = None,
    action: Annotated[AuditAction | None, Query(description="only this kind of act")] = None,
    subject_id: Annotated[str | None, Query(max_length=200, description="only what was done to this job, data set or model")] = None,
) -> Response:
    """Return who did what, newest first. Each act that changed something, and each export, stands here; nothing can be changed."""
    query = AuditQuery(limit=limit, before=before, who=who, action=action.value if action else None, subject_id=subject_id)
    entries = services(request).audit.find(query)
    following = entries[-1].position if len(entries) == limit else None
    body = orjson.dumps({"entries": orjson.Fragment(join_entities(entries)), "next_before": following})
    return json_response(body, headers={"Cache-Control": "no-store"})
