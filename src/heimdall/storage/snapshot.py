"""``python -m heimdall.storage.snapshot``: the schema that an empty SQLite file takes at once, as the migrations make it (``make gen``)."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.schema import HEAD_REVISION, upgrade

_HEADER = "-- Written by 'make gen' from the migrations: what they make of an empty SQLite file. Do not edit.\n"


def write_snapshot() -> str:
    """Return tables, rows, indexes and triggers as SQL, for a transaction that is already open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heimdall.sqlite"
        engine = open_engine(parse_database_url(f"sqlite:///{path}"), busy_timeout_s=5)
        upgrade(engine, HEAD_REVISION)
        engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            _begin, *statements, _commit = connection.iterdump()
    return _HEADER + "".join(f"{statement}\n" for statement in statements)


if __name__ == "__main__":
    print(write_snapshot(), end="")  # noqa: T201
