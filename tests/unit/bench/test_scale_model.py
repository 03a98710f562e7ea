"""The model of what is past one machine: its arithmetic, and that its queues run away where the arithmetic says so."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from bench.scale_model import MEASURED, Demand, plan, saturation, simulate
from bench.training_profile import Ledger

STAGES = replace(MEASURED, commits_per_s=200, free_commits_per_s=2000, bulk_rows_per_s=10_000, tail_us=10, delivery_us=10, epoch_bytes=1000)


def test_the_plan_counts_nodes() -> None:
    rows = plan(STAGES, Demand(jobs=1000, rows_per_s=100_000, viewers=10_000))
    assert round(rows["databases, for their commits"]["today"], 1) == round(100_000 / 200 / 0.6, 1)
    assert round(rows["databases, for their commits"]["planned"], 3) == round(1000 / 2000 / 0.6, 3)
    assert rows["databases, for their rows"]["planned"] == 10
    # 10 000 people who each follow a job of 100 rows/s; 4 a second are enough for a person.
    assert round(rows["cores to write to sockets"]["today"] / rows["cores to write to sockets"]["planned"], 6) == 25
    assert rows["TB a day"]["today"] == 8.64


def test_the_stage_that_is_full_first_is_the_one_that_lags() -> None:
    full = saturation(STAGES, viewers_a_job=10, rate_per_job_s=1)
    assert min(full, key=full.__getitem__) == "commit"
    assert full["commit"] == 200
    below = simulate(STAGES, jobs=100, viewers_a_job=10, rate_per_job_s=1)
    above = simulate(STAGES, jobs=300, viewers_a_job=10, rate_per_job_s=1)
    assert below["lag_p95_ms"] < 100 < 1000 < above["lag_p95_ms"]
    assert (below["commit_percent"], above["commit_percent"]) == (50, 150)


def test_a_part_is_charged_with_its_own_time_only() -> None:
    ticks = count()
    ledger = Ledger((lambda: float(next(ticks)), lambda: 0.0))
    with ledger.part("outer", "steps"), ledger.part("inner"):
        next(ticks)
    # outer begins at 0, inner at 1, it ends at 3, outer at 4
    assert {name: spent[0] for name, spent in ledger.spent.items()} == {"steps: inner": 2.0, "steps: outer": 2.0}
