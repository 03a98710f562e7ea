"""Whether the process lives, and whether it can work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

import heimdall
from heimdall.api.background import BackgroundTasks
from heimdall.api.deps import services
from heimdall.api.responses import entity_response
from heimdall.api.schemas import Dependency, Liveness, Readiness
from heimdall.domain.errors import HeimdallError

router = APIRouter(tags=["health"])

_PATIENCE_S: Final = 4.0
"""s for one dependency; a broker takes up to 2 to say no."""


@router.get("/health/live", include_in_schema=False)
@router.get("/api/v1/health/live", summary="Say that the process answers", response_model=Liveness)
async def get_liveness() -> Response:
    """Answer 200 as long as the process can."""
    return entity_response(Liveness(version=heimdall.__version__), headers={"Cache-Control": "no-store"})


@router.get("/health/ready", include_in_schema=False)
@router.get(
    "/api/v1/health/ready",
    summary="Say whether every dependency works",
    response_model=Readiness,
    responses={503: {"description": "At least one dependency is down.", "model": Readiness}},
)
async def get_readiness(request: Request) -> Response:
    """Ask each dependency; 503 where one is down, with what to do about it."""
    container = services(request)
    background: BackgroundTasks = request.app.state.background
    asked = [
        _ask("database", asyncio.to_thread(container.store.ping)),
        _ask("broker", asyncio.to_thread(container.queue.ping)),
        _ask("artifacts", asyncio.to_thread(container.artifacts.ping)),
    ]
    dependencies = (*await asyncio.gather(*asked), *background.report())
    is_ready = all(dependency.status == "up" for dependency in dependencies)
    body = Readiness(status="ready" if is_ready else "unavailable", dependencies=dependencies)
    return entity_response(body, 200 if is_ready else 503, {"Cache-Control": "no-store"})


async def _ask(name: str, answer: Awaitable[None]) -> Dependency:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await answer
    except HeimdallError as error:
        return Dependency(name=name, status="down", detail=error.detail)
    except TimeoutError:
        return Dependency(name=name, status="down", detail=f"The {name} did not answer within {_PATIENCE_S:g} s.")
    return Dependency(name=name, status="up", detail=None)
