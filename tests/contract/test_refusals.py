"""What a person reads where PostgreSQL lets Heimdall not in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from heimdall.domain.errors import UnavailableError
from heimdall.storage.database import SqlStore

pytestmark = pytest.mark.scaled
ROLE = "heimdall_single"


@pytest.fixture
def single_url(create_postgres_database: Callable[[], str]) -> Iterator[str]:
    """A database whose user may hold one connection."""
    url = create_postgres_database()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP ROLE IF EXISTS {ROLE}")
        admin.execute(f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT 1 PASSWORD 'single'")
        parts = urlsplit(url)
        yield urlunsplit(parts._replace(netloc=f"{ROLE}:single@{parts.hostname}:{parts.port}"))
        admin.execute(f"DROP ROLE {ROLE}")


def test_no_connection_left_is_said_and_a_free_one_is_taken(single_url: str) -> None:
    store = SqlStore(single_url)
    taken = psycopg.connect(single_url)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="no connection left") as caught, store.read():
            pass
    assert "max_connections" in caught.value.detail
    taken.close()
    with psycopg.connect(single_url.replace(f"{ROLE}:single@", "postgres@")) as admin:
        while admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [ROLE]).fetchone() != (0,):
            pass
    with store.read():
        pass
    store.close()


@pytest.mark.parametrize(
    ("given", "wrong", "words"),
    [("/heimdall", "/absent_", "does not exist"), ("postgres@", "nobody_here@", "refuses this user")],
)
def test_a_wrong_name_in_the_url_is_told_apart_from_a_server_that_is_away(
    create_postgres_database: Callable[[], str], given: str, wrong: str, words: str
) -> None:
    url = create_postgres_database()
    assert given in url or given == "/heimdall"
    parts = urlsplit(url)
    url = urlunsplit(parts._replace(path="/absent_")) if given == "/heimdall" else url.replace(given, wrong)
    with pytest.raises(UnavailableError, match=words), SqlStore(url).read():
        pass
