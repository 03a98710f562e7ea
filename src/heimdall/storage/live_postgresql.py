"""Doorbell and ticks by LISTEN/NOTIFY.

``SqlStore`` notifies right after the commit of a transaction that appended events (``settled.py`` says why not within it).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Final

import psycopg

from heimdall.domain.events import Tick
from heimdall.domain.ports import Signal
from heimdall.storage.dialects import EVENT_CHANNEL, TICK_CHANNEL
from heimdall.storage.live_sqlite import parse_tick, write_tick

_CONNECT_TIMEOUT_S: Final = 3
_SLICE_S: Final = 0.5
"""s after which a waiting thread looks whether it was closed."""

_RETRY_S: Final = 0.5
_SENDER_IDLE_S: Final = 30.0


class PostgresqlLive:
    """``LiveChannel`` on one database. Ticks are sent by a thread that comes when needed, so that no tick waits for the network."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._newest: dict[str, str] = {}
        self._sender: threading.Thread | None = None
        self._is_closing = False

    def publish_tick(self, tick: Tick) -> None:
        """Say a tick: the newest of its job replaces one not yet sent. Never raises and never waits for the database."""
        if self._pid != os.getpid():
            self._reset()
        body = write_tick(tick)
        with self._changed:
            self._newest[tick.job_id] = body
            if self._sender is None or not self._sender.is_alive():
                self._is_closing = False
                self._sender = threading.Thread(target=self._send_all, name="heimdall-ticks", daemon=True)
                self._sender.start()
            self._changed.notify()

    def _send_all(self) -> None:
        """Send until idle. A failure drops what was at hand; the next tick starts over."""
        connection: psycopg.Connection[Any] | None = None
        try:
            while bodies := self._take():
                if connection is None:
                    connection = _connect(self._conninfo)
                for body in bodies:
                    connection.execute("SELECT pg_notify(%s, %s)", (TICK_CHANNEL, body))
        except psycopg.Error:
            time.sleep(_RETRY_S)
        finally:
            if connection is not None:
                connection.close()

    def _take(self) -> list[str]:
        with self._changed:
            if not self._newest and not self._is_closing:
                self._changed.wait(_SENDER_IDLE_S)
            bodies, self._newest = list(self._newest.values()), {}
            if not bodies:
                # Said under the lock: the next publisher sees that it must start a new thread.
                self._sender = None
            return bodies

    def watch(self) -> PostgresqlWatcher:
        """Subscribe from now on."""
        return PostgresqlWatcher(self._conninfo)

    def close(self) -> None:
        """End the sending thread."""
        with self._changed:
            self._is_closing = True
            sender = self._sender
            self._changed.notify()
        if sender is not None:
            sender.join(timeout=5)


class PostgresqlWatcher:
    """Listens on an own connection, which comes back by itself."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        try:
            self._connection = self._listen()
        except psycopg.Error:
            self._connection = None

    def wait(self, timeout_s: float) -> Signal:
        """Return as soon as something happened, or an empty signal after the time-out or :meth:`close`."""
        deadline = time.monotonic() + timeout_s
        with self._guard:
            while not self._closed.is_set():
                if self._connection is None:
                    if self._reconnect(deadline):
                        # What was said while nobody listened is lost: look.
                        return Signal(has_events=True)
                else:
                    signal = self._hear(self._connection, deadline)
                    if signal.has_events or signal.ticks:
                        return signal
                if time.monotonic() >= deadline:
                    break
        return Signal(has_events=False)

    def _hear(self, connection: psycopg.Connection[Any], deadline: float) -> Signal:
        remaining = max(0.0, min(_SLICE_S, deadline - time.monotonic()))
        try:
            notes = list(connection.notifies(timeout=remaining, stop_after=1))
            if notes:
                # Whatever came along with the first is taken in one go.
                notes += connection.notifies(timeout=0)
        except psycopg.Error:
            connection.close()
            self._connection = None
            return Signal(has_events=True)
        ticks = (parse_tick(note.payload) for note in notes if note.channel == TICK_CHANNEL)
        return Signal(any(note.channel == EVENT_CHANNEL for note in notes), tuple(tick for tick in ticks if tick is not None))

    def _reconnect(self, deadline: float) -> bool:
        try:
            self._connection = self._listen()
        except psycopg.Error:
            self._closed.wait(max(0.0, min(_RETRY_S, deadline - time.monotonic())))
            return False
        return True

    def _listen(self) -> psycopg.Connection[Any]:
        connection = _connect(self._conninfo)
        try:
            connection.execute(f"LISTEN {EVENT_CHANNEL}")
            connection.execute(f"LISTEN {TICK_CHANNEL}")
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """End the subscription; a thread that waits comes back within half a second."""
        self._closed.set()
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        conninfo,
        autocommit=True,
        connect_timeout=_CONNECT_TIMEOUT_S,
        application_name="heimdall-live",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )
