"""Tidies the address before any route reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heimdall.api.errors import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class TidyQuery:
    """Pure ASGI middleware: an empty query parameter counts as absent, and no address holds a NUL character."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with a tidy address, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        query: bytes = scope["query_string"]
        if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
            refusal = problem_response(
                422, "invalid_input", "The address holds a NUL character, which nothing here is named with. Remove it."
            )
            await refusal(scope, receive, send)
            return
        if query:
            kept = [part for part in query.split(b"&") if part.partition(b"=")[2]]
            scope["query_string"] = b"&".join(kept)
        await self._app(scope, receive, send)
