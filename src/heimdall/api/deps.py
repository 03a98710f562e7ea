"""What a route may ask of the application: its services and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from heimdall.api.ratelimit import RateLimit
    from heimdall.bootstrap import Container
    from heimdall.domain.access import Principal

JobId = Annotated[str, Path(description="id of the job", max_length=200)]
ModelId = Annotated[str, Path(description="id of the model", max_length=200)]
DatasetId = Annotated[str, Path(description="id of the data set", max_length=200)]
Since = Annotated[int, Query(ge=0, description="the last number already known; what follows it is returned")]


def services(request: HTTPConnection) -> Container:
    """Return the services of this application."""
    container: Container = request.app.state.container
    return container


def check_rate(request: HTTPConnection, *, is_bundle: bool = False) -> None:
    """Count a create or an import of this client. TooManyRequestsError beyond the limit."""
    principal: Principal = request.state.principal
    client = principal.who if principal.means == "oidc" else request.client.host if request.client else ""
    limits: list[RateLimit] = [request.app.state.rate_limit, *([request.app.state.import_limit] if is_bundle else [])]
    for limit in limits:
        limit.check(client)


async def check_room(request: HTTPConnection) -> None:
    """Refuse what would be kept before its bytes come in. QuotaExceededError."""
    await run_in_threadpool(services(request).disk.admit)
