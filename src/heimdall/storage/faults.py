"""Database errors become Heimdall's own: one sentence for a person, what to do next."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from heimdall.domain.errors import ConflictError, HeimdallError, LockedError, NotFoundError, StorageFullError, UnavailableError

FULL_MESSAGE: Final = "The disk that holds the database is full; nothing was written. Free some space, then try again."
BUSY_MESSAGE: Final = "The database is busy with other writes; nothing was written. Try again in a few seconds."
AWAY_MESSAGE: Final = "The database does not answer. Check that it runs and that the database URL is right, then try again."
DAMAGED_MESSAGE: Final = "The database file is damaged or is no database. Restore it from a backup."
REFUSED_MESSAGE: Final = "The database file cannot be opened or written. Check that its folder exists and that you may write there."
EMPTY_MESSAGE: Final = "The database has no Heimdall schema yet. Start 'heimdall up' once, which creates it."
CONFLICT_MESSAGE: Final = "Someone else changed the same thing first. Read it again, then repeat the change."

NO_CONNECTION_MESSAGE: Final = (
    "The database has no connection left. Raise its max_connections or run fewer jobs at once; work goes on as soon as one is free."
)
ORPHAN_MESSAGE: Final = "The job that this belongs to no longer exists; it was deleted."

_LOST_CONNECTION: Final = frozenset({"OperationalError", "InterfaceError", "ConnectionTimeout", "AdminShutdown"})

_SQLITE_MESSAGES: Final = {
    "SQLITE_BUSY": BUSY_MESSAGE,
    "SQLITE_LOCKED": BUSY_MESSAGE,
    "SQLITE_CANTOPEN": REFUSED_MESSAGE,
    "SQLITE_READONLY": REFUSED_MESSAGE,
    "SQLITE_PERM": REFUSED_MESSAGE,
    "SQLITE_AUTH": REFUSED_MESSAGE,
    "SQLITE_CORRUPT": DAMAGED_MESSAGE,
    "SQLITE_NOTADB": DAMAGED_MESSAGE,
    "SQLITE_IOERR": "The disk that holds the database reports an error; nothing was written. Check the disk, then try again.",
    "SQLITE_PROTOCOL": BUSY_MESSAGE,
    "SQLITE_INTERRUPT": BUSY_MESSAGE,
}

_POSTGRES_MESSAGES: Final = {
    "40001": BUSY_MESSAGE,  # serialization_failure
    "40P01": BUSY_MESSAGE,  # deadlock_detected
    "55P03": BUSY_MESSAGE,  # lock_not_available
    "57014": BUSY_MESSAGE,  # query_canceled
    "25P03": "The database ended a transaction that had paused for too long; nothing was written. Try again.",
    "53300": NO_CONNECTION_MESSAGE,  # too_many_connections
    "3D000": "The database named in the database URL does not exist. Create it, then try again.",
    "28000": "The database refuses this user. Check user and password in the database URL.",
    "28P01": "The database refuses this password. Check user and password in the database URL.",
    "42P01": EMPTY_MESSAGE,  # undefined_table
}

_REFUSALS: Final = {
    r"too many clients|connection slots are reserved|too many connections|no more connections allowed|max_client_conn": "53300",
    r"password authentication failed|no password supplied": "28P01",
    r'role ".*" does not exist|no pg_hba\.conf entry|not permitted to log in': "28000",
    r'database ".*" does not exist': "3D000",
}
"""What PostgreSQL, or PgBouncer before it, says to who may not come in. A refusal carries no code, only these words."""


def translate_fault(cause: BaseException | None) -> HeimdallError | None:
    """Return what a driver's error means to a person, or None where it is a bug of ours that must stay visible."""
    if cause is None:
        return None
    if isinstance(cause, sqlite3.Error):
        return _translate_sqlite(getattr(cause, "sqlite_errorname", ""), str(cause))
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None:
        return UnavailableError(_read_refusal(str(cause))) if type(cause).__name__ in _LOST_CONNECTION else None
    if state == "23503":  # foreign_key_violation
        return NotFoundError(ORPHAN_MESSAGE)
    if state[:2] == "23":
        return ConflictError(CONFLICT_MESSAGE)
    if state == "53100":
        return StorageFullError(FULL_MESSAGE)
    if state in _POSTGRES_MESSAGES:
        return _unavailable(_POSTGRES_MESSAGES[state])
    # Classes 08 connection, 53 out of resources, 57 operator intervention (shutdown, crash recovery).
    return UnavailableError(AWAY_MESSAGE) if state[:2] in {"08", "53", "57"} else None


def _read_refusal(text: str) -> str:
    """Return what a failed attempt to connect means; a server that speaks another language than English counts as away."""
    state = next((state for words, state in _REFUSALS.items() if re.search(words, text)), None)
    return AWAY_MESSAGE if state is None else _POSTGRES_MESSAGES[state]


def _translate_sqlite(name: str, text: str) -> HeimdallError | None:
    if name == "SQLITE_FULL":
        return StorageFullError(FULL_MESSAGE)
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFoundError(ORPHAN_MESSAGE)
    if name.startswith("SQLITE_CONSTRAINT"):
        return ConflictError(CONFLICT_MESSAGE)
    if "no such table" in text:
        return UnavailableError(EMPTY_MESSAGE)
    family = "_".join(name.split("_")[:2])
    message = _SQLITE_MESSAGES.get(family)
    return None if message is None else _unavailable(message)


def _unavailable(message: str) -> UnavailableError:
    return LockedError(message) if message == BUSY_MESSAGE else UnavailableError(message)


@contextmanager
def translated_faults(driver_error: type[Exception]) -> Iterator[None]:
    """Map what SQLAlchemy, or the driver below it, raises inside into the one exception tree."""
    try:
        yield
    except (DBAPIError, driver_error) as error:
        fault = translate_fault(error.orig if isinstance(error, DBAPIError) else error)
        if fault is None:
            raise
        raise fault from error
    except PoolTimeoutError as error:
        raise UnavailableError(BUSY_MESSAGE) from error
