"""Doorbell and ticks on SQLite files.

``PRAGMA data_version`` changes when another connection commits; a look costs some ten microseconds and reads no
page. Ticks live in a file of their own, so that they neither wait for the database's writers nor wake its readers.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

import orjson
from pydantic import ValidationError

from heimdall.domain.events import Tick
from heimdall.domain.ports import Signal

LOOK_S: Final = 0.01
"""s between two looks while someone waits."""

QUIET_LOOK_S: Final = 0.02
QUIET_AFTER_S: Final = 10.0
"""s without news after which looks become rarer: an idle page should cost nothing."""

_TICK_BUSY_S: Final = 0.005
"""s a tick may wait for another writer before it is dropped."""

_KEPT_TICKS: Final = 1000
_PRUNE_EVERY: Final = 500
_FAULT_PAUSE_S: Final = 0.2

_CREATE: Final = (
    "DROP TABLE IF EXISTS ticks",  # of version 0.1.0, which kept one row a job and an index beside it
    "CREATE TABLE IF NOT EXISTS said (number INTEGER PRIMARY KEY, body TEXT NOT NULL)",
)
_PUBLISH: Final = "INSERT INTO said (body) VALUES (?)"
_PRUNE: Final = "DELETE FROM said WHERE number <= (SELECT max(number) FROM said) - ?"

_inherited: list[object] = []
"""Connections of a parent process: kept, because closing one in a child may touch the parent's locks."""


class SqliteLive:
    """``LiveChannel`` on the database's file and a file of ticks."""

    def __init__(self, database: Path, ticks: Path) -> None:
        self._database = database
        self._ticks = ticks
        self._guard = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._num_said = 0
        self._pid = os.getpid()

    def publish_tick(self, tick: Tick) -> None:
        """Say a tick; never raises for a full disk or an absent reader."""
        if self._pid != os.getpid():
            # A forked child: the parent's connection is the parent's, and its lock may be held for ever.
            _inherited.append(self._connection)
            self._guard, self._connection, self._pid = threading.Lock(), None, os.getpid()
        with self._guard:
            try:
                if self._connection is None:
                    self._connection = _open_ticks(self._ticks)
                self._connection.execute(_PUBLISH, (write_tick(tick),))
                self._num_said += 1
                if self._num_said % _PRUNE_EVERY == 1:
                    self._connection.execute(_PRUNE, (_KEPT_TICKS,))
            except (sqlite3.Error, OSError):
                self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def watch(self) -> SqliteWatcher:
        """Subscribe from now on."""
        return SqliteWatcher(self._database, self._ticks)

    def close(self) -> None:
        """Give back the connection that ticks are said on."""
        with self._guard:
            self._drop()


class SqliteWatcher:
    """Looks at both files while someone waits, and only then."""

    def __init__(self, database: Path, ticks: Path) -> None:
        self._paths = (database, ticks)
        self._closed = threading.Event()
        self._database: sqlite3.Connection | None = None
        self._ticks: sqlite3.Connection | None = None
        self._seen = (-1, -1)
        self._last_tick = 0
        self._is_stale = False
        self._last_news = time.monotonic()
        self._guard = threading.Lock()
        try:
            self._open()
        except (sqlite3.Error, OSError):
            self._disconnect()
            self._is_stale = True

    def wait(self, timeout_s: float) -> Signal:
        """Return as soon as something happened, or an empty signal after the time-out or :meth:`close`."""
        deadline = time.monotonic() + timeout_s
        with self._guard:
            while not self._closed.is_set():
                try:
                    signal = self._look()
                except (sqlite3.Error, OSError):
                    self._disconnect()
                    self._is_stale = True
                    self._closed.wait(min(_FAULT_PAUSE_S, max(0.0, deadline - time.monotonic())))
                    return Signal(has_events=True)
                if signal.has_events or signal.ticks:
                    self._last_news = time.monotonic()
                    return signal
                remaining = deadline - time.monotonic()
                pause = LOOK_S if time.monotonic() - self._last_news < QUIET_AFTER_S else QUIET_LOOK_S
                if remaining <= 0 or self._closed.wait(min(pause, remaining)):
                    break
        return Signal(has_events=False)

    def _look(self) -> Signal:
        if self._database is None or self._ticks is None:
            self._open()
        if self._database is None or self._ticks is None:
            return Signal(has_events=True)
        versions = (_data_version(self._database), _data_version(self._ticks))
        has_events = versions[0] != self._seen[0] or self._is_stale
        has_ticks = versions[1] != self._seen[1]
        self._seen, self._is_stale = versions, False
        return Signal(has_events, self._read_ticks(self._ticks) if has_ticks else ())

    def _read_ticks(self, connection: sqlite3.Connection) -> tuple[Tick, ...]:
        """Return the newest of each job since the last look."""
        rows = connection.execute("SELECT number, body FROM said WHERE number > ? ORDER BY number", (self._last_tick,)).fetchall()
        if rows:
            self._last_tick = rows[-1][0]
        ticks = (parse_tick(body) for _, body in rows)
        return tuple({tick.job_id: tick for tick in ticks if tick is not None}.values())

    def _open(self) -> None:
        self._database = sqlite3.connect(self._paths[0], isolation_level=None, check_same_thread=False)
        self._ticks = _open_ticks(self._paths[1])
        self._seen = (_data_version(self._database), _data_version(self._ticks))
        self._last_tick = self._ticks.execute("SELECT coalesce(max(number), 0) FROM said").fetchone()[0]

    def _disconnect(self) -> None:
        for connection in (self._database, self._ticks):
            if connection is not None:
                connection.close()
        self._database = self._ticks = None

    def close(self) -> None:
        """End the subscription; a thread that waits comes back at once."""
        self._closed.set()
        with self._guard:
            self._disconnect()


def _open_ticks(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    # A power cut may take this file along; nothing in it is worth an fsync.
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=WAL")
    for statement in _CREATE:
        connection.execute(statement)
    connection.execute(f"PRAGMA busy_timeout={int(_TICK_BUSY_S * 1000)}")
    return connection


def _data_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def write_tick(tick: Tick) -> str:
    """Return the tick as JSON: flat as it is, in a sixth of the time that its model takes."""
    return orjson.dumps(tick.__dict__, option=orjson.OPT_UTC_Z).decode()


def parse_tick(body: str) -> Tick | None:
    """Return the tick, or None for a text another version wrote."""
    try:
        return Tick.model_validate_json(body)
    except ValidationError:
        return None
