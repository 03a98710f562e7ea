"""Brings the schema to the newest version. Alembic is loaded only where an older or a PostgreSQL database has something to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from heimdall.domain.errors import UnavailableError
from heimdall.storage.dialects import MIGRATION_LOCK
from heimdall.storage.tables import metadata

HEAD_REVISION: Final = "0008"
"""The newest revision below ``migrations/versions``; a test holds it true."""

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
SNAPSHOT_PATH: Final = MIGRATIONS_DIR / "snapshot.sqlite.sql"
"""What all migrations together make of an empty SQLite file; ``heimdall.storage.snapshot`` writes it."""

_WAIT_S: Final = 120
"""s to wait while another process migrates."""


def migrate(engine: Engine) -> None:
    """Bring to HEAD_REVISION in one transaction, under a lock that all processes share.

    An empty SQLite file takes the snapshot: that is a tenth of the work, and Alembic need not be loaded for it.

    Raises
    ------
    UnavailableError
        Where the database was made by a newer Heimdall, or another process migrates for over two minutes.
    """
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.connect() as connection:
        current = read_revision(connection)
    if current == HEAD_REVISION:
        return
    with _alone(engine) as connection:
        if _is_empty_sqlite(connection):
            _apply_snapshot(connection)
        elif (found := read_revision(connection)) != HEAD_REVISION:
            if found is None:
                _refuse_strangers(connection)
            _run_alembic(connection, HEAD_REVISION)


def upgrade(engine: Engine, revision: str) -> None:
    """Upgrade to ``revision`` by the migrations alone (tests also stop at older ones). Whole or not at all."""
    with _alone(engine) as connection:
        if read_revision(connection) != revision:
            _run_alembic(connection, revision)


def read_revision(connection: Connection) -> str | None:
    """Return the schema's revision, None for an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Lend a connection in a transaction that keeps out every other migration; committed on a clean exit."""
    with engine.connect() as connection:
        # Own settings on an own connection, which is closed at the end instead of going back to the pool.
        connection.detach()
        _begin_alone(connection)
        yield connection
        connection.commit()


def _begin_alone(connection: Connection) -> None:
    """Begin a transaction that waits for, and then keeps out, every other migration."""
    if connection.dialect.name == "sqlite":
        # Rebuilding a table that others refer to needs this off, and it can only be switched outside a transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_WAIT_S * 1000}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAIT_S}s'")
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def _is_empty_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite" and connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0


def _refuse_strangers(connection: Connection) -> None:
    """Raise UnavailableError where a database that no Heimdall made has tables under the names of ours."""
    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        names = ", ".join(taken)
        raise UnavailableError(f"The database holds tables that no Heimdall made ({names}). Use another data folder or database.")


def _apply_snapshot(connection: Connection) -> None:
    statement = ""
    # One by one: the driver's executescript would end the transaction first.
    for line in SNAPSHOT_PATH.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.exec_driver_sql(statement)
            statement = ""


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise UnavailableError(
            f"The database was made by another, probably newer Heimdall ({error}). Install that version, or use another data folder."
        ) from error
