"""The model of what is past one machine: its arithmetic, its queues, and that the page has its tables."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import count

from bench.scale_model import PAGE, Demand, keep, make_dearer, number, plan, saturation, simulate, write_sections
from bench.scale_stages import Stages
from bench.training_profile import Ledger

STAGES = replace(
    Stages(**{field.name: 0.0 for field in fields(Stages)}),
    lone_ms=5,
    epochs_per_s=200,
    behind_epochs_per_s=2000,
    database_ms=0.6,
    batch_database_ms=6,
    copy_us=6,
    epoch_bytes=1000,
    row_bytes=300,
    summary_bytes=100,
    wal_bytes=1000,
    batch_wal_bytes=10_000,
    tail_us=10,
    delivery_us=10,
    frame_bytes=500,
    socket_kb=50,
)
DEMAND = Demand(jobs=1000, rows_per_s=100_000, viewers=10_000)


def test_the_plan_counts_nodes() -> None:
    rows = plan(STAGES, DEMAND)
    # 100 000 transactions of 0.6 ms, 1000 of 6 ms, 1000 of 0.6 ms and a hundred rows of 6 us; 60 % of a node's time.
    cores = {name: round(value, 6) for name, value in rows["database cores"].items()}
    assert cores == {"today": 100, "planned": 10, "with COPY": 2}
    assert rows["database nodes of 16 cores"] == {"today": 7, "planned": 1, "with COPY": 1}
    assert rows["WAL to one set of replicas, Mbit/s"]["today"] == 800
    # 10 000 people who each follow a job of 100 rows/s; 4 a second are enough for a person.
    frames = rows["frames to sockets a second"]
    assert (frames["today"], frames["planned"]) == (1_000_000, 40_000)
    assert rows["network to sockets, Mbit/s"]["planned"] == 160
    assert rows["API processes (a core each) for sockets"]["planned"] == 1
    # A row, and an event of 700 bytes for each or for a hundred.
    assert round(rows["disk, TB a day"]["today"], 6) == 8.64
    assert round(rows["disk, TB a day"]["planned"], 6) == round(86_400 * (100_000 * 300 + 1000 * 700) / 1e12, 6)


def test_what_is_kept_are_the_summaries_and_one_row_in_a_hundred() -> None:
    kept = keep(STAGES, DEMAND)
    name = "disk for ever: summaries and one row in a hundred, TB a day"
    assert round(kept["all"][name], 6) == round(86_400 * 100_000 * (100 + 2) / 1e12, 6)
    assert round(kept["each of 16"][name] * 16, 6) == round(kept["all"][name], 6)


def test_twice_the_cost_is_half_the_rate() -> None:
    dearer = make_dearer(STAGES, 2)
    assert (dearer.epochs_per_s, dearer.delivery_us, dearer.database_ms, dearer.row_bytes) == (100, 20, 1.2, 300)


def test_a_database_that_is_full_gathers_epochs_and_the_lag_grows_only_past_that() -> None:
    full = saturation(STAGES, viewers_a_job=10, rate_per_job_s=1)
    assert list(full.values()) == [200, 2000, 100_000, 1e6 / 110, 97 / 3, 16 / 0.0006]
    below, above, beyond = (simulate(STAGES, jobs=jobs, viewers_a_job=10, rate_per_job_s=1) for jobs in (100, 600, 4000))
    assert below["lag_p95_ms"] < 100
    assert 0.45 < below["database_percent"] / 100 < 0.55
    assert below["epochs a transaction"] < 1.1
    assert 1000 < above["lag_p95_ms"] < 10_000  # some jobs' turns, not the whole of what came
    assert above["epochs a transaction"] > 2
    assert beyond["lag_p95_ms"] > 10_000


def test_the_page_has_the_tables_that_follow_from_what_was_measured() -> None:
    text = PAGE.read_text()
    for name, lines in write_sections().items():
        begin = f"<!-- begin scale {name}, written by a script -->"
        assert "\n".join([begin, "", *lines, "", f"<!-- end scale {name} -->"]) in text, name


def test_numbers_keep_the_digits_that_matter() -> None:
    assert [number(value) for value in (0, 0.0256, 3.14, 14.7, 512.4, 19_780, 1e6)] == [
        "-",
        "0.026",
        "3.1",
        "15",
        "512",
        "19 800",
        "1 000 000",
    ]


def test_a_part_is_charged_with_its_own_time_only() -> None:
    ticks = count()
    ledger = Ledger((lambda: float(next(ticks)), lambda: 0.0))
    with ledger.part("outer", "steps"), ledger.part("inner"):
        next(ticks)
    # outer begins at 0, inner at 1, it ends at 3, outer at 4
    assert {name: spent[0] for name, spent in ledger.spent.items()} == {"steps: inner": 2.0, "steps: outer": 2.0}
