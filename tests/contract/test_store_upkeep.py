"""What every store promises of tombstones and holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from heimdall.domain.jobs import Checkpoint, JobStatus
from heimdall.domain.ports import Store
from tests.contract.samples import NOW, a_job, add


def test_buried_keys_are_listed_oldest_first_and_once(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.bury("models/b", "models/a", now=NOW)
        tx.upkeep.bury("datasets/c", now=NOW - timedelta(seconds=1))
        tx.upkeep.bury("models/a", now=NOW + timedelta(days=1))
        tx.upkeep.bury(now=NOW)
    with store.read() as tx:
        assert tx.upkeep.list_buried() == ["datasets/c", "models/a", "models/b"]
        assert tx.upkeep.list_buried(limit=1) == ["datasets/c"]


def test_a_forgotten_key_is_gone_and_an_unknown_one_no_error(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.bury("models/a", "models/b", now=NOW)
    with store.write() as tx:
        tx.upkeep.forget("models/a", "models/unknown")
        tx.upkeep.forget()
    with store.read() as tx:
        assert tx.upkeep.list_buried() == ["models/b"]


def test_a_hold_lasts_until_its_end_is_prolonged_and_given_back(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.hold("backup", until=NOW + timedelta(seconds=10))
    with store.read() as tx:
        assert tx.upkeep.is_held(NOW)
        assert not tx.upkeep.is_held(NOW + timedelta(seconds=10))
    with store.write() as tx:
        tx.upkeep.hold("backup", until=NOW + timedelta(seconds=20))
        tx.upkeep.hold("other", until=NOW + timedelta(seconds=5))
        tx.upkeep.release("other")
    with store.read() as tx:
        assert tx.upkeep.is_held(NOW + timedelta(seconds=15))
    with store.write() as tx:
        tx.upkeep.release("backup")
    with store.read() as tx:
        assert not tx.upkeep.is_held(NOW)


def _end(store: Store, ended_at: datetime | None, **changes: Any) -> str:
    status = changes.pop("status", JobStatus.COMPLETED)
    return add(store, a_job(status=status, completed_at=ended_at, **changes)).id


def _pointer() -> Checkpoint:
    return Checkpoint(key="checkpoints/x/a1-s1-b0.safetensors", sha256="0" * 64, size_bytes=1, epoch=1, step=1, attempt=1, created_at=NOW)


def test_checkpoints_of_jobs_that_ended_before_then_are_listed_oldest_first(store: Store) -> None:
    day = timedelta(days=1)
    newer = _end(store, NOW - day, checkpoint=_pointer(), status=JobStatus.FAILED)
    older = _end(store, NOW - 2 * day, checkpoint=_pointer(), status=JobStatus.CANCELLED)
    _end(store, NOW, checkpoint=_pointer())
    _end(store, NOW - day)
    for status in (JobStatus.PAUSED, JobStatus.PENDING, JobStatus.RUNNING):
        # Never of a job that may go on, whatever its row says.
        _end(store, NOW - 9 * day, checkpoint=_pointer(), status=status)
    with store.read() as tx:
        assert tx.upkeep.list_checkpoints_before(NOW) == [older, newer]
        assert tx.upkeep.list_checkpoints_before(NOW, limit=1) == [older]
        assert tx.upkeep.list_checkpoints_before(NOW, job_id=newer) == [newer]
        assert tx.upkeep.list_checkpoints_before(NOW - day, job_id=newer) == []


def test_logs_that_are_old_or_long_are_listed(store: Store) -> None:
    old, new = _end(store, NOW - timedelta(days=1)), _end(store, NOW)
    running = _end(store, None, status=JobStatus.RUNNING)
    _end(store, NOW - timedelta(days=1))
    with store.write() as tx:
        for job_id, num_lines in ((old, 2), (new, 3), (running, 4)):
            tx.logs.append(job_id, ["line"] * num_lines, now=NOW)
    with store.read() as tx:
        assert tx.upkeep.list_logs_before(NOW) == [old]
        assert tx.upkeep.list_logs_beyond(2) == sorted([new, running])
        assert tx.upkeep.list_logs_beyond(3) == [running]
        assert tx.upkeep.list_logs_beyond(4) == []
        assert tx.upkeep.list_logs_beyond(1, limit=1) == sorted([old, new, running])[:1]


def test_a_cut_log_keeps_its_newest_lines_with_their_numbers(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.logs.append(job.id, [f"line {number}" for number in range(1, 6)], now=NOW)
        assert tx.logs.cut(job.id, num_kept=2) == 3
        assert tx.logs.cut(job.id, num_kept=2) == 0
        assert tx.logs.append(job.id, ["line 6"], now=NOW) == 6
        assert tx.logs.cut("nope", num_kept=1) == 0
    with store.read() as tx:
        assert [(line.number, line.text) for line in tx.logs.find(job.id)] == [(number, f"line {number}") for number in (4, 5, 6)]
        assert tx.upkeep.list_logs_beyond(3) == []
        assert tx.upkeep.list_logs_beyond(2) == [job.id]
    with store.write() as tx:
        assert tx.logs.cut(job.id, num_kept=0) == 3
        assert tx.logs.find(job.id) == []
