"""Brings the schema to the newest version. Alembic is loaded only where there is something to do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

from heimdall.domain.errors import UnavailableError
from heimdall.storage.dialects import MIGRATION_LOCK

HEAD_REVISION: Final = "0008"
"""The newest revision below ``migrations/versions``; a test holds it true."""

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"

_WAIT_S: Final = 120
"""s to wait while another process migrates."""


def migrate(engine: Engine) -> None:
    """Upgrade to HEAD_REVISION in one transaction, under a lock that all processes share.

    Raises
    ------
    UnavailableError
        Where the database was made by a newer Heimdall, or another process migrates for over two minutes.
    """
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.connect() as connection:
        current = read_revision(connection)
    if current != HEAD_REVISION:
        upgrade(engine, HEAD_REVISION)


def upgrade(engine: Engine, revision: str) -> None:
    """Upgrade to ``revision`` (tests also stop at older ones). Whole or not at all."""
    with engine.connect() as connection:
        # Own settings on an own connection, which is closed at the end instead of going back to the pool.
        connection.detach()
        _begin_alone(connection)
        if read_revision(connection) != revision:
            _run_alembic(connection, revision)
        connection.commit()


def read_revision(connection: Connection) -> str | None:
    """Return the schema's revision, None for an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


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
