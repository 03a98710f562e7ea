"""Compresses JSON on its way out, where it pays. Downloads and sockets pass untouched."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from heimdall.settings import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SMALLEST_BYTES: Final = 1000
_INLINE_BYTES: Final = 64_000
"""Above, a thread compresses: the event loop has sockets to serve."""
_LARGEST_LOCAL_BYTES: Final = 1_000_000
"""Above, a client on this machine gets plain bytes: copying is faster than compressing."""
_LEVEL: Final = 1
"""A chart of noise: 1.2 ms for 54 kB, where level 4 takes 2.4 ms for 50 kB (``bench/reads.py``)."""
_GZIP_WINDOW: Final = 31


class JsonCompression:
    """Pure ASGI middleware: gzip for whole JSON bodies of 1 kB and more, where the client takes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, compressing the answer."""
        if scope["type"] != "http" or not _takes_gzip(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        largest = _LARGEST_LOCAL_BYTES if client and is_loopback(client[0]) else None
        await self._app(scope, receive, _Compressor(send, largest).send)


class _Compressor:
    """Holds the head of one answer until its first piece of body shows whether to compress."""

    def __init__(self, send: Send, largest_bytes: int | None) -> None:
        self._send = send
        self._largest_bytes = largest_bytes
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """Send a message of the answer on."""
        if message["type"] == "http.response.start" and _is_compressible(Headers(raw=message["headers"])):
            self._head = message
            return
        if self._head is not None and message["type"] == "http.response.body":
            head, self._head = self._head, None
            headers = MutableHeaders(scope=head)
            headers.add_vary_header("Accept-Encoding")
            body = message.get("body", b"")
            if self._is_worth(len(body)) and not message.get("more_body", False):
                packed = await asyncio.to_thread(_pack, body) if len(body) > _INLINE_BYTES else _pack(body)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(packed))
                message = {**message, "body": packed}
            await self._send(head)
        await self._send(message)

    def _is_worth(self, num_bytes: int) -> bool:
        return num_bytes >= _SMALLEST_BYTES and (self._largest_bytes is None or num_bytes <= self._largest_bytes)


def _pack(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(body) + packer.flush()


def _takes_gzip(headers: Headers) -> bool:
    for item in headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0")
    return False


def _is_compressible(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("application/json") and "content-encoding" not in headers
