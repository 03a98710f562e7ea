from itertools import pairwise

import numpy as np
import pytest

from heimdall.rf.breakdown import group_by_count, group_by_flag, group_by_value, measure_reliability

NUM = 4000
RNG = np.random.default_rng(11)
COUNT = RNG.integers(3, 7, NUM)
ERROR_M = RNG.rayleigh(100.0, NUM) * 6 / COUNT
HONEST = RNG.chisquare(2, NUM)


def test_each_count_is_a_group_and_the_groups_are_the_whole():
    groups = group_by_count(COUNT, ERROR_M, HONEST)
    assert [group.label for group in groups] == ["3", "4", "5", "6"]
    assert sum(group.num_examples for group in groups) == NUM
    assert groups[0].error_median_m == pytest.approx(np.median(ERROR_M[COUNT == 3]))
    assert groups[0].error_median_m > groups[-1].error_median_m
    assert all(group.coverage_68 == pytest.approx(0.68, abs=0.05) for group in groups)


def test_many_counts_are_taken_together_without_a_gap():
    count = RNG.integers(1, 40, NUM)
    groups = group_by_count(count, ERROR_M, HONEST)
    assert 2 <= len(groups) <= 6
    assert sum(group.num_examples for group in groups) == NUM
    borders = [tuple(map(int, group.label.split(" to "))) for group in groups]
    assert borders[0][0] == 1
    assert borders[-1][1] == 39
    assert all(low == before + 1 for (_, before), (low, _) in pairwise(borders))


def test_values_are_quartered_and_the_unknown_stand_apart():
    value = RNG.normal(20, 5, NUM)
    value[:100] = np.inf
    groups = group_by_value(value, ERROR_M, HONEST, unknown="not determined")
    assert [group.num_examples for group in groups] == [975, 975, 975, 975, 100]
    assert groups[-1].label == "not determined"


def test_one_value_for_all_is_one_group():
    (group,) = group_by_value(np.full(NUM, 7.0), ERROR_M, HONEST, unknown="none")
    assert (group.label, group.num_examples) == ("7 to 7", NUM)
    (unknown,) = group_by_value(np.full(NUM, np.inf), ERROR_M, HONEST, unknown="none")
    assert (unknown.label, unknown.num_examples) == ("none", NUM)


def test_an_empty_group_is_left_out():
    (inside,) = group_by_flag(np.ones(NUM, bool), ("inside", "outside"), ERROR_M, HONEST)
    assert inside.label == "inside"


def test_honest_ellipses_cover_what_they_say_and_small_ones_less():
    for point in measure_reliability(HONEST):
        assert point.observed == pytest.approx(point.nominal, abs=0.03)
    assert all(point.observed < point.nominal - 0.03 for point in measure_reliability(HONEST * 4) if 0.2 < point.nominal < 0.95)
