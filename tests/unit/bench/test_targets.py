from __future__ import annotations

import pytest

from bench.run_all import SCRIPTS, Results, say, say_target, write_lines
from bench.sections import FIGURES, replace_section
from bench.targets import LIMITS, ROWS, Measured, Row, find

VIEW = Row("view", "reads", "reads", "view, 5 series, 1000 ", "ms", most=10, most_p95=25)
RATE = Row("rate", "rates", "rates", "captures", "/s", least=300)


def test_every_row_is_measured_by_a_script_that_make_bench_runs():
    assert {row.script for row in ROWS} == set(SCRIPTS)


def test_a_row_is_found_by_the_beginning_of_its_name_and_not_by_a_longer_number():
    figures = [
        {
            "figure": "reads, ms (SQLite)",
            "rows": {"view, 5 series, 100000 epochs": {"median": 9}, "view, 5 series, 1000 epochs": {"median": 7}},
        }
    ]
    assert find(VIEW, figures) == Measured(7, None)
    assert find(RATE, figures) is None


@pytest.mark.parametrize(
    ("row", "measured", "is_met"),
    [
        (VIEW, Measured(10, 25), True),
        (VIEW, Measured(10.000000000000002, 25), True),
        (VIEW, Measured(10.1, 11), False),
        (VIEW, Measured(9, 25.1), False),
        (VIEW, Measured(9, None), False),
        (RATE, Measured(300, None), True),
        (RATE, Measured(299, 400), False),
    ],
)
def test_a_target_is_met_only_where_each_of_its_limits_is(row, measured, is_met):
    assert measured.meets(row) is is_met
    assert ("missed" in say(measured, row)) is not is_met


def test_a_missed_row_stays_in_the_table_and_is_counted():
    results = Results()
    results.figures = [
        {"figure": "reads, ms (SQLite)", "rows": {"view, 5 series, 1000 epochs": {"median": 7.0, "p95": 8.0}}},
        {"figure": "reads, ms (PostgreSQL)", "rows": {"view, 5 series, 1000 epochs": {"median": 11.0, "p95": 12.0}}},
    ]
    about = {"at": "2026-11-28T00:00", "machine": "m", "load_at_start": 0.1, "versions": "v"}
    lines = write_lines(results, about)
    assert "Targets missed: 1." in lines[0]
    assert next(line for line in lines if "1 000 epochs" in line).count("**missed**") == 1
    assert say_target(VIEW) == "at most 10, p95 25"


def test_a_figure_stands_beside_what_the_machine_itself_takes_whatever_the_machine():
    assert {limit.of for limit in LIMITS} | {limit.raw for limit in LIMITS} <= {row.what for row in ROWS}
    units = {row.what: row.unit for row in ROWS}
    assert all(units[limit.of] == units[limit.raw] for limit in LIMITS)
    results = Results()
    results.figures = [
        {"figure": "the machine itself", "rows": {"bare Starlette, launch to first answer, s": {"median": 0.62}}},
        {"figure": "start and stop", "rows": {"API alone: ready_s": {"median": 1.55}}},
    ]
    about = {"at": "2026-11-28T00:00", "machine": "m", "load_at_start": 0.1, "versions": "v"}
    lines = write_lines(results, about)
    assert "Targets missed: 1." in lines[0]
    assert lines[-1] == "| API alone, launch to ready | bare Starlette, launch to first answer | 2.5 |  | at most 2.58 |"
    results.figures[1]["rows"]["API alone: ready_s"]["median"] = 1.7
    assert "| 2.74 **missed** |" in write_lines(results, about)[-1]


def test_a_section_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "figures.md"
    page.write_text("# A\n\n<!-- begin ours, written by a script -->\nold\n<!-- end ours -->\n\nkept\n")
    replace_section(page, "ours", ["new"])
    replace_section(page, "ours", ["newer"])
    assert page.read_text() == "# A\n\n<!-- begin ours, written by a script -->\n\nnewer\n\n<!-- end ours -->\n\nkept\n"
    with pytest.raises(ValueError, match="must have the marks"):
        replace_section(page, "peers", [])


def test_the_page_has_a_place_for_every_script_that_writes_there():
    text = FIGURES.read_text()
    for name in ("ours", "peers", "growth", "soak"):
        assert text.count(f"<!-- begin {name}, written by a script -->") == text.count(f"<!-- end {name} -->") == 1
