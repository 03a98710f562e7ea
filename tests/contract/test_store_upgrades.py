"""Every schema that was ever released, frozen as SQL with the rows of a real instance, becomes the newest one.

``schemas/REVISION.{sqlite,postgresql}.sql`` is the schema as it was made then; rows are those of the newest ``REVISION.rows.sql``
that is not later: what `heimdall up` had written into it: a completed job with its model,
a paused one with a checkpoint, a deleted one, a ready and a failed data set.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.events import EventType
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import AuditQuery, JobQuery
from heimdall.storage.database import SqlStore
from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.schema import HEAD_REVISION, MIGRATIONS_DIR
from heimdall.storage.tables import metadata

SCHEMAS = Path(__file__).parent / "schemas"
REVISIONS = sorted(path.name.split(".")[0] for path in SCHEMAS.glob("*.sqlite.sql"))


def test_every_schema_before_the_newest_is_frozen_here() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    released = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()} - {HEAD_REVISION}
    assert set(REVISIONS) - {HEAD_REVISION} == released


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)])
def old_url(request: pytest.FixtureRequest, tmp_path: Path, revision: str) -> str:
    """URL of a database as that release left it."""
    rows = max(path for path in SCHEMAS.glob("*.rows.sql") if path.name.split(".")[0] <= revision)
    script = (SCHEMAS / f"{revision}.{request.param}.sql").read_text() + rows.read_text()
    script += f"UPDATE alembic_version SET version_num = '{revision}';\n"
    if request.param == "sqlite":
        path = tmp_path / "old.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript(script)
        connection.close()
        return f"sqlite:///{path}"
    url = str(request.getfixturevalue("create_postgres_database")())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script.encode())
        for table in ("events", "audit") if "INTO audit" in script else ("events",):
            connection.execute(f"SELECT setval('{table}_position_seq', (SELECT max(position) FROM {table}))")
    return url


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_rows_of_a_released_schema_are_all_there_after_the_upgrade(old_url: str, revision: str) -> None:
    store = SqlStore(old_url)
    store.migrate()
    with store.read(settled=True) as tx:
        jobs = {job.name: job for job in tx.jobs.find(JobQuery()).items}
        assert {name: job.status for name, job in jobs.items()} == {
            "first light": JobStatus.COMPLETED,
            "Über den Berg": JobStatus.PAUSED,
        }
        for job in jobs.values():
            assert [event.seq for event in tx.events.list_of_job(job.id)] == list(range(1, job.last_seq + 1))
            assert [row.epoch for row in tx.metrics.find(job.id)] == list(range(1, job.current_epoch + 1))
            assert job.checkpoint is not None
            assert len(tx.logs.find(job.id)) > 2
        model = tx.models.get(jobs["first light"].model_id or "")
        assert (model.name, model.training_job_id) == ("first light", jobs["first light"].id)
        assert model.baselines
        assert {dataset.name: dataset.status for dataset in tx.datasets.find_all()} == {
            "Valley": DatasetStatus.READY,
            "Broken": DatasetStatus.FAILED,
        }
        deleted = [event for event in tx.events.read_page().events if event.type is EventType.DELETED]
        assert len(deleted) == 1
        last = tx.events.last_position()
        assert [entry.who for entry in tx.audit.find(AuditQuery())] == (["sub-7", "local"] if revision >= "0003" else [])
    with store.write() as tx:
        tx.events.append("new", seq=1, type=EventType.UPDATED, payload={}, now=model.created_at)
    with store.read(settled=True) as tx:
        assert tx.events.last_position() == last + 1
    store.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgraded_schema_is_the_one_in_the_tables(old_url: str, revision: str) -> None:
    store = SqlStore(old_url)
    store.migrate()
    store.close()
    engine = open_engine(parse_database_url(old_url), 5)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
