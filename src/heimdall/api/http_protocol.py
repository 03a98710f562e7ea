"""The server's HTTP protocol: bounds what a client may send, and how long it may take, before anything knows who it is.

A head has a size and a deadline; a body must keep moving; and where the process runs out of descriptors, the connection that
has waited longest without a request goes first. A socket leaves this protocol with its handshake and knows none of it.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from heimdall.api.errors import problem_response
from heimdall.api.ratelimit import Seldom
from heimdall.api.security import SECURITY_HEADERS

if TYPE_CHECKING:
    import asyncio

log = structlog.get_logger()

MAX_HEAD_BYTES: Final = 64_000
MAX_URL_BYTES: Final = 16_000
MAX_HEADERS: Final = 200
_LINGER_S: Final = 2.0
"""s in which a refused client may read why: a connection closed at once, with bytes unread, is reset and loses the answer."""
_SAY_EVERY_S: Final = 60.0


@dataclass(frozen=True)
class Patience:
    """How long a client may take, s."""

    head_s: float = 15.0
    """From the first byte (on a new connection: from its start) to the end of the head."""
    body_s: float = 60.0
    """For each ``body_bytes`` of a body, as long as the server reads on."""
    body_bytes: int = 1000


@dataclass(frozen=True)
class Refusal:
    """What a client is told that is sent away before any route."""

    status: HTTPStatus
    code: str
    detail: str


INVALID: Final = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "This is no valid HTTP/1.1 request. Check what the client sends.")
_LONG_URL: Final = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG,
    "url_too_long",
    f"The address is longer than {MAX_URL_BYTES // 1000} kB, the most this server takes. Shorten it.",
)
_LARGE_HEAD: Final = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"The headers are larger than {MAX_HEAD_BYTES // 1000} kB or more than {MAX_HEADERS}, the most this server takes. Send fewer.",
)
LARGE_HANDSHAKE: Final = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    "A line of the handshake is longer than 8 kB, or it has more than 128 headers, the most this server takes for a socket.",
)
_SLOW_HEAD: Final = Refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "The request did not arrive in time. Send it again.")
_SLOW_BODY: Final = Refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "The body stopped arriving before its end. Send the request again.")
_FULL: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", "Too many connections are open. Try again later.")


def write_refusal(refusal: Refusal, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer, as it goes over the wire."""
    answer = problem_response(refusal.status, refusal.code, refusal.detail, headers={**SECURITY_HEADERS, "Connection": "close"})
    lines = b"".join(b"%b: %b\r\n" % pair for pair in [*default_headers, *answer.raw_headers])
    return STATUS_LINE[refusal.status] + lines + b"\r\n" + bytes(answer.body)


