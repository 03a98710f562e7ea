"""Migrations: from nothing, from the first schema, by several processes at once, and equal to the tables."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from heimdall.domain.errors import UnavailableError
from heimdall.domain.jobs import Job, TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.storage.database import SqlStore
from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.schema import HEAD_REVISION, MIGRATIONS_DIR, SNAPSHOT_PATH, read_revision, upgrade
from heimdall.storage.snapshot import write_snapshot
from heimdall.storage.tables import metadata

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("create_postgres_database")())
    return f"sqlite:///{tmp_path / 'new folder' / 'heimdall.sqlite'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir()
    found = open_engine(parse_database_url(url), 5)
    yield found
    found.dispose()


def test_the_constant_names_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


def test_an_empty_database_becomes_current(url: str) -> None:
    store = SqlStore(url)
    with pytest.raises(UnavailableError):
        store.ping()
    store.migrate()
    store.ping()
    store.close()


def test_the_migrated_schema_is_the_one_in_the_tables(engine: Engine) -> None:
    upgrade(engine, HEAD_REVISION)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_rows_of_the_first_schema_survive_to_the_newest(engine: Engine, url: str) -> None:
    upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text(FIRST_SCHEMA_JOB))
        connection.execute(
            text("INSERT INTO metrics (job_id, epoch, timestamp, attempt, val_loss) VALUES ('j', 1, '2026-01-02T00:00:00+00:00', 1, 0.5)")
        )
        connection.execute(
            text("INSERT INTO events (job_id, seq, type, payload, created_at) VALUES ('j', 1, 'training_updated', '{}', :now)"),
            {"now": NOW.isoformat()},
        )
    store = SqlStore(url)
    store.migrate()
    with store.read(settled=True) as tx:
        assert tx.jobs.get("j") == Job(
            id="j", name="old", created_at=NOW, config=TrainingJobConfig(job_name="old", dataset_id="d"), total_epochs=50, dataset_id="d"
        )
        assert tx.metrics.find("j") == [TrainingMetric(job_id="j", epoch=1, timestamp=NOW, attempt=1, val_loss=0.5)]
        assert tx.events.last_position() == 1
    store.close()


FIRST_SCHEMA_JOB = """
INSERT INTO jobs (id, name, name_folded, search_text, status, created_at, progress_percent, current_epoch, total_epochs, attempt,
                  dataset_id, last_seq, version, config)
VALUES ('j', 'old', 'old', 'old', 'pending', '2026-01-02T00:00:00.000000+00:00', 0, 0, 50, 0, 'd', 0, 1,
        '{"job_name"\\:"old","dataset_id"\\:"d"}')
