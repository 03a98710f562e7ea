"""Whether the process lives, and whether it can work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

import heimdall
from heimdall.api.background import BackgroundTasks
from heimdall.api.credentials import Credentials
from heimdall.api.deps import services
from heimdall.api.documentation import Route
from heimdall.api.responses import entity_response
from heimdall.api.schemas import Dependency, Liveness, Readiness, ReadinessWarning, ServerWarnings
from heimdall.domain.errors import HeimdallError, LockedError
from heimdall.services.disk import DiskGuard

router = APIRouter(tags=["health"], route_class=Route)

_WRITE_PATIENCE_S: Final = 1.5
"""s to wait for the database's write lock: an epoch's transaction is a thousand times shorter."""
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
    """Ask each dependency, the database by a real write; 503 where one is down or locked, with what to do about it.

    Probes that come while a look runs share its answer: asking often costs the dependencies nothing more.
    """
    readiness: SharedAnswer = request.app.state.readiness
    body = await readiness.get(lambda: _look(request))
    return entity_response(body, 200 if body.status == "ready" else 503, {"Cache-Control": "no-store"})


@router.get("/api/v1/health/warnings", summary="Say what needs a person soon", response_model=ServerWarnings)
async def get_warnings(request: Request) -> Response:
    """Answer 200 whether there is a warning or not: for the page, which asks every half minute."""
    return entity_response(ServerWarnings(warnings=await _warn(services(request).disk)), headers={"Cache-Control": "no-store"})


class SharedAnswer:
    """One look for all who ask while it runs: anybody may probe, and a look writes to the disk, one at a time."""

    def __init__(self) -> None:
        self._running: asyncio.Task[Readiness] | None = None

    async def get(self, look: Callable[[], Coroutine[Any, Any, Readiness]]) -> Readiness:
        """Return the answer of the look that runs, or of a new one."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(look())
        return await asyncio.shield(self._running)


async def _look(request: Request) -> Readiness:
    container = services(request)
    background: BackgroundTasks = request.app.state.background
    asked = [
        _ask("database", asyncio.to_thread(container.store.check_write, _WRITE_PATIENCE_S)),
        _ask("broker", asyncio.to_thread(container.queue.ping)),
        _ask("artifacts", asyncio.to_thread(container.artifacts.ping)),
    ]
    credentials: Credentials = request.app.state.credentials
    if credentials.provider is not None:
        asked.append(_ask("identity provider", credentials.provider.ping()))
    dependencies = (*await asyncio.gather(*asked), *background.report())
    is_ready = all(dependency.status == "up" for dependency in dependencies)
    return Readiness(status="ready" if is_ready else "unavailable", dependencies=dependencies, warnings=await _warn(container.disk))


async def _warn(disk: DiskGuard) -> tuple[ReadinessWarning, ...]:
    try:
        warning = (await asyncio.to_thread(disk.look)).advice
    except HeimdallError:
        return ()  # the folder cannot be read: the dependencies in it are down and say so
    return () if warning is None else (ReadinessWarning(name="disk", detail=warning),)


async def _ask(name: str, answer: Awaitable[None]) -> Dependency:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await answer
    except LockedError:
        detail = (
            f"Something has held the {name}'s write lock for more than {_WRITE_PATIENCE_S:g} s. Nothing is lost; acts wait or answer 503."
        )
        return Dependency(name=name, status="locked", detail=detail)
    except HeimdallError as error:
        return Dependency(name=name, status="down", detail=error.detail)
    except TimeoutError:
        return Dependency(name=name, status="down", detail=f"The {name} did not answer within {_PATIENCE_S:g} s.")
    return Dependency(name=name, status="up", detail=None)
