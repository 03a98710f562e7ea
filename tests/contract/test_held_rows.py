"""A process that is frozen inside a transaction on PostgreSQL holds rows; what that may cost the others."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from heimdall.domain.errors import UnavailableError
from heimdall.domain.jobs import Job, JobStatus
from heimdall.domain.ports import JobQuery
from heimdall.queue.memory import MemoryQueue
from heimdall.services.jobs import JobSettings
from heimdall.services.sweeper import Sweeper
from heimdall.storage.database import SqlStore, SqlTransaction
from tests.contract.samples import a_job, add, claim
from tests.unit.services.job_bench import MemoryRegistry, SetClock

pytestmark = pytest.mark.scaled


@pytest.fixture
def store(migrated_postgres_url: str) -> Iterator[SqlStore]:
    store = SqlStore(migrated_postgres_url, busy_timeout_s=0.5)
    with psycopg.connect(migrated_postgres_url, autocommit=True) as connection:
        connection.execute("TRUNCATE events, jobs, job_changes, datasets RESTART IDENTITY CASCADE")
    yield store
    store.close()


def add_running(store: SqlStore) -> Job:
    job = add(store, a_job())
    claim(store, job, "gone")
    return job


def test_a_held_row_keeps_no_other_job_from_its_next_worker(store: SqlStore, migrated_postgres_url: str) -> None:
    held, free = add_running(store), add_running(store)
    registry = MemoryRegistry()
    registry.gone.add("gone")
    settings = JobSettings(max_attempts=3, enqueue_doubt_s=5, lease_s=10, has_cuda=lambda: False)
    sweeper = Sweeper(store=store, queue=MemoryQueue(), clock=SetClock(), settings=settings, registry=registry)
    with psycopg.connect(migrated_postgres_url) as connection:
        connection.execute("SELECT id FROM jobs WHERE id = %s FOR UPDATE", (held.id,))
        report = sweeper.sweep()
        assert report.moved == {free.id: JobStatus.PENDING}
        assert report.blocked == (held.id,)
        assert held.id in str(report.trouble)
        assert sweeper.sweep().blocked == (held.id,)
    report = sweeper.sweep()
    assert (report.moved, report.blocked, report.trouble) == ({held.id: JobStatus.PENDING}, (), None)


def test_a_writer_that_is_frozen_between_two_statements_is_ended_by_the_server(store: SqlStore, migrated_postgres_url: str) -> None:
    job = add_running(store)
    frozen = SqlStore(migrated_postgres_url, idle_writer_s=0.3)
    patient = SqlStore(migrated_postgres_url, busy_timeout_s=20)

    def freeze_while_another_writes() -> None:
        with frozen.write() as tx:
            tx.jobs.get(job.id, lock=True)
            with patient.write() as other:
                other.jobs.count_loss(job.id)
            tx.jobs.count_loss(job.id)

    with pytest.raises(UnavailableError):
        freeze_while_another_writes()
    with frozen.read() as tx:  # the next transaction finds a connection that works
        assert tx.jobs.find(JobQuery()).total == 1
    frozen.close()
    patient.close()


def test_the_limit_on_a_writer_costs_no_round_trip_and_binds_no_reader(migrated_postgres_url: str, tmp_path: Path) -> None:
    store = SqlStore(migrated_postgres_url, idle_writer_s=7)
    said = tmp_path / "said"
    with store.write() as tx:
        assert ask_limit(tx) == "7s"
        link = tx.connection.connection.driver_connection.pgconn
    with said.open("wb") as file:
        link.trace(file.fileno())
        with store.write() as tx:
            assert tx.connection.connection.driver_connection.pgconn is link
        link.untrace()
    queries = [line.partition("\tQuery\t")[2].strip(' "') for line in said.read_text().splitlines() if "\tQuery\t" in line]
    # The first is the pool's look whether the connection lives.
    assert queries == [";", "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '7000ms'", "COMMIT"]
    with store.read() as tx:
        assert ask_limit(tx) == "5min"
    store.close()


def test_what_fails_in_a_write_leaves_nothing_behind(store: SqlStore) -> None:
    def fail_after_a_change() -> None:
        with store.write() as tx:
            tx.jobs.add(a_job())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_change()
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 0


def ask_limit(tx: SqlTransaction) -> str:
    return str(tx.connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one())
