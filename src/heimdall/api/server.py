"""Runs the server: one process, uvloop and httptools, every accepted socket without Nagle's delay."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from heimdall.domain.errors import InvalidInputError, UnavailableError
from heimdall.logs import configure_logging

if TYPE_CHECKING:
    from uvicorn.server import Server

    from heimdall.bootstrap import Container
    from heimdall.settings import Settings

_BACKLOG: Final = 4096
_PING_S: Final = 20.0
"""s between pings to a socket's client, and s it has to answer."""
_DEAD_CLIENT_MS: Final = 60_000
"""ms after which the kernel gives up on a client that takes no bytes."""
_GRACE_S: Final = 5
_MAX_MESSAGE_BYTES: Final = 64 * 1024
_TICK_S: Final = 1.0
"""s between looks at what is old. uvicorn looks ten times as often, only to hear of a stop, which wakes this server by itself."""


def run_server(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code.

    Raises
    ------
    InvalidInputError
        The address lets others in and no token is set.
    UnavailableError
        The address or port cannot be had, or the database does not answer at the start.
    """
    configure_logging(settings, "api")

    settings.check_exposure()
    if settings.has_short_token:
        import structlog

        structlog.get_logger().warning("token_is_short", fix="export HEIMDALL_TOKEN=$(openssl rand -hex 32)")
    listener = bind(settings.host, settings.port)
    try:
        from heimdall.bootstrap import build_container

        container = build_container(settings)
        try:
            # Here as well as in the application: a database that refuses is one sentence, not the trace of a failed start.
            container.store.migrate()
            return serve(container, listener)
        finally:
            container.close()
    finally:
        listener.close()


def serve(container: Container, listener: socket.socket) -> int:
    """Serve ``container`` on a bound socket until a signal comes; return the exit code."""
    import structlog

    server = make_server(container)
    server.config.load()
    # Nothing loaded so far is ever garbage: the collector need not look at it, not even once.
    gc.freeze()
    gc.enable()
    host, port = listener.getsockname()[:2]
    structlog.get_logger().info("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    server.run(sockets=[listener])
    structlog.get_logger().info("stopped")
    return 0


def make_server(container: Container) -> Server:
    """Return the configured server, not yet running."""
    from uvicorn.config import Config
    from uvicorn.server import Server

    from heimdall.api.app import create_app
    from heimdall.api.http_protocol import BoundedHttpProtocol, Connections, find_max_connections
    from heimdall.api.websocket_protocol import FramedWebSocketProtocol

    class QuietServer(Server):
        """Ends on a signal by returning, so that what the process holds is given back and the exit code is 0. Sweeps its connections."""

        _wake: Callable[[], object] | None = None

        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.server_state: Connections = Connections(find_max_connections())

        @property
        def should_exit(self) -> bool:
            """Whether the server was asked to end; may be set from any thread and from a signal's handler."""
            return self._should_exit

        @should_exit.setter
        def should_exit(self, value: bool) -> None:
            self._should_exit = value
            if self._wake is not None:
                self._wake()

        async def main_loop(self) -> None:
            loop, is_woken = asyncio.get_running_loop(), asyncio.Event()
            self._wake = lambda: loop.call_soon_threadsafe(is_woken.set)
            try:
                while not await self.on_tick(0):
                    self.server_state.sweep(loop.time())
                    timer = loop.call_later(_TICK_S, is_woken.set)
                    await is_woken.wait()
                    timer.cancel()
                    is_woken.clear()
            finally:
                self._wake = None

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = Config(
        create_app(container),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=BoundedHttpProtocol,
        ws=FramedWebSocketProtocol,
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_ping_interval=_PING_S,
        ws_ping_timeout=_PING_S,
        # Compressing each frame for each client costs more than the wire it saves.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return QuietServer(config)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket whose accepted sockets have TCP_NODELAY.

    Raises
    ------
    UnavailableError
        The address or port cannot be had; the message says what to do.
    InvalidInputError
        ``host`` is no address or name of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise InvalidInputError(f"'{host}' is not an address of this machine ({error.strerror}).", field="host") from error
    # The protocol is named: asyncio turns Nagle off only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_CLIENT_MS)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"Port {port} on {host} cannot be had ({error.strerror}). Stop what uses it, or choose another one with --port."
        ) from error
    listener.setblocking(False)
    return listener
