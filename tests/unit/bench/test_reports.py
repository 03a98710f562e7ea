"""What the benchmarks say about what they measured: pure functions, tested without measuring anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.beside_peers import Comparison
from bench.heap import sum_kinds
from bench.peers.measuring import QUICK, Sizes
from bench.peers.products import PRODUCTS
from bench.peers.report import join_records, summarize_rounds, write_lines
from bench.plotting import Point, draw_plot
from bench.soak import Viewer, find_losses, slope_mb_per_min

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_beside_the_peers_keeps_rows_where_a_peer_wins() -> None:
    name, throughput = "epoch back to back, ms", "training throughput with / without"
    rounds = {
        "heimdall": [{name: value, throughput: 0.9} for value in (2.0, 4.0, 3.0)],
        "trackio": [{name: value, throughput: 0.45} for value in (1.0, 1.5, 2.0)],
        "aim": [],
    }
    rows = summarize_rounds(rounds)
    assert rows[name]["heimdall"] == {"median": 3.0, "min": 2.0, "max": 4.0, "n": 3}
    record = {
        "at": "2026-03-01T12:00",
        "machine": "a machine",
        "load_at_start": 3.0,
        "busy_percent_at_start": 80.0,
        "cpus": 2,
        "versions": {"heimdall": "1", "aim": "2", "trackio": "3"},
        "sizes": asdict(Sizes()),
        "rows": rows,
        "problems": {"aim": ["live: it did not start", "live: it did not start"]},
    }
    lines = write_lines(record)
    assert f"| {name} | 3 (2-4) | - | 1.5 (1-2) x 0.5 | trackio |" in lines
    assert f"| {throughput} | 0.9 (0.9-0.9) | - | 0.45 (0.45-0.45) x 2 | heimdall |" in lines
    assert any(line.startswith("**Crowded**") for line in lines)
    assert lines.count("- aim: live: it did not start") == 1
    quiet = write_lines(record | {"busy_percent_at_start": 5.0, "load_at_start": 80.0})
    assert not any(line.startswith("**Crowded**") for line in quiet), "a load average tells of what has ended"


def test_two_runs_of_one_machine_become_one_table_that_says_so() -> None:
    def make(at: str, rows: dict[str, float], **changes: object) -> dict[str, Any]:
        found = {name: {"heimdall": {"median": value, "min": value, "max": value, "n": 3}} for name, value in rows.items()}
        about = {"at": f"2026-03-01T{at}+00:00", "machine": "a machine", "load_at_start": 1.0, "cpus": 2, "versions": {"heimdall": "1"}}
        return {**about, "sizes": asdict(Sizes()), "rows": found, "problems": {}, **changes}

    before, after = make("12:00", {"start, s": 1, "processes": 1}), make("13:00", {"processes": 2, "chart view, ms": 3})
    lines = write_lines(join_records(before, after))
    assert [line for line in lines if line.startswith("| start") or line.startswith("| processes") or line.startswith("| chart")] == [
        "| start, s | 1 (1-1) | heimdall |",
        "| processes | 2 (2-2) | heimdall |",
        "| chart view, ms | 3 (3-3) | heimdall |",
    ]
    assert any("*start, s* were done at 12:00" in line and "13:00" in line for line in lines)
    with pytest.raises(ValueError, match="another machine"):
        join_records(make("12:00", {}, machine="a faster one"), after)


def test_a_comparison_whose_time_is_over_begins_nothing_and_says_so(tmp_path) -> None:
    comparison = Comparison([PRODUCTS["aim"]], tmp_path, QUICK, minutes=-1)
    comparison.measure_live()
    assert comparison.rounds == {"aim": []}
    assert set(comparison.problems["aim"]) == {
        "live: the time given to the whole run was over before the last rounds",
        "training: the time given to the whole run was over before the last rounds",
    }
    assert not list(tmp_path.iterdir())


def test_a_plot_puts_larger_values_higher_and_shows_the_spread() -> None:
    points = [Point(10, 1.0, 0.9, 1.1), Point(1000, 100.0, 80.0, 200.0)]
    svg = draw_plot("A < B", "epochs", "ms", {"line": points})
    root = ElementTree.fromstring(svg)
    circles = [(float(circle.attrib["cx"]), float(circle.attrib["cy"])) for circle in root.iter(f"{SVG}circle")]
    assert circles[0][0] < circles[1][0]
    assert circles[0][1] > circles[1][1]
    assert svg == draw_plot("A < B", "epochs", "ms", {"line": points})
    whiskers = [line for line in root.iter(f"{SVG}line") if line.attrib["stroke"] != "#e5e7eb"]
    assert [float(line.attrib["y1"]) > float(line.attrib["y2"]) for line in whiskers] == [True, True]


def test_the_soak_sees_what_is_missing_twice_or_out_of_order() -> None:
    def viewer(*epochs: int) -> Viewer:
        return Viewer(1, ["job"], comes_and_goes=False, epochs={"job": list(epochs)})

    whole = {"job": [1, 2, 3]}
    assert find_losses([viewer(1, 2, 3)], whole, 3) == []
    assert find_losses([viewer(1, 3)], whole, 3) == ["viewer 0: job job: 1 missing, 0 twice, in order: True"]
    assert find_losses([viewer(1, 2, 2, 3)], whole, 3) == ["viewer 0: job job: 0 missing, 1 twice, in order: True"]
    assert find_losses([viewer(2, 1, 3)], whole, 3) == ["viewer 0: job job: 0 missing, 0 twice, in order: False"]
    assert find_losses([], {"job": [1, 2]}, 3) == ["database: job job has 2 of 3 epochs"]


def test_the_slope_of_memory_leaves_out_how_it_began() -> None:
    steady = [(float(second), 100.0 if second > 30 else 50.0) for second in range(0, 100, 2)]
    growing = [(float(second), 100 + 0.5 * second / 60) for second in range(0, 100, 2)]
    assert abs(slope_mb_per_min(steady)) < 1e-9
    assert abs(slope_mb_per_min(growing) - 0.5) < 1e-9


def test_a_heap_is_told_apart_into_data_and_code() -> None:
    meta = {"node_fields": ["type", "name", "self_size"], "node_types": [["object", "code", "string"], "string", "number"]}
    nodes = [0, 0, 100, 1, 0, 30, 2, 0, 7, 1, 0, 3]
    assert sum_kinds({"snapshot": {"meta": meta}, "nodes": nodes}) == (107, 33)
