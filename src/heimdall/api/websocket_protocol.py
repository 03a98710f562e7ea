"""The server's WebSocket protocol, with a door for frames that are already encoded.

An event goes to thousands of sockets. Encoding its frame for each of them, and waking a task for each, costs four times
what writing the bytes costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

    async def run_asgi(self) -> None:
        """Run the application for this socket."""
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[FRAMES_EXTENSION] = {"write": self.write_frame}
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
