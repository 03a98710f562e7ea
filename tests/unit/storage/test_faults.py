"""A database in trouble becomes one plain sentence of the right kind, and nothing half-written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as postgres

from heimdall.domain.errors import (
    ConflictError,
    HeimdallError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)
from heimdall.domain.jobs import Job, TrainingJobConfig
from heimdall.domain.ports import JobQuery
from heimdall.storage.database import SqlStore
from heimdall.storage.faults import translate_fault

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def a_job(job_id: str, *, detail: str = "") -> Job:
    config = TrainingJobConfig(job_name="n", dataset_id="d")
    return Job(id=job_id, name="n", created_at=NOW, config=config, total_epochs=1, dataset_id="d", error_detail=detail)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    found = SqlStore(f"sqlite:///{tmp_path / 'heimdall.sqlite'}", busy_timeout_s=0.2)
    found.migrate()
    yield found
    found.close()


def test_a_locked_database_is_unavailable_not_broken(store: SqlStore) -> None:
    other = sqlite3.connect(store.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="busy"), store.write():
        pass
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 0
    other.execute("ROLLBACK")
    other.close()
    with store.write() as tx:
        tx.jobs.add(a_job("j"))


def test_a_thread_that_cannot_get_its_turn_is_told(store: SqlStore) -> None:
    caught: list[Exception] = []

    def write() -> None:
        try:
            with store.write():
                pass
        except UnavailableError as error:
            caught.append(error)

    with store.write():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(timeout=10)
    assert len(caught) == 1


def test_a_file_that_is_no_database_is_named_damaged(tmp_path: Path) -> None:
    path = tmp_path / "heimdall.sqlite"
    path.write_bytes(b"this is no database, but it is long enough to be looked at" * 100)
    store = SqlStore(f"sqlite:///{path}")
    with pytest.raises(UnavailableError, match="damaged"):
        store.migrate()
    with pytest.raises(UnavailableError, match="damaged"):
        store.ping()
    store.close()


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}")
    with pytest.raises(UnavailableError, match="cannot be opened"):
        store.ping()
    store.close()


def test_a_database_without_schema_says_what_to_do(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'new.sqlite'}")
    with pytest.raises(UnavailableError, match="heimdall up"), store.read() as tx:
        tx.jobs.find(JobQuery())
    store.close()


def test_an_absent_server_is_unavailable() -> None:
    store = SqlStore("postgresql://postgres@127.0.0.1:1/nowhere", busy_timeout_s=1)
    with pytest.raises(UnavailableError, match="does not answer"):
        store.ping()
    with pytest.raises(UnavailableError), store.write():
        pass
    store.close()


@pytest.mark.parametrize("url", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense", "http://x"])
def test_a_url_that_fits_neither_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SqlStore(url)
    assert caught.value.field == "database_url"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (postgres.DiskFull(), StorageFullError),
        (postgres.UniqueViolation(), ConflictError),
        (postgres.ForeignKeyViolation(), NotFoundError),
        (postgres.SerializationFailure(), LockedError),
        (postgres.DeadlockDetected(), LockedError),
        (postgres.LockNotAvailable(), LockedError),
        (postgres.AdminShutdown(), UnavailableError),
        (postgres.CannotConnectNow(), UnavailableError),
        (postgres.TooManyConnections(), UnavailableError),
        (postgres.InvalidCatalogName(), UnavailableError),
        (psycopg.OperationalError("server closed the connection unexpectedly"), UnavailableError),
    ],
)
def test_what_postgresql_says_is_of_the_one_tree(cause: Exception, kind: type[HeimdallError]) -> None:
    fault = translate_fault(cause)
    assert type(fault) is kind


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("FATAL:  sorry, too many clients already", "no connection left"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "no connection left"),
        ('FATAL:  too many connections for database "heimdall"', "no connection left"),
        ("FATAL:  no more connections allowed (max_client_conn)", "no connection left"),
        ('FATAL:  password authentication failed for user "postgres"', "refuses this password"),
        ('FATAL:  role "heimdall" does not exist', "refuses this user"),
        ('FATAL:  database "heimdall" does not exist', "does not exist. Create it"),
        ("Connection refused", "does not answer"),
    ],
)
def test_a_refused_connection_says_why_though_it_carries_no_code(words: str, sentence: str) -> None:
    refusal = psycopg.OperationalError(f'connection failed: connection to server at "127.0.0.1", port 5432 failed: {words}')
    fault = translate_fault(refusal)
    assert type(fault) is UnavailableError
    assert sentence in fault.detail


def test_a_bug_in_our_sql_stays_visible() -> None:
    assert translate_fault(postgres.SyntaxError()) is None
    assert translate_fault(None) is None


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a small tmpfs here (needs root and the right to mount)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_is_half_written(tiny_disk: Path) -> None:
    store = SqlStore(f"sqlite:///{tiny_disk / 'heimdall.sqlite'}")
    store.migrate()
    with store.write() as tx:
        tx.jobs.add(a_job("kept"))

    def fill() -> None:
        with store.write() as tx:
            for number in range(20):
                tx.jobs.add(a_job(str(number), detail="x" * 100_000))

    with pytest.raises(StorageFullError, match="full"):
        fill()
    with store.read() as tx:
        assert [job.id for job in tx.jobs.find(JobQuery()).items] == ["kept"]
    with store.write() as tx:
        tx.jobs.add(a_job("fits again"))
    store.close()


def test_a_forked_child_uses_its_own_connections(store: SqlStore) -> None:
    with store.write() as tx:
        tx.jobs.add(a_job("parent"))
        pid = os.fork()
        if pid == 0:
            # The parent's transaction is open and its turn taken: the child must neither see nor disturb them.
            with store.read() as child:
                os._exit(0 if child.jobs.find(JobQuery()).total == 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    pid = os.fork()
    if pid == 0:
        with store.write() as child:
            child.jobs.add(a_job("child"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with store.read() as tx:
        assert {job.id for job in tx.jobs.find(JobQuery()).items} == {"parent", "child"}
