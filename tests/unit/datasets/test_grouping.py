import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heimdall.datasets.grouping import describe_split, group_by_cell, group_by_day, group_by_session

points = st.lists(st.tuples(*[st.floats(-1e5, 1e5)] * 2), min_size=1, max_size=50)


@given(points, st.floats(10, 10_000))
def test_examples_share_a_group_exactly_when_they_share_a_cell(places, cell_m):
    position = np.array(places)
    group = group_by_cell(position, cell_m)
    cells = [tuple(cell) for cell in np.floor(position / cell_m)]
    assert [[a == b for b in group] for a in group] == [[a == b for b in cells] for a in cells]
    assert set(group) == set(range(len(set(cells))))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_session_ends_where_nothing_came_for_long(times):
    time = np.array(times)
    session = group_by_session(time, 600)
    order = np.argsort(time, kind="stable")
    for a, b in itertools.pairwise(order):
        assert (session[b] > session[a]) == (time[b] - time[a] > 600)


def test_days_are_numbered_by_date():
    assert group_by_day(np.array([86_399.0, 86_400.0, 0.0, 400_000.0])).tolist() == [0, 1, 0, 2]


def test_a_split_into_single_examples_is_called_leaky():
    assert describe_split("cell", np.arange(100, dtype=np.int32), seed=0, cell_m=1).is_leaky
    split = describe_split("cell", np.repeat(np.arange(10, dtype=np.int32), 10), seed=4, cell_m=200)
    assert not split.is_leaky
    assert (split.num_groups, split.seed, split.cell_m) == (10, 4, 200)
    assert describe_split("day", np.zeros(10, np.int32), seed=0, cell_m=200).cell_m is None
