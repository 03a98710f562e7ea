"""What the server says about each request: its id, a log line where it acts, its count and its time."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from heimdall.traces import read_trace_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from heimdall.api.measurements import Measurements

log = structlog.get_logger()

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_KNOWN_METHODS: Final = _SAFE_METHODS | {"POST", "PATCH", "DELETE", "PUT"}


class Observation:
    """Pure ASGI middleware: counts and times every request, gives it an id, and logs those that act.

    Never logs a query, a header or a body: a token may stand in each of them.
    """

    def __init__(
        self, app: ASGIApp, measurements: Measurements, *, is_traced: bool = False, monotonic: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._measurements = measurements
        self._is_traced = is_traced
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note how it ended."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _read_request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        trace_id = read_trace_id() if self._is_traced else None
        with structlog.contextvars.bound_contextvars(request_id=request_id, **({"trace_id": trace_id} if trace_id else {})):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._observe(scope, receive, send, request_id)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started_at = self._monotonic()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            self._note(scope, status, self._monotonic() - started_at)

    def _note(self, scope: Scope, status: int, elapsed_s: float) -> None:
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
        route = scope.get("route")
        name = getattr(route, "path", None) or ("page" if status < 400 else "none")
        self._measurements.requests.labels(method, name, str(status)).inc()
        self._measurements.latency.labels(name).observe(elapsed_s)
        say = log.warning if status >= 500 else log.debug if method in _SAFE_METHODS else log.info
        principal = scope["state"].get("principal")
        who = principal.who if principal is not None and principal.means != "loopback" else None
        say("request_served", method=method, path=scope["path"][:200], status=status, ms=round(elapsed_s * 1000, 1), who=who)


def _read_request_id(scope: Scope) -> str:
    """Return the id that the client gave its request, or a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
