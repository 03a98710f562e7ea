"""SQLite's writer keeps its connection, and gives it back whenever something went wrong."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heimdall.storage.database import SqlStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    made = SqlStore(f"sqlite:///{tmp_path / 'data.sqlite'}", busy_timeout_s=0.2)
    made.migrate()
    return made


def hold_half(store: SqlStore) -> None:
    with store.write() as tx:
        tx.upkeep.hold("half a backup", until=NOW)
        raise ZeroDivisionError


def test_writes_share_a_connection_until_one_fails_and_nothing_of_that_one_stays(store: SqlStore) -> None:
    with store.write() as tx:
        first = tx.connection
    with store.write() as tx:
        assert tx.connection is first
    with pytest.raises(ZeroDivisionError):
        hold_half(store)
    assert first.closed
    with store.write() as tx:
        assert tx.connection is not first
        assert not tx.upkeep.is_held(NOW.replace(year=2020))
    store.close()


def test_writers_of_several_threads_take_turns_on_it(store: SqlStore) -> None:
    seen = []

    def write(number: int) -> None:
        with store.write() as tx:
            tx.upkeep.hold(str(number), until=NOW)
            seen.append(tx.connection)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1
    store.close()


def test_a_closed_store_leaves_no_journal_and_can_be_written_again(store: SqlStore, tmp_path: Path) -> None:
    with store.write() as tx:
        tx.upkeep.hold("backup", until=NOW)
    store.close()
    assert not (tmp_path / "data.sqlite-wal").exists()  # SQLite removes it with the last connection
    with store.write() as tx:
        assert tx.upkeep.is_held(NOW.replace(year=2020))
    store.close()


def test_closing_leaves_a_transaction_that_runs_alone(store: SqlStore) -> None:
    with store.write() as tx:
        store.close()
        tx.upkeep.hold("backup", until=NOW)
    with store.read() as tx:
        assert tx.upkeep.is_held(NOW.replace(year=2020))
    store.close()
