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
def urls(create_postgres_database: Callable[[], str]) -> Iterator[tuple[str, str]]:
    """A database, for a user who may hold one connection and for one who may look."""
    url = create_postgres_database()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP ROLE IF EXISTS {ROLE}")
        admin.execute(f"CREATE ROLE {ROLE} LOGIN CONNECTION LIMIT 1 PASSWORD 'single'")
        parts = urlsplit(url)
        yield urlunsplit(parts._replace(netloc=f"{ROLE}:single@{parts.netloc.rpartition('@')[2]}")), url
        admin.execute(f"DROP ROLE {ROLE}")


def test_no_connection_left_is_said_and_a_free_one_is_taken(urls: tuple[str, str]) -> None:
    single_url, url = urls
    store = SqlStore(single_url)
    taken = psycopg.connect(single_url)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="no connection left") as caught, store.read():
            pass
    assert "max_connections" in caught.value.detail
    taken.close()
    with psycopg.connect(url, autocommit=True) as admin:
        while admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [ROLE]).fetchone() != (0,):
            pass
    with store.read():
        pass
    store.close()


@pytest.mark.parametrize(("part", "words"), [("database", "does not exist"), ("user", "refuses this user|refuses this password")])
def test_a_wrong_name_in_the_url_is_told_apart_from_a_server_that_is_away(
    create_postgres_database: Callable[[], str], part: str, words: str
) -> None:
    parts = urlsplit(create_postgres_database())
    wrong = {"database": {"path": "/absent_"}, "user": {"netloc": f"nobody_here:x@{parts.netloc.rpartition('@')[2]}"}}[part]
    with pytest.raises(UnavailableError, match=words), SqlStore(urlunsplit(parts._replace(**wrong))).read():
        pass
