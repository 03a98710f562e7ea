"""Thinning never hides an extreme or a mark, whatever the run's length."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.domain.errors import NotFoundError
from heimdall.domain.jobs import Checkpoint, Job, JobStatus, TrainingJobConfig
from heimdall.domain.metrics import VALUE_FIELDS, TrainingMetric
from heimdall.domain.summaries import Overview
from heimdall.services.metrics import MAX_POINTS, MIN_POINTS, MetricService
from heimdall.services.thinning import choose_epochs, choose_width
from heimdall.storage.memory import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def values_of(seed: int, num_rows: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {"noise": rng.normal(size=num_rows), "falling": 1 / np.arange(1, num_rows + 1), "flat": np.zeros(num_rows)}.get(kind)
    if values is None:
        return np.full(num_rows, np.nan)
    values[rng.integers(num_rows)] = 1e6
    values[rng.integers(num_rows)] = -1e6
    values[rng.random(num_rows) < rng.choice([0.0, 0.01, 0.5])] = np.nan
    return values


def overview_of(series: list[np.ndarray], named: dict[int, dict[str, str]] | None = None) -> Overview:
    """Rows as a store gives them where it has no summaries: epoch 1 is the first element."""
    columns = [[None if np.isnan(value) else float(value) for value in values] for values in series]
    kinds = {epoch: json.dumps(names) for epoch, names in (named or {}).items()}
    return Overview([], [], [(epoch, *values, kinds.get(epoch)) for epoch, values in enumerate(zip(*columns, strict=True), start=1)])


def choose(series: list[np.ndarray], max_points: int, named: dict[int, dict[str, str]] | None = None) -> list[int]:
    names = VALUE_FIELDS[: len(series)]
    finest = choose_width(1, len(series[0]), max_points)
    epochs, _ = choose_epochs(overview_of(series, named), names, 1, len(series[0]), max_points, finest)
    return epochs


def choose_plainly(overview: Overview, num_series: int, max_points: int) -> set[int]:
    """What must be kept, bucket by bucket, written the long way."""
    rows = overview.rows
    first, last = rows[0][0], rows[-1][0]
    measured = [place for place in range(1, num_series + 1) if any(row[place] is not None for row in rows)]
    width = choose_width(first, last, max_points)
    while True:
        extremes, marks = {first, last}, set()
        buckets: dict[int, list[Any]] = {}
        for row in rows:
            buckets.setdefault((row[0] - 1) // width, []).append(row)
        for bucket in buckets.values():
            for place in range(1, num_series + 1):
                finite = [(row[place], row[0]) for row in bucket if row[place] is not None]
                if finite:
                    extremes |= {min(finite)[1], min((-value, epoch) for value, epoch in finite)[1]}
                gaps = [row[0] for row in bucket if row[place] is None and place in measured]
                named = [row[0] for row in bucket if row[-1] and VALUE_FIELDS[place - 1] in json.loads(row[-1])]
                marks |= {*gaps[:1], *gaps[-1:], *named[:1], *named[-1:]}
        if len(extremes | marks) <= max_points:
            return extremes | marks
        if width > last:
            return extremes
        width *= 2


@settings(max_examples=100, deadline=None)
@given(
    num_rows=st.integers(11, 3000),
    max_points=st.integers(MIN_POINTS, 2000),
    kinds=st.lists(st.sampled_from(["noise", "falling", "flat", "absent"]), min_size=1, max_size=13),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_series_keeps_the_extremes_and_marks_of_every_bucket(num_rows: int, max_points: int, kinds: list[str], seed: int) -> None:
    series = [values_of(seed + number, num_rows, kind) for number, kind in enumerate(kinds)]
    rng = np.random.default_rng(seed)
    missing = np.flatnonzero(np.isnan(series[0]))
    named = {int(row) + 1: {VALUE_FIELDS[0]: "nan"} for row in missing[rng.random(len(missing)) < 0.3]}
    kept = choose(series, max_points, named)
    assert kept == sorted(choose_plainly(overview_of(series, named), len(series), max_points))
    assert {1, num_rows} <= set(kept)
    for values in series:
        if np.isfinite(values).any():
            assert np.nanmin(values[np.array(kept) - 1]) == np.nanmin(values)
            assert np.nanmax(values[np.array(kept) - 1]) == np.nanmax(values)
    assert len(kept) <= max(max_points, 2 * len(series) + 2)


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(2000, 20_000), spike=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 1000))
def test_a_single_spike_is_drawn_wherever_it_is(num_rows: int, spike: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=num_rows)
    at = int(spike * num_rows)
    values[at] = 1e3
    others = [np.random.default_rng(seed + number).normal(size=num_rows) for number in range(1, 4)]
    assert at + 1 in choose([values, *others], 800)


def test_the_size_of_the_run_does_not_change_the_size_of_the_answer() -> None:
    sizes = [len(choose([values_of(n, rows, "noise") for n in range(13)], 800)) for rows in (2000, 20_000, 50_000)]
    assert all(300 <= size <= 800 for size in sizes), sizes


def test_fewer_series_are_seen_at_a_finer_resolution() -> None:
    series = [values_of(n, 20_000, "noise") for n in range(13)]
    assert choose_width(1, 20_000, 800) < 20_000 // 400 * 2
    assert len({(epoch - 1) // 128 for epoch in choose(series[:1], 800)}) == 157


def test_the_edges_of_a_gap_are_kept() -> None:
    values = np.sin(np.arange(5000) / 50)
    values[2100:2117] = np.nan
    assert {2101, 2117} <= set(choose([values, np.arange(5000.0)], 100))


class Run:
    """A job with metrics in a memory store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.service = MetricService(store=self.store)
        config = TrainingJobConfig(job_name="run", dataset_id="d", epochs=10_000)
        with self.store.write() as tx:
            tx.jobs.add(Job(id="run", name="run", created_at=NOW, config=config, total_epochs=config.epochs, dataset_id="d"))

    def put(self, first: int, last: int, *, attempt: int = 1, checkpoint: int | None = None, **values: Any) -> None:
        with self.store.write() as tx:
            for epoch in range(first, last + 1):
                tx.metrics.put(
                    TrainingMetric(job_id="run", epoch=epoch, timestamp=NOW, attempt=attempt, **{"val_loss": 1 / epoch, **values})
                )
            job = tx.jobs.get("run")
            pointer = None
            if checkpoint is not None:
                pointer = Checkpoint(key="k", sha256="0", size_bytes=1, epoch=checkpoint, step=1, attempt=attempt, created_at=NOW)
            changed = job.evolve(
                current_epoch=last, attempt=attempt, status=JobStatus.RUNNING, checkpoint=pointer or job.checkpoint, version=job.version + 1
            )
            tx.jobs.save(changed, expected_version=job.version)

    def epochs(self, **options: Any) -> list[int]:
        return [row[0] for row in self.rows(**options)]

    def rows(self, **options: Any) -> list[tuple[Any, ...]]:
        return [row for columns in self.service.iterate("run", **options) for row in zip(*columns, strict=True)]


