"""The server's WebSocket protocol, with a door for frames that are already encoded, and refusals that end as they should.

An event goes to thousands of sockets. Encoding its frame for each of them, and waking a task for each, costs four times
what writing the bytes costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidMessage
from websockets.protocol import State

from heimdall.api.http_protocol import INVALID, LARGE_HANDSHAKE, write_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

FRAMES_EXTENSION: Final = "heimdall.frames"
_FINAL_TEXT: Final = 0x81


def encode_frame(payload: bytes) -> bytes:
    """Return a whole, unmasked, uncompressed text frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL_TEXT, length))
    elif length < 1 << 16:
        head = bytes((_FINAL_TEXT, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL_TEXT, 127)) + length.to_bytes(8, "big")
    return head + payload


class FramedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Offers ``write_frame`` to the application in its scope."""

    def data_received(self, data: bytes) -> None:
        """Read on; answer a handshake that the library cannot read, which uvicorn would leave open for ever, and trip over at its end."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.close_sent:
            self.close_sent = self.handshake_complete = True
            is_invalid = isinstance(self.conn.handshake_exc, InvalidMessage)
            self.transport.write(write_refusal(INVALID if is_invalid else LARGE_HANDSHAKE, self.default_headers))
            self.transport.close()

    def shutdown(self) -> None:
        """End because the server stops. Where the two are just saying goodbye uvicorn's own would raise, and nothing else be ended."""
        if self.handshake_complete and not self.close_sent and self.conn.state is not State.OPEN:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012})
            self.transport.close()
        else:
            super().shutdown()

    async def run_asgi(self) -> None:
        """Run the application for this socket."""
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[FRAMES_EXTENSION] = {"write": self.write_frame}
        serve = self.app

        async def serve_or_refuse(scope: Scope, receive: Receive, send: Send) -> None:
            await serve(scope, receive, send)
            # A refusal in words is an end of the handshake too. uvicorn would log it as a fault of the application.
            self.handshake_complete = self.handshake_complete or self.close_sent

        self.app = serve_or_refuse
        await super().run_asgi()

    def write_frame(self, frame: bytes) -> bool:
        """Write a frame now, between two others; False where the socket is not open or its client is behind."""
        if not self.writable.is_set() or not self.handshake_complete or self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True


def find_frame_writer(scope: Mapping[str, Any]) -> Callable[[bytes], bool] | None:
    """Return the socket's ``write_frame``, None where another server runs the application."""
    offered = scope.get("extensions", {}).get(FRAMES_EXTENSION)
    writer: Callable[[bytes], bool] | None = offered["write"] if offered else None
    return writer
