"""Opens the two databases with the settings that keep promises: durable commits, bounded waits."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from heimdall.domain.errors import InvalidInputError, UnavailableError

_MIN_SQLITE: Final = (3, 35)
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_CACHE_KIB: Final = 512
"""KiB of pages that a connection keeps; SQLite's own 2000 would grow with the length of the runs, for each thread that ever read one.
Another process' commit empties the cache anyway, and the system keeps the same pages once for all."""
_CONNECT_TIMEOUT_S: Final = 3
_IDLE_LIMIT_S: Final = 300
"""s after which PostgreSQL ends a reader that holds a transaction and says nothing (a download over a slow line is one)."""
_MAX_CONNECTIONS: Final = 64
_KEPT_CONNECTIONS: Final = 8


def parse_database_url(url: str) -> URL:
    """Return the URL with its driver. InvalidInputError where it is no SQLite file or PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInputError(
            "The database URL is not readable; write postgresql://user:password@host/name.", field="database_url"
        ) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    raise InvalidInputError(
        "The database must be a SQLite file or PostgreSQL (postgresql://user:password@host/name).",
        field="database_url",
    )


def open_engine(url: URL, busy_timeout_s: float) -> Engine:
    """Return an engine; connects at first use."""
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, busy_timeout_s)
    return _open_postgresql(url, busy_timeout_s)


def _open_sqlite(url: URL, busy_timeout_s: float) -> Engine:
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        raise UnavailableError(f"SQLite {sqlite3.sqlite_version} is too old; Heimdall needs 3.35 or newer (a newer Python brings one).")
    engine = create_engine(
        url,
        # Transactions are begun by hand (BEGIN IMMEDIATE): the driver's own rules begin them too late.
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": busy_timeout_s},
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_MAX_CONNECTIONS - _KEPT_CONNECTIONS,
        pool_timeout=busy_timeout_s,
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401
        prepare_sqlite(connection, busy_timeout_s)

    return engine


def prepare_sqlite(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Set what SQLite keeps per connection, and WAL, which it keeps in the file."""
    _switch_to_wal(connection, time.monotonic() + busy_timeout_s)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")


def _switch_to_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Switch the file to WAL; SQLite ignores its own busy time-out here, so wait by hand while another process does the same."""
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname.startswith("SQLITE_BUSY") and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            raise
        if mode != "wal":
            raise sqlite3.OperationalError(f"journal mode {mode}: this file system cannot hold a WAL database")
        return


def _open_postgresql(url: URL, busy_timeout_s: float) -> Engine:
    options = f"-c timezone=UTC -c lock_timeout={int(busy_timeout_s * 1000)} -c idle_in_transaction_session_timeout={_IDLE_LIMIT_S}s"
    given = url.query.get("options")
    return create_engine(
        url.difference_update_query(["options"]),
        connect_args={
            "options": f"{given} {options}" if given else options,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "heimdall",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        },
        pool_pre_ping=True,
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_MAX_CONNECTIONS - _KEPT_CONNECTIONS,
        pool_timeout=busy_timeout_s,
        pool_use_lifo=True,
    )
