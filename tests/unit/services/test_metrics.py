"""Thinning never hides an extreme, and what is remembered of a run is never out of date."""

from __future__ import annotations

import csv
import io
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
from heimdall.services.metrics import MAX_POINTS, MIN_POINTS, MetricService
from heimdall.services.thinning import choose_rows
from heimdall.storage.memory import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def values_of(seed: int, num_rows: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {"noise": rng.normal(size=num_rows), "falling": 1 / np.arange(1, num_rows + 1), "flat": np.zeros(num_rows)}[kind]
    values[rng.integers(num_rows)] = 1e6
    values[rng.integers(num_rows)] = -1e6
    values[rng.random(num_rows) < rng.choice([0.0, 0.01, 0.5])] = np.nan
    return values


@settings(max_examples=150, deadline=None)
@given(
    num_rows=st.integers(1, 6000),
    max_points=st.integers(MIN_POINTS, 2000),
    kinds=st.lists(st.sampled_from(["noise", "falling", "flat"]), min_size=1, max_size=13),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_series_keeps_its_extremes_its_first_and_its_last(num_rows: int, max_points: int, kinds: list[str], seed: int) -> None:
    series = [values_of(seed + number, num_rows, kind) for number, kind in enumerate(kinds)]
    rows = choose_rows(series, max_points)
    assert list(rows) == sorted(set(rows))
    assert {0, num_rows - 1} <= set(rows)
    for values in series:
        if np.isfinite(values).any():
            assert np.nanmin(values[rows]) == np.nanmin(values)
            assert np.nanmax(values[rows]) == np.nanmax(values)
    assert len(rows) <= max(max_points, 2 * len(series) + 2)
    if num_rows <= max_points:
        assert len(rows) == num_rows


@settings(max_examples=50, deadline=None)
@given(num_rows=st.integers(2000, 20_000), spike=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 1000))
def test_a_single_spike_is_drawn_wherever_it_is(num_rows: int, spike: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=num_rows)
    at = int(spike * num_rows)
    values[at] = 1e3
    others = [np.random.default_rng(seed + number).normal(size=num_rows) for number in range(1, 13)]
    assert at in choose_rows([values, *others], 800)


def test_the_size_of_the_run_does_not_change_the_size_of_the_answer() -> None:
    sizes = [len(choose_rows([values_of(n, rows, "noise") for n in range(13)], 800)) for rows in (2000, 20_000, 100_000)]
    assert all(300 <= size <= 800 for size in sizes), sizes


def test_the_edges_of_a_gap_are_kept() -> None:
    values = np.sin(np.arange(5000) / 50)
    values[2100:2117] = np.nan
    assert {2100, 2116} <= set(choose_rows([values, np.arange(5000.0)], 100))


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

    def expected(self, max_points: int) -> list[TrainingMetric]:
        """What a service that remembers nothing answers."""
        return MetricService(store=self.store).find("run", max_points=max_points)


def test_a_long_run_is_thinned_and_a_short_one_is_whole() -> None:
    run = Run()
    run.put(1, 90)
    assert [row.epoch for row in run.service.find("run", max_points=90)] == list(range(1, 91))
    thinned = run.service.find("run", max_points=20)
    assert len(thinned) <= 20
    assert (thinned[0].epoch, thinned[-1].epoch) == (1, 90)
    assert run.service.find("run", since_epoch=40, until_epoch=45, max_points=10) == run.service.find("run")[40:45]
    assert len(run.service.find("run", since_epoch=40, until_epoch=80, max_points=10)) <= 10
    assert run.service.find("run", since_epoch=90, max_points=10) == []


def test_a_growing_run_is_seen_with_its_newest_epochs() -> None:
    run = Run()
    run.put(1, 500, checkpoint=490)
    assert run.service.find("run", max_points=50)[-1].epoch == 500
    run.put(501, 700, checkpoint=700, val_loss=9.0)
    answer = run.service.find("run", max_points=50)
    assert answer[-1].epoch == 700
    assert answer == run.expected(50)


def test_epochs_written_again_after_a_resume_replace_what_was_remembered() -> None:
    run = Run()
    run.put(1, 500, checkpoint=300)
    run.service.find("run", max_points=50)
    run.put(301, 350, attempt=2, val_loss=77.0)
    assert 77.0 in {row.val_loss for row in run.service.find("run", max_points=50)}
    run.put(351, 800, attempt=2, checkpoint=800, val_loss=55.0)
    answer = run.service.find("run", max_points=50)
    assert answer == run.expected(50)
    assert {row.attempt for row in answer} == {1, 2}


def test_an_unknown_job_is_not_found() -> None:
    run = Run()
    with pytest.raises(NotFoundError):
        run.service.find("other")
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
