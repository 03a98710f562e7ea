"""What a connection keeps in memory does not grow with what it read."""

from __future__ import annotations

import _sqlite3
import ctypes
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text

from heimdall.storage.engines import open_engine, parse_database_url

NUM_READERS = 8
MAX_KEPT_BYTES = 700_000
"""Of each reader: its cache, its schema and its statements. SQLite's own cache alone is three times as large."""


def count_sqlite_bytes() -> int:
    """Return what SQLite holds in this process, all connections together."""
    count = ctypes.CDLL(_sqlite3.__file__).sqlite3_memory_used
    count.restype = ctypes.c_int64
    return int(count())


def test_readers_of_a_long_run_keep_little_of_it(tmp_path: Path) -> None:
    engine = open_engine(parse_database_url(f"sqlite:///{tmp_path / 'heimdall.sqlite'}"), busy_timeout_s=5)
    with engine.connect() as writer:
        writer.execute(text("CREATE TABLE rows (body BLOB)"))
        writer.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO rows SELECT randomblob(1000) FROM n"
            )
        )
        writer.commit()
    with ExitStack() as stack:
        readers = [stack.enter_context(engine.connect()) for _ in range(NUM_READERS)]
        before = count_sqlite_bytes()
        for reader in readers:
            assert reader.scalar(text("SELECT max(length(body)) FROM rows")) == 1000
        kept = count_sqlite_bytes() - before
    engine.dispose()
    assert 0 < kept < NUM_READERS * MAX_KEPT_BYTES
