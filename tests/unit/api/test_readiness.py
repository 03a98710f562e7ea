"""/health/ready writes for real: who holds the lock is seen, within a bounded time, and many probes are one look."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heimdall.api.routes.health import SharedAnswer
from heimdall.api.schemas import Readiness
from tests.serving import Served, make_container, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("ready"))) as running:
        yield running


def test_every_dependency_is_named(served: Served) -> None:
    answer = served.client.get("/health/ready")
    assert answer.status_code == 200
    names = [item["name"] for item in answer.json()["dependencies"]]
    assert names == ["database", "broker", "artifacts", "event_tail", "sweeper"]


def test_a_write_lock_held_elsewhere_is_called_locked_in_bounded_time(tmp_path: Path) -> None:
    with serve(make_container(tmp_path)) as served:
        holder = sqlite3.connect(tmp_path / "heimdall.sqlite", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        answer = served.client.get("/health/ready")
        assert time.monotonic() - started < 6
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        database = answer.json()["dependencies"][0]
        assert (database["name"], database["status"]) == ("database", "locked")
        assert "write lock" in database["detail"]
        assert served.client.get("/api/v1/training/jobs").status_code == 200
        holder.execute("ROLLBACK")
        holder.close()
        assert served.client.get("/health/ready").status_code == 200


def test_who_asks_while_a_look_runs_shares_it_and_who_asks_after_gets_a_new_one() -> None:
    shared, looks = SharedAnswer(), []

    async def look() -> Readiness:
        looks.append(len(looks))
        await asyncio.sleep(0)
        return Readiness(status="ready", dependencies=())

    async def ask() -> None:
        await asyncio.gather(*(shared.get(look) for _ in range(20)))
        await shared.get(look)

    asyncio.run(ask())
    assert looks == [0, 1]