"""


MIGRATE_ON_COMMAND = (
    "import sys\nfrom heimdall.storage.database import SqlStore\nimport heimdall.storage.schema\n"
    "store = SqlStore(sys.argv[1])\nprint('ready', flush=True)\nsys.stdin.readline()\nstore.migrate()\nstore.ping()\nstore.close()\n"
)


def read_everything(path: Path) -> dict[str, Any]:
    """Return what a SQLite file holds, and the settings that it keeps for good."""
    with closing(sqlite3.connect(path)) as connection:
        schema = sorted(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for kind, name, _, _ in schema if kind == "table"}
        kept = ("page_size", "auto_vacuum", "encoding", "journal_mode", "user_version", "application_id")
        return {"schema": schema, "rows": rows, "kept": {name: connection.execute(f"PRAGMA {name}").fetchone() for name in kept}}


def test_an_empty_sqlite_file_becomes_what_all_migrations_would_make_of_it(tmp_path: Path) -> None:
    engine = open_engine(parse_database_url(f"sqlite:///{tmp_path / 'migrated.sqlite'}"), 5)
    upgrade(engine, HEAD_REVISION)
    engine.dispose()
    store = SqlStore(f"sqlite:///{tmp_path / 'new.sqlite'}")
    store.migrate()
    store.close()
    assert read_everything(tmp_path / "new.sqlite") == read_everything(tmp_path / "migrated.sqlite"), "run: make gen"


def test_the_committed_snapshot_is_the_one_that_the_migrations_give_now() -> None:
    assert SNAPSHOT_PATH.read_text(encoding="utf-8") == write_snapshot(), "run: make gen"


def test_a_sqlite_file_that_holds_anything_takes_the_migrations(tmp_path: Path) -> None:
    path = tmp_path / "heimdall.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE of_somebody_else (x INTEGER)")
    store = SqlStore(f"sqlite:///{path}")
    store.migrate()
    store.ping()
    store.close()
    names = {name for _, name, _, _ in read_everything(path)["schema"]}
    assert {"of_somebody_else", "jobs", "job_changes_folded"} <= names


def test_a_database_with_somebody_elses_tables_under_our_names_is_refused_and_left_alone(url: str) -> None:
    engine = open_engine(parse_database_url(url), 5)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir(parents=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE jobs (a INTEGER)"))
    store = SqlStore(url)
    with pytest.raises(UnavailableError, match=r"no Heimdall made \(jobs\)"):
        store.migrate()
    store.close()
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["jobs"]
    engine.dispose()


KILLED_IN_THE_MIDDLE = (
    "import os, signal, sys\nfrom sqlalchemy import event\nfrom heimdall.storage.database import SqlStore\n"
    "store = SqlStore(sys.argv[1])\n"
    "@event.listens_for(store._pool.engine, 'before_cursor_execute')\n"
    "def look(connection, cursor, statement, *_):\n"
    "    if sys.argv[2] in statement: os.kill(os.getpid(), signal.SIGKILL)\n"
    "@event.listens_for(store._pool.engine, 'commit')\n"
    "def look_again(connection):\n"
    "    if sys.argv[2] == 'COMMIT': os.kill(os.getpid(), signal.SIGKILL)\n"
    "store.migrate()\n"
)


@pytest.mark.parametrize("statement", ["CREATE TABLE audit", "CREATE TRIGGER job_changes_folded", "COMMIT"])
def test_a_process_killed_while_it_makes_the_schema_leaves_nothing_and_the_next_one_makes_it(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "heimdall.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, f"sqlite:///{path}", statement], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert read_everything(path)["schema"] == []
    store = SqlStore(f"sqlite:///{path}")
    store.migrate()
    store.ping()
    store.close()


def test_several_processes_may_migrate_at_once(url: str) -> None:
    command = [sys.executable, "-c", MIGRATE_ON_COMMAND, url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_a_database_of_a_newer_version_is_left_alone(engine: Engine, url: str) -> None:
    upgrade(engine, HEAD_REVISION)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store = SqlStore(url)
    with pytest.raises(UnavailableError, match="newer Heimdall"):
        store.migrate()
    with engine.connect() as connection:
        assert read_revision(connection) == "9999"
    store.close()


def test_a_migration_that_fails_leaves_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        # The last table of 0001 is in the way.
        connection.execute(text("CREATE TABLE models (x INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        upgrade(engine, HEAD_REVISION)
    with engine.connect() as connection:
        assert read_revision(connection) is None
        assert set(inspect(connection).get_table_names()) == {"models"}


@pytest.mark.parametrize("is_new", [False, True], ids=["current", "empty"])
def test_alembic_is_loaded_only_where_something_is_to_be_migrated(url: str, is_new: bool) -> None:
    if not is_new:
        store = SqlStore(url)
        store.migrate()
        store.close()
    script = (
        "import sys\nfrom heimdall.storage.database import SqlStore\nstore = SqlStore(sys.argv[1])\nstore.migrate()\nstore.ping()\n"
        "store.close()\nprint(sorted(name for name in sys.modules if name in {'alembic', 'psycopg', 'fsspec', 'numpy', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", script, url], check=True, capture_output=True, text=True, timeout=60)
    of_postgresql = "['alembic', 'psycopg']" if is_new else "['psycopg']"
    assert done.stdout.strip() == ("[]" if url.startswith("sqlite") else of_postgresql)


def test_a_connection_in_use_while_the_store_closes_is_closed_when_it_comes_back(url: str) -> None:
    store = SqlStore(url)
    store.migrate()
    with store.read() as tx:
        driver = tx.connection.connection.driver_connection
        assert driver is not None
        store.close()
        assert tx.jobs.count_by_status() is not None  # whoever still reads may finish
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver.execute("SELECT 1")


def test_the_sqlite_file_keeps_its_promises(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'heimdall.sqlite'}")
    store.migrate()
    with store.write() as tx:
        driver = tx._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        found = {name: driver.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")}
        clustered = {row[0] for row in driver.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert clustered == {"logs", "metrics", "metric_summaries"}
    store.close()