def find_max_connections() -> int:
    """Return how many connections leave the process the descriptors that database, artifacts and log need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 20
    return max(8, soft - max(64, min(soft // 4, 512)))


class Connections(ServerState):
    """Every open connection of one server, and those of them that no request is served on.

    Parameters
    ----------
    max_open
        Connections at most, sockets among them.
    """

    def __init__(self, max_open: int) -> None:
        super().__init__()
        self.max_open = max_open
        self.patience = Patience()
        self.waiting: dict[BoundedHttpProtocol, None] = {}
        """Longest first."""
        self._reported = Seldom(_SAY_EVERY_S)

    def make_room(self, newcomer: BoundedHttpProtocol) -> None:
        """Close what has waited longest; refuse the newcomer where everything else is in use."""
        while len(self.connections) > self.max_open:
            if self._reported.is_due():
                log.warning("connections_full", num_open=len(self.connections), num_idle=len(self.waiting))
            longest = next(iter(self.waiting))
            if longest is newcomer:
                newcomer.refuse(_FULL)
                return
            longest.leave()

    def sweep(self, now_s: float) -> None:
        """End what takes too long. Called about once a second."""
        for connection in list(self.connections):
            if isinstance(connection, BoundedHttpProtocol):
                connection.check(now_s)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Reads requests within bounds, and says in words where one is beyond them.

    Its server's state is a :class:`Connections`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.url = b""
        self.headers = []
        self._is_idle = False
        self._is_in_head = True
        self._is_refused = False
        self._since_s = 0.0
        self._num_unparsed = 0
        """Bytes since the head began, or since the body last moved: a head, trailers or the framing of chunks."""
        self._num_read = 0
        self._num_body = 0
        self._num_body_seen = 0
        self._reason: Refusal | None = None

    @property
    def _open(self) -> Connections:
        return cast("Connections", self.server_state)

    # What the transport says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, if there is room."""
        super().connection_made(transport)
        self._since_s = self.loop.time()
        opened = self._open
        opened.waiting[self] = None
        if len(opened.connections) > opened.max_open:
            opened.make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._open.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within bounds."""
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._is_idle:
            self._is_idle = False
            self._since_s = self.loop.time()
        self._num_read = len(data)
        self._num_unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To anything but a socket the client may go on as if it had not asked (RFC 9110, section 7.8).
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self.refuse(self._reason or INVALID)
            return
        if self._num_unparsed > MAX_HEAD_BYTES:
            self.refuse(_LONG_URL if self._is_in_head and len(self.url) > MAX_URL_BYTES else _LARGE_HEAD)

    # What the parser says

    def on_headers_complete(self) -> None:
        """Serve the request, if its head is within bounds."""
        self._reason = self._judge_head()
        if self._reason is not None:
            raise ValueError(self._reason.code)
        self._is_in_head = False
        self._since_s = self.loop.time()
        self._num_unparsed = self._num_body = self._num_body_seen = 0
        self._open.waiting.pop(self, None)
        super().on_headers_complete()
        # Trailers come where headers came. What was judged by its headers must not get further ones.
        self.headers = list(self.headers) if self.parser.should_upgrade() else []

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self._num_unparsed = 0
        self._num_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        super().on_message_complete()
        self._is_in_head = self._is_idle = True
        self._num_unparsed = 0

    def on_message_begin(self) -> None:
        """Begin a head, perhaps right behind the request before it."""
        super().on_message_begin()
        if self._is_idle:
            self._is_idle = False
            self._since_s = self.loop.time()

    def on_response_complete(self) -> None:
        """Wait, unless the next request came already."""
        is_waiting = not self.pipeline
        super().on_response_complete()
        if is_waiting and not self.transport.is_closing():
            self._open.waiting[self] = None

    def _judge_head(self) -> Refusal | None:
        if len(self.url) > MAX_URL_BYTES:
            return _LONG_URL
        if len(self.headers) > MAX_HEADERS:
            return _LARGE_HEAD
        # The head may have come in one read with what stands before or behind it.
        is_large = max(self._num_read, self._num_unparsed) > MAX_HEAD_BYTES
        return _LARGE_HEAD if is_large and sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES else None

    # What the clock says

    def check(self, now_s: float) -> None:
        """End the connection where its client takes too long."""
        if self.transport.is_closing():
            return
        patience = self._open.patience
        waited_s = now_s - self._since_s
        if self._is_refused:
            if waited_s > _LINGER_S:
                self.transport.abort()
        elif self._is_in_head:
            if not self._is_idle and waited_s > patience.head_s:
                if self._num_unparsed:
                    self.refuse(_SLOW_HEAD)
                else:  # a browser that connected in case it would need to
                    self.transport.close()
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue or self._num_body - self._num_body_seen >= patience.body_bytes:
            # It moves, or it is the server that does not read on.
            self._since_s, self._num_body_seen = now_s, self._num_body
        elif waited_s > patience.body_s:
            self.refuse(_SLOW_BODY)

    # How it ends

    def refuse(self, refusal: Refusal) -> None:
        """Say why, read no further, and close: at once where there is no telling, else when the client had time to read."""
        log.debug("connection_refused", code=refusal.code, client=self.client[0] if self.client else None)
        self._is_refused = True
        self._since_s = self.loop.time()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._is_in_head:  # the requests before this one are well
                cycle.keep_alive = False
                self._since_s = math.inf
                return
            is_answered = cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True
            cycle.message_event.set()
            if is_answered:
                self.transport.close()
                return
        elif cycle is not None and not self._is_in_head:  # answered before its body had come
            self.transport.close()
            return
        self._open.waiting[self] = None
        self.transport.write(write_refusal(refusal, self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def leave(self) -> None:
        """Give the descriptor back."""
        self._open.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def shutdown(self) -> None:
        """End with the server, after the answer that is on its way."""
        super().shutdown()
        if self.cycle is not None and self.cycle.disconnected:  # refused; there is no answer to wait for
            self.transport.close()
