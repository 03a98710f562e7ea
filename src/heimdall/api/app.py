"""Puts the HTTP and socket border together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

import heimdall
from heimdall.api.background import BackgroundTasks
from heimdall.api.compression import JsonCompression
from heimdall.api.credentials import Credentials
from heimdall.api.errors import install_error_handlers
from heimdall.api.lightness import build_models
from heimdall.api.measurements import Measurements
from heimdall.api.observation import Observation
from heimdall.api.queries import TidyQuery
from heimdall.api.ratelimit import Gate, RateLimit
from heimdall.api.responses import tagged_response
from heimdall.api.routes import add_api_routes
from heimdall.api.routes.health import SharedAnswer
from heimdall.api.security import Security
from heimdall.api.static import Page
from heimdall.api.tail import EventTail
from heimdall.api.ws import EventSocket
from heimdall.domain.errors import HeimdallError
from heimdall.traces import is_untraced, make_tracer_provider

if TYPE_CHECKING:
    from heimdall.api.oidc import IdentityProvider
    from heimdall.bootstrap import Container
    from heimdall.settings import Settings

log = structlog.get_logger()

_BEFORE_MODELS_S: Final = 0.1
"""s after the start: whoever waited for the server has an answer by then."""
_BEFORE_QUEUE_S: Final = 1.5
"""s after the start: the page's first requests come before, and nobody has filled in a form yet."""


def create_app(container: Container) -> FastAPI:
    """Return the application over wired services. Starting it brings the schema up to date and starts what runs beside requests.

    Parameters
    ----------
    container
        Every service of this process.
    """
    background = BackgroundTasks()
    tail = EventTail(
        container.store,
        container.live,
        container.clock,
        max_waiting_events=container.settings.socket_buffer_events,
        on_success=lambda: background.recovered("event_tail"),
    )
    measurements = Measurements(container.operations, tail, container.disk)

    @asynccontextmanager
    async def run_beside(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(container.store.migrate)
        background.start("event_tail", tail.run)
        warming = asyncio.create_task(warm_up(container))
        background.start("sweeper", lambda: run_sweeper(container, background))
        try:
            yield
        finally:
            await background.stop()
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            if provider is not None:
                await asyncio.to_thread(provider.shutdown)

    provider = make_tracer_provider(container.settings, "api")
    app = FastAPI(
        title="Heimdall",
        version=heimdall.__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        lifespan=run_beside,
        telemetry={
            "tracing": provider is not None,
            "tracer_provider": provider,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
            "exclude": is_untraced,
        },
    )
    credentials = Credentials(container.settings, make_provider(container.settings))
    app.state.container = container
    app.state.credentials = credentials
    app.state.measurements = measurements
    app.state.readiness = SharedAnswer()
    app.state.background = background
    app.state.tail = tail
    app.state.rate_limit = RateLimit(container.settings.max_creates_per_minute)
    app.state.import_limit = RateLimit(container.settings.max_imports_per_minute, what="imports of bundles")
    app.state.import_gate = Gate(container.settings.max_imports_at_once, patience_s=container.settings.import_patience_s, what="imports")
    install_error_handlers(app)
    add_api_routes(app)
    app.router.routes.extend(EventSocket(container, tail).routes())
    _add_root_routes(app, measurements, Page(container.settings))
    # The last one added is the first to see a request.
    app.add_middleware(TidyQuery)
    app.add_middleware(Security, settings=container.settings, credentials=credentials)
    app.add_middleware(JsonCompression)
    app.add_middleware(Observation, measurements=measurements, is_traced=provider is not None)
    return app


def make_provider(settings: Settings) -> IdentityProvider | None:
    """Return the identity provider that the settings name. Its library is loaded with the first token or sign-in."""
    if settings.oidc_url is None:
        return None
    from heimdall.api.oidc import IdentityProvider

    return IdentityProvider(settings)


async def warm_up(container: Container) -> None:
    """Load after the first answer what the start left out, and a moment later what only a message to a worker needs."""
    await asyncio.sleep(_BEFORE_MODELS_S)
    await asyncio.to_thread(lambda: container.bundles)
    await asyncio.to_thread(build_models)
    await asyncio.sleep(_BEFORE_QUEUE_S)
    await asyncio.to_thread(container.queue.prepare)


async def run_sweeper(container: Container, background: BackgroundTasks) -> None:
    """Heal lost messages and lost workers, again and again, until cancelled."""
    while True:
        await asyncio.sleep(container.settings.sweep_s)
        with suppress(HeimdallError):
            await asyncio.to_thread(container.disk.look)
        try:
            report = await asyncio.to_thread(container.sweeper.sweep)
        except HeimdallError as error:
            background.troubled("sweeper", error.detail)
            continue
        if report.trouble is not None:
            background.troubled("sweeper", report.trouble)
        else:
            background.recovered("sweeper")
        for job_id, status in report.moved.items():
            log.warning("lost_job_moved", job_id=job_id, status=status.value)


def _add_root_routes(app: FastAPI, measurements: Measurements, page: Page) -> None:
    @app.get("/metrics", include_in_schema=False)
    def write_metrics() -> Response:
        return Response(measurements.write(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json", include_in_schema=False)
    def describe(request: Request) -> Response:
        return tagged_response(request, _read_description())

    app.router.default = page


@cache
def _read_description() -> bytes:
    from heimdall.api.openapi import write_openapi

    return write_openapi()
