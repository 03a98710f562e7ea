"""A summary says what its rows say, however it was put together."""

from __future__ import annotations

import itertools
import json
import math
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.summaries import BODY_BYTES, SLOT_EPOCHS, SLOT_VALUES, merge_summaries, summarize_rows

_VALUES = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def rows_of_runs(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rows with two lively series, of which the first may be named, and eleven empty ones."""
    rows = []
    for epoch in sorted(draw(st.sets(st.integers(1, 60), min_size=1, max_size=30))):
        first, second = draw(_VALUES), draw(_VALUES)
        named = first is None and draw(st.booleans())
        empty = [None] * (len(VALUE_FIELDS) - 2)
        rows.append((epoch, first, second, *empty, json.dumps({VALUE_FIELDS[0]: "nan"}) if named else None))
    return rows


def describe(body: bytes) -> list[tuple[Any, ...]]:
    return list(struct.iter_unpack(f"<{SLOT_EPOCHS}i{SLOT_VALUES}d", body))


@settings(max_examples=200, deadline=None)
@given(rows=rows_of_runs(), cuts=st.lists(st.integers(1, 29), max_size=3))
def test_merged_parts_are_the_whole(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    edges = [0, *sorted({cut for cut in cuts if cut < len(rows)}), len(rows)]
    parts = [summarize_rows(rows[start:stop]) for start, stop in itertools.pairwise(edges)]
    whole = summarize_rows(rows)
    assert len(whole) == BODY_BYTES
    assert merge_summaries(parts) == whole


@settings(max_examples=200, deadline=None)
@given(rows=rows_of_runs())
def test_a_summary_names_extremes_and_gaps(rows: list[tuple[Any, ...]]) -> None:
    for place, slot in enumerate(describe(summarize_rows(rows))[:3], start=1):
        finite = [(row[place], row[0]) for row in rows if row[place] is not None]
        gaps = [row[0] for row in rows if row[place] is None]
        named = [row[0] for row in rows if row[-1] and place == 1]
        low_epoch, high_epoch, first_named, last_named, first_gap, last_gap, low, high = slot
        assert (first_named, last_named) == ((named[0], named[-1]) if named else (0, 0))
        assert (first_gap, last_gap) == ((gaps[0], gaps[-1]) if gaps else (0, 0))
        if not finite:
            assert (low_epoch, high_epoch, low, high) == (0, 0, math.inf, -math.inf)
            continue
        values = [value for value, _ in finite]
        assert (low, high) == (min(values), max(values))
        assert low_epoch == next(epoch for value, epoch in finite if value == low)
        assert high_epoch == next(epoch for value, epoch in finite if value == high)