def test_a_long_run_is_thinned_and_a_short_one_is_whole() -> None:
    run = Run()
    run.put(1, 90)
    assert run.epochs(max_points=90) == list(range(1, 91))
    thinned = run.epochs(max_points=20)
    assert len(thinned) <= 20
    assert (thinned[0], thinned[-1]) == (1, 90)
    assert run.epochs(since_epoch=40, until_epoch=45, max_points=10) == list(range(41, 46))
    assert len(run.epochs(since_epoch=40, until_epoch=80, max_points=10)) <= 10
    assert run.epochs(since_epoch=90, max_points=10) == []


def test_a_run_with_few_epochs_far_apart_is_whole() -> None:
    run = Run()
    for epoch in (1, 5000, 9000):
        run.put(epoch, epoch)
    assert run.epochs(max_points=10) == [1, 5000, 9000]


def test_rows_carry_the_series_asked_for() -> None:
    run = Run()
    run.put(1, 100)
    (first, *_) = run.rows(series=("val_loss", "grad_norm"))
    assert first == (1, "2026-03-01T00:00:00.000000Z", 1, 1.0, None, None)
    assert len(run.rows(series=("val_loss",), max_points=20)[0]) == 5


def test_epochs_written_again_after_a_resume_replace_the_older_ones() -> None:
    run = Run()
    run.put(1, 500, checkpoint=300)
    run.put(301, 350, attempt=2, val_loss=77.0)
    assert 77.0 in {row[3] for row in run.rows(series=("val_loss",), max_points=50)}
    run.put(351, 800, attempt=2, checkpoint=800, val_loss=55.0)
    assert {row[2] for row in run.rows(max_points=50)} == {1, 2}


def test_the_version_of_a_job_grows_with_its_rows() -> None:
    run = Run()
    with run.service.open("run") as reading:
        before = reading.version
    run.put(1, 2)
    with run.service.open("run") as reading:
        assert reading.version > before


def test_an_unknown_job_is_not_found() -> None:
    run = Run()
    with pytest.raises(NotFoundError):
        list(run.service.iterate("other"))
    with pytest.raises(NotFoundError), run.service.open("other"):
        pass
    with pytest.raises(NotFoundError):
        list(run.service.iterate_csv("other"))


def test_csv_holds_every_epoch_and_names_what_is_not_finite() -> None:
    run = Run()
    run.put(1, 2500)
    run.put(2501, 2501, val_loss=-math.inf, train_loss=math.nan)
    rows = list(csv.DictReader(io.StringIO(b"".join(run.service.iterate_csv("run")).decode())))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 2502))
    assert list(rows[0]) == ["epoch", "timestamp", "attempt", *VALUE_FIELDS]
    assert [float(row["val_loss"]) for row in rows[:-1]] == [1 / epoch for epoch in range(1, 2501)]
    assert (rows[-1]["val_loss"], rows[-1]["train_loss"], rows[-1]["grad_norm"]) == ("-inf", "nan", "")


def test_limits_make_sense() -> None:
    assert 2 < MIN_POINTS < MAX_POINTS
