"""Answers, serialized once: what a route returns is already bytes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from heimdall.domain.base import Entity

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_END = object()


def entity_response(entity: Entity, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return one entity as JSON."""
    return json_response(entity.model_dump_json().encode(), status, headers)


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that is already written."""
    return Response(body, status, dict(headers or {}), media_type="application/json")


def join_entities(entities: Sequence[Entity]) -> bytes:
    """Return a JSON array of entities."""
    return b"[" + ",".join(entity.model_dump_json() for entity in entities).encode() + b"]"


def page_body(name: str, entities: Sequence[Entity], **rest: Any) -> bytes:  # noqa: ANN401
    """Return ``{name: [...], **rest}`` as JSON."""
    return orjson.dumps({name: orjson.Fragment(join_entities(entities)), **rest})


def make_etag(*parts: str | bytes) -> str:
    """Return a weak validator over all parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return f'W/"{digest.hexdigest()[:32]}"'


def is_unchanged(request: Request, etag: str) -> bool:
    """Return whether the client already holds what ``etag`` stands for."""
    known = request.headers.get("if-none-match")
    return known is not None and (
        known.strip() == "*" or etag.removeprefix("W/") in {tag.strip().removeprefix("W/") for tag in known.split(",")}
    )


def tagged_response(request: Request, body: bytes) -> Response:
    """Return JSON with a validator over its content, or 304 where the client has it."""
    etag = make_etag(body)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    return Response(status_code=304, headers=headers) if is_unchanged(request, etag) else json_response(body, headers=headers)


class FileStream(StreamingResponse):
    """Streams what a blocking iterator yields, and closes the iterator however the request ends.

    The first chunk is asked for before the status is sent, so that an error at the start is still a ``Problem``; an
    error later breaks the connection, so that half a file never looks whole.
    """

    def __init__(self, chunks: Iterator[bytes], first: bytes, *, media_type: str, headers: Mapping[str, str]) -> None:
        self._chunks = chunks
        super().__init__(self._iterate(first), media_type=media_type, headers=dict(headers))

    @classmethod
    def start(cls, chunks: Iterator[bytes], *, media_type: str, headers: Mapping[str, str]) -> FileStream:
        """Ask for the first chunk (blocking) and return the answer."""
        return cls(chunks, next(chunks, b""), media_type=media_type, headers=headers)

    async def _iterate(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        while (chunk := await run_in_threadpool(next, self._chunks, _END)) is not _END:
            assert isinstance(chunk, bytes)
            yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self._chunks, Generator):
                await run_in_threadpool(self._chunks.close)
