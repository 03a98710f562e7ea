"""What every store promises of what grows: metrics, the event log, text logs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from heimdall.domain.errors import (
    ConflictError,
    NotFoundError,
)
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Job
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.ports import Store
from tests.contract.samples import NOW, a_job, a_metric, add

# Metrics


def test_metrics_come_back_in_order_and_as_they_were(store: Store) -> None:
    job = add(store, a_job())
    rows = [a_metric(job.id, epoch, val_loss=epoch / 7, val_error_median_m=100.0) for epoch in (3, 1, 2)]
    with store.write() as tx:
        for row in rows:
            tx.metrics.put(row)
    with store.read() as tx:
        assert tx.metrics.find(job.id) == sorted(rows, key=lambda row: row.epoch)
        assert [row.epoch for row in tx.metrics.find(job.id, since_epoch=1)] == [2, 3]
        assert [row.epoch for row in tx.metrics.find(job.id, since_epoch=1, until_epoch=2)] == [2]
        assert [row.epoch for row in tx.metrics.find(job.id, since_epoch=2**70)] == []
        assert [row.epoch for row in tx.metrics.list_epochs(job.id, [3, 1, 9])] == [1, 3]
        assert [row.epoch for row in tx.metrics.iterate(job.id, chunk=2)] == [1, 2, 3]
        assert [row.epoch for row in tx.metrics.iterate(job.id, chunk=3)] == [1, 2, 3]
        assert tx.metrics.find("nope") == []


def test_the_later_attempt_wins_whatever_the_order(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.metrics.put(a_metric(job.id, 1, attempt=2, val_loss=2.0))
        tx.metrics.put(a_metric(job.id, 1, attempt=1, val_loss=1.0))
        assert [row.val_loss for row in tx.metrics.find(job.id)] == [2.0]
        tx.metrics.put(a_metric(job.id, 1, attempt=2, val_loss=2.5))
        tx.metrics.put(a_metric(job.id, 1, attempt=3, val_loss=None))
        assert [(row.attempt, row.val_loss) for row in tx.metrics.find(job.id)] == [(3, None)]


def test_values_that_are_no_numbers_keep_their_kind(store: Store) -> None:
    job = add(store, a_job())
    row = a_metric(job.id, 1, val_loss=float("nan"), grad_norm=float("inf"), val_nll=float("-inf"))
    with store.write() as tx:
        tx.metrics.put(row)
    with store.read() as tx:
        found = tx.metrics.find(job.id)[0]
    assert found == row
    assert found.val_loss is None
    assert found.non_finite == {"val_loss": "nan", "grad_norm": "inf", "val_nll": "-inf"}


def test_columns_are_equally_long_with_none_for_null(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.metrics.put(a_metric(job.id, 1, val_loss=0.5))
        tx.metrics.put(a_metric(job.id, 2))
    with store.read() as tx:
        columns = tx.metrics.columns(job.id)
        assert tx.metrics.columns(job.id, since_epoch=5) == {name: [] for name in ("epoch", *VALUE_FIELDS)}
    assert set(columns) == {"epoch", *VALUE_FIELDS}
    assert columns["epoch"] == [1, 2]
    assert columns["val_loss"] == [0.5, None]


def test_metrics_are_copied_up_to_an_epoch_and_cut_after_one(store: Store) -> None:
    source, target = add(store, a_job()), add(store, a_job())
    with store.write() as tx:
        for epoch in range(1, 6):
            tx.metrics.put(a_metric(source.id, epoch, val_loss=float("nan") if epoch == 2 else 1.0))
    with store.write() as tx:
        assert tx.metrics.copy(source.id, target.id, until_epoch=3) == 3
        assert [row.evolve(job_id=source.id) for row in tx.metrics.find(target.id)] == tx.metrics.find(source.id, until_epoch=3)
        assert tx.metrics.delete_after(target.id, 1) == 2
        assert [row.epoch for row in tx.metrics.find(target.id)] == [1]


def test_rows_of_a_job_that_is_gone_are_refused(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no longer exists"), store.write() as tx:
        tx.metrics.put(a_metric("gone", 1))
    with pytest.raises(NotFoundError, match="no longer exists"), store.write() as tx:
        tx.logs.append("gone", ["x"], now=NOW)


# Events and logs


def test_events_are_numbered_in_the_order_of_commits(store: Store) -> None:
    a, b = add(store, a_job()), add(store, a_job())
    payload = {"job": {"name": "ü", "list": [1, 2.5, None]}, "nan": None}
    with store.write() as tx:
        tx.events.append(a.id, seq=1, type=EventType.UPDATED, payload=payload, now=NOW)
        assert [event.seq for event in tx.events.list_of_job(a.id)] == [1]
        tx.events.append(a.id, seq=2, type=EventType.STARTED, payload={}, now=NOW)
    with store.write() as tx:
        tx.events.append(b.id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)
    with store.read() as tx:
        everything = tx.events.list_all()
        assert [(event.position, event.job_id, event.seq) for event in everything] == [(1, a.id, 1), (2, a.id, 2), (3, b.id, 1)]
        assert everything[0].payload == payload
        assert everything[0].created_at == NOW
        assert everything[0].type is EventType.UPDATED
        assert [event.position for event in tx.events.list_all(since=1, limit=1)] == [2]
        assert [event.seq for event in tx.events.list_of_job(a.id, since=1)] == [2]
        assert tx.events.list_of_job(a.id, since=2**80) == []
        assert tx.events.list_all(since=2**80) == []
        assert tx.events.last_position() == 3


def test_a_number_of_a_jobs_log_is_given_once(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.events.append(job.id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)
    with pytest.raises(ConflictError), store.write() as tx:
        tx.events.append(job.id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)
    with store.write() as tx:
        tx.events.append(job.id, seq=2, type=EventType.UPDATED, payload={}, now=NOW)
        with pytest.raises(ConflictError):
            tx.events.append(job.id, seq=2, type=EventType.UPDATED, payload={}, now=NOW)
    with store.read() as tx:
        assert len(tx.events.list_all()) == 2


def test_a_polling_reader_never_steps_over_an_event(backend: Any) -> None:
    """Several writers commit at once; a reader that asks for 'all after the last I saw' must get every one, in order."""
    num_writers, num_each = 4, 25
    jobs = [add(backend.open(), a_job()) for _ in range(num_writers)]
    reader = backend.open()
    is_done = threading.Event()
    seen: list[tuple[int, str, int]] = []

    def write(job: Job) -> None:
        store = backend.open()
        for seq in range(1, num_each + 1):
            with store.write() as tx:
                current = tx.jobs.get(job.id, lock=True)
                tx.events.append(job.id, seq=seq, type=EventType.PROGRESS, payload={"n": seq}, now=NOW)
                tx.jobs.save(current.evolve(version=current.version + 1, last_seq=seq), expected_version=current.version)

    def poll() -> None:
        while True:
            is_last_look = is_done.is_set()
            with reader.read() as tx:
                found = tx.events.list_all(since=seen[-1][0] if seen else 0)
            seen.extend((event.position, event.job_id, event.seq) for event in found)
            if is_last_look:
                return

    threads = [threading.Thread(target=write, args=(job,)) for job in jobs]
    watcher = threading.Thread(target=poll)
    for thread in [watcher, *threads]:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    is_done.set()
    watcher.join(timeout=30)
    assert len(seen) == num_writers * num_each
    assert [position for position, _, _ in seen] == sorted({position for position, _, _ in seen})
    for job in jobs:
        assert [seq for _, job_id, seq in seen if job_id == job.id] == list(range(1, num_each + 1))


def test_log_lines_are_numbered_cut_and_kept_in_order(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        assert tx.logs.append(job.id, ["one", "x" * 5000], now=NOW) == 2
        assert tx.logs.append(job.id, [], now=NOW) == 2
        assert tx.logs.append(job.id, ["nul \x00 here"], now=NOW) == 3
    with store.read() as tx:
        lines = tx.logs.find(job.id)
        assert [(line.number, len(line.text)) for line in lines] == [(1, 3), (2, 4000), (3, 10)]
        assert lines[2].text == "nul \ufffd here"
        assert lines[0].timestamp == NOW
        assert [line.number for line in tx.logs.find(job.id, since=1, limit=1)] == [2]
        assert tx.logs.find("nope") == []
