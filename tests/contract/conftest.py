"""Stores for the contract suites: memory, SQLite and PostgreSQL, each empty at the start of a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from heimdall.domain.ports import Store
from heimdall.storage.database import SqlStore
from heimdall.storage.memory import MemoryStore

POSTGRES_URL = os.environ.get("HEIMDALL_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
TABLES = ("audit", "events", "metrics", "logs", "jobs", "job_changes", "datasets", "models", "tombstones", "holds")


@dataclass
class Backend:
    """One kind of store; ``open`` gives a further connection pool to the same data, as another process would have."""

    kind: str
    url: str
    make: Callable[[], Store]
    opened: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        store = self.make()
        self.opened.append(store)
        return store


@pytest.fixture(scope="session")
def create_postgres_database() -> Iterator[Callable[[], str]]:
    """Make empty databases of this session's own; each is dropped at its end."""
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        reason = f"PostgreSQL does not answer at HEIMDALL_TEST_POSTGRES_URL or 127.0.0.1:5432: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    names: list[str] = []

    def create() -> str:
        names.append(f"heimdall_test_{uuid.uuid4().hex[:12]}")
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(names[-1])))
        return _with_database(POSTGRES_URL, names[-1])

    with server:
        yield create
        for name in names:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, database: str) -> str:
    head, _, query = url.partition("?")
    return head.rsplit("/", 1)[0] + "/" + database + (f"?{query}" if query else "")


@pytest.fixture(scope="session")
def migrated_postgres_url(create_postgres_database: Callable[[], str]) -> str:
    url = create_postgres_database()
    store = SqlStore(url)
    store.migrate()
    store.close()
    return url


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind: str = request.param
    if kind == "memory":
        single = MemoryStore(busy_timeout_s=5)
        yield Backend(kind, "memory://", lambda: single)
        return
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'heimdall.sqlite'}"
    else:
        url = request.getfixturevalue("migrated_postgres_url")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # the audit log refuses otherwise
            connection.execute(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY CASCADE")
    found = Backend(kind, url, lambda: SqlStore(url, busy_timeout_s=5))
    found.open().migrate()
    yield found
    for store in found.opened:
        store.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.open()
