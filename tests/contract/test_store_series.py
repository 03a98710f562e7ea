"""What every store promises of what grows: metrics, the event log, text logs."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from sqlalchemy import insert

from heimdall.domain.errors import (
    ConflictError,
    NotFoundError,
)
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Job
from heimdall.domain.metrics import VALUE_FIELDS, RawColumns, TrainingMetric
from heimdall.domain.ports import Store
from heimdall.domain.summaries import Overview
from heimdall.services.metrics import MetricReading, MetricService
from heimdall.services.thinning import choose_epochs, choose_width
from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.tables import metrics
from tests.contract.conftest import Backend
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


def rows_of(chunks: Iterable[RawColumns]) -> list[Any]:
    return [row for columns in chunks for row in zip(*columns, strict=True)]


def test_plain_rows_are_what_the_entities_say(store: Store) -> None:
    job = add(store, a_job())
    rows = [a_metric(job.id, epoch, val_loss=epoch / 7, grad_norm=float("nan") if epoch == 2 else 1e-300) for epoch in (3, 1, 2)]
    moved = a_metric(job.id, 4, timestamp=datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=timezone(timedelta(hours=2))))
    with store.write() as tx:
        for row in (*rows, moved):
            tx.metrics.put(row)
    with store.read() as tx:
        everything = rows_of(tx.metrics.iterate_columns(job.id))
        for raw, row in zip(everything, tx.metrics.find(job.id), strict=True):
            written = row.model_dump(mode="json")
            assert raw[:3] == (row.epoch, written["timestamp"], row.attempt)
            assert raw[3:-1] == tuple(written[name] for name in VALUE_FIELDS)
            assert orjson.loads(raw[-1] or "{}") == row.non_finite
        some = rows_of(tx.metrics.iterate_columns(job.id, series=("val_loss",), since_epoch=1, until_epoch=3))
        assert [(row[0], row[3], len(row)) for row in some] == [(2, 2 / 7, 5), (3, 3 / 7, 5)]
        assert rows_of([tx.metrics.list_columns(job.id, [3, 9, 2], series=("val_loss",))]) == some
        assert tx.metrics.list_columns(job.id, []) == []
        assert rows_of([tx.metrics.list_columns(job.id, [4, 1, 3, 3])]) == [everything[0], *everything[2:]]
        assert rows_of([tx.metrics.list_columns(job.id, [4, 900, 1])]) == [everything[0], everything[3]]
        assert tx.metrics.find_bounds(job.id) == (1, 4)
        assert tx.metrics.find_bounds(job.id, since_epoch=1, until_epoch=3) == (2, 3)
        assert tx.metrics.find_bounds(job.id, since_epoch=4) is None


def test_a_reader_that_gives_up_leaves_nothing_behind(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.metrics.put(*(a_metric(job.id, epoch) for epoch in range(1, 4101)))
    begun = []

    def give_up(error: Exception | None) -> None:
        with store.read() as tx:
            begun.append(tx.metrics.iterate_columns(job.id))
            assert next(begun[-1])[0][0] == 1
            if error is not None:
                raise error

    for _ in range(2):
        give_up(None)
        with pytest.raises(ZeroDivisionError):
            give_up(ZeroDivisionError())
    with store.read() as tx:
        assert len(rows_of(tx.metrics.iterate_columns(job.id))) == 4100


def test_a_second_question_amid_the_rows_of_a_first_is_answered_or_refused_and_never_waits(store: Store, backend: Backend) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.metrics.put(*(a_metric(job.id, epoch) for epoch in range(1, 4101)))
    with store.read() as tx:
        rows = tx.metrics.iterate_columns(job.id)
        next(rows)
        refused = pytest.raises(RuntimeError, match="still being fetched")
        with refused if backend.kind == "postgresql" else nullcontext():
            assert list(tx.metrics.list_columns(job.id, [7])[0]) == [7]
        list(rows)
        assert list(tx.metrics.list_columns(job.id, [7])[0]) == [7]


def test_an_overview_is_never_out_of_date(store: Store) -> None:
    """Appended, out of order, written again by a later attempt, cut, copied: a view is the one that the rows alone give."""
    rng = random.Random(7)
    job, copied = add(store, a_job()), add(store, a_job())

    def row(epoch: int, attempt: int) -> TrainingMetric:
        values = {"val_loss": rng.choice([rng.random(), 0.5, float("nan"), None]), "grad_norm": rng.random()}
        return a_metric(job.id, epoch, attempt=attempt, **values)

    def check(job_id: str, series: tuple[str, ...]) -> None:
        with store.read() as tx:
            bounds = tx.metrics.find_bounds(job_id)
            assert bounds is not None
            for since, until in ((bounds[0] - 1, bounds[1]), (rng.randrange(200), rng.randrange(300, bounds[1]))):
                chunks = tx.metrics.iterate_columns(job_id, series=series, since_epoch=since, until_epoch=until)
                rows = [(epoch, *rest) for epoch, _, _, *rest in rows_of(chunks)]
                for max_points in (20, 300):
                    ends = (rows[0][0], rows[-1][0], max_points)
                    finest = choose_width(*ends)
                    plain = choose_epochs(Overview([], [], rows), series, *ends, finest)
                    found = tx.metrics.overview(job_id, series=series, since_epoch=since, until_epoch=until, max_width=finest)
                    assert choose_epochs(found, series, *ends, finest) == plain
                    if len(rows) > max_points:
                        reading = MetricReading(tx, job_id)
                        view = reading.iterate(series=series, since_epoch=since, until_epoch=until, max_points=max_points)
                        assert [row[0] for row in rows_of(view)] == plain[0]

    few = ("val_loss", "grad_norm", "val_nll")
    epochs = list(range(1, 1000))
    epochs[100:110] = reversed(epochs[100:110])
    del epochs[500:520]
    with store.write() as tx:
        for epoch in epochs:
            tx.metrics.put(row(epoch, 1))
    check(job.id, few)
    check(job.id, VALUE_FIELDS)
    for first, last in ((301, 310), (311, 700), (701, 1100)):
        with store.write() as tx:
            for start in range(first, last + 1, 50):
                tx.metrics.put(*(row(epoch, 2) for epoch in range(start, min(start + 50, last + 1))))
            tx.metrics.put(row(17, 1))
        check(job.id, few)
        check(job.id, VALUE_FIELDS)
    with store.write() as tx:
        tx.metrics.copy(job.id, copied.id, until_epoch=777)
        tx.metrics.delete_after(job.id, 611)
    check(job.id, few)
    check(job.id, VALUE_FIELDS)
    check(copied.id, few)
    check(copied.id, VALUE_FIELDS)
    with store.write() as tx:
        for epoch in range(612, 640):
            tx.metrics.put(row(epoch, 3))
    check(job.id, few)
    check(job.id, VALUE_FIELDS)


def test_rows_that_came_without_summaries_get_them(backend: Backend) -> None:
    if backend.kind == "memory":
        return  # it has none
    store = backend.open()
    job = add(store, a_job())
    num_epochs = 10_100
    engine = open_engine(parse_database_url(backend.url), 5)
    with engine.begin() as connection:
        common = {"job_id": job.id, "timestamp": NOW, "attempt": 1}
        connection.execute(insert(metrics), [{**common, "epoch": epoch, "val_loss": 1 / epoch} for epoch in range(1, num_epochs + 1)])
    engine.dispose()

    def view() -> list[Any]:
        return rows_of(MetricService(store=store).iterate(job.id, series=("val_loss",), max_points=50))

    def look() -> Overview:
        with store.read() as tx:
            return tx.metrics.overview(job.id, series=("val_loss",), since_epoch=0, until_epoch=num_epochs, max_width=512)

    assert len(look().rows) == num_epochs
    first = view()
    found = look()
    assert sorted(found.first_epochs) == [*range(1, 9729, 512), 9729, 9857, 9985, 10_017, 10_049, 10_081, 10_089]
    assert [row[0] for row in found.rows] == [10_097, 10_098, 10_099, 10_100]
    assert view() == first


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
    with store.read(settled=True) as tx:
        everything = tx.events.read_page().events
        assert [(event.position, event.job_id, event.seq) for event in everything] == [(1, a.id, 1), (2, a.id, 2), (3, b.id, 1)]
        assert everything[0].payload == payload
        assert everything[0].created_at == NOW
        assert everything[0].type is EventType.UPDATED
        assert [event.position for event in tx.events.read_page(since=1, limit=1).events] == [2]
        assert [event.seq for event in tx.events.list_of_job(a.id, since=1)] == [2]
        assert tx.events.list_of_job(a.id, since=2**80) == []
        assert tx.events.read_page(since=2**80).events == []
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
    with store.read(settled=True) as tx:
        assert len(tx.events.read_page().events) == 2


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
            with reader.read(settled=True) as tx:
                found = tx.events.read_page(since=seen[-1][0] if seen else 0).events
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
