"""Chooses the epochs that a chart needs, so that no spike is ever hidden. Loads numpy on first use only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.summaries import SLOT_EPOCHS, SLOT_VALUES, Overview

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int32]

_NEVER: Final = 2**31 - 1
"""Stands in for 'no epoch' where the smallest is looked for."""


@dataclass(frozen=True)
class _Pieces:
    """Neighbouring stretches of a run in order; arrays are [piece, series, ...]."""

    starts: Indices
    """First epochs [piece]."""
    extremes: Floats
    """Minimum and the negated maximum, so that both are minima; ``inf`` where there is no value."""
    extreme_epochs: Indices
    """Where they are; ``_NEVER`` where there is no value."""
    marks: Indices
    """First epoch named in ``non_finite`` and the negated last, first epoch without a value and the negated last; ``_NEVER``."""


def choose_epochs(overview: Overview, series: Sequence[str], first: int, last: int, max_points: int, finest: int) -> tuple[list[int], int]:
    """Return the epochs to keep, in order, and the width of the buckets that they stand for.

    The range is cut into buckets of equal width, aligned to multiples of it. Of each series and bucket are kept the
    epoch of the minimum, that of the maximum, and, as marks, the first and last epoch of those without a finite value
    and of those whose value is named ``nan`` or ``inf``. The width is the smallest power of two, from ``finest`` on,
    with which the union over all series fits. What a wider bucket keeps, the narrower ones within it keep too: so
    where ``finest`` does not fit, it makes no difference that nothing finer was tried.

    Parameters
    ----------
    overview
        The range, at the resolution of ``finest`` or finer.
    series
        The series that count.
    first, last
        First and last epoch of the range, both always kept.
    max_points
        Epochs wanted at most. Only the global extremes of every series and the two ends may exceed it:
        at most ``2 * len(series) + 2``.
    finest
        The narrowest width to try, a power of two. One below ``choose_width``'s cannot do.
    """
    pieces = _to_pieces(overview, series)
    width = finest
    while True:
        pieces = _merge(pieces, width)
        kept = _collect((pieces.extreme_epochs, pieces.marks), first, last)
        if len(kept) <= max_points:
            return kept, width
        if width > last:
            return _collect((pieces.extreme_epochs,), first, last), width
        width *= 2


def choose_width(first: int, last: int, max_points: int) -> int:
    """Return the finest width that could do: no bucket of a series that moves has fewer than two extremes."""
    width = 1
    while (last - 1) // width - (first - 1) // width + 1 > max_points // 2:
        width *= 2
    return width


def _collect(groups: Iterable[Indices], first: int, last: int) -> list[int]:
    import numpy as np

    found = np.abs(np.concatenate([*(group[group < _NEVER] for group in groups), np.array([first, last], dtype=np.int32)]))
    # What np.unique says, in a third of its time: of a few thousand numbers its table costs more than their order.
    found.sort()
    kept: list[int] = found[np.append(True, found[1:] != found[:-1])].tolist()
    return kept


def _to_pieces(overview: Overview, series: Sequence[str]) -> _Pieces:
    import numpy as np

    parts = (_read_summaries(overview, series), _read_rows(overview, series))
    starts = np.concatenate([part.starts for part in parts])
    order = np.argsort(starts, kind="stable")
    extreme_epochs = np.concatenate([part.extreme_epochs for part in parts])[order]
    marks = np.concatenate([part.marks for part in parts])[order]
    # A series that was never measured has no gap.
    is_absent = (extreme_epochs == _NEVER).all(axis=(0, 2))
    marks[:, is_absent, 2:] = _NEVER
    if (marks == _NEVER).all():
        marks = marks[:, :, :0]
    return _Pieces(starts[order], np.concatenate([part.extremes for part in parts])[order], extreme_epochs, marks)


def _read_summaries(overview: Overview, series: Sequence[str]) -> _Pieces:
    import numpy as np

    layout = np.dtype([("epochs", "<i4", SLOT_EPOCHS), ("values", "<f8", SLOT_VALUES)])
    columns = [VALUE_FIELDS.index(name) for name in series]
    slots = np.frombuffer(b"".join(overview.bodies), dtype=layout).reshape(-1, len(VALUE_FIELDS))[:, columns]
    epochs = np.where(slots["epochs"] == 0, _NEVER, slots["epochs"] * np.array([1, 1, 1, -1, 1, -1], dtype=np.int32))
    extremes = slots["values"] * np.array([1.0, -1.0])
    return _Pieces(np.array(overview.first_epochs, dtype=np.int32), extremes, epochs[:, :, :2], epochs[:, :, 2:])


def _read_rows(overview: Overview, series: Sequence[str]) -> _Pieces:
    """Return each row as a piece of one epoch."""
    import numpy as np

    starts = np.array([row[0] for row in overview.rows], dtype=np.int32)
    values = np.array([row[1:-1] for row in overview.rows], dtype=np.float64).reshape(-1, len(series))
    is_gap = np.isnan(values)
    is_named = np.zeros(values.shape, dtype=bool)
    for number, row in enumerate(overview.rows):
        if row[-1]:
            kinds = orjson.loads(row[-1])
            is_named[number] = [name in kinds for name in series]
    at = np.broadcast_to(starts[:, None], values.shape)
    extremes = np.stack([np.where(is_gap, np.inf, values), np.where(is_gap, np.inf, -values)], axis=2)
    epochs = np.where(is_gap, _NEVER, at)
    named, gaps = (np.stack([np.where(where, at, _NEVER), np.where(where, -at, _NEVER)], axis=2) for where in (is_named, is_gap))
    return _Pieces(starts, extremes, np.stack([epochs, epochs], axis=2), np.concatenate([named, gaps], axis=2))


def _merge(pieces: _Pieces, width: int) -> _Pieces:
    """Return one piece for each bucket of ``width`` epochs that has any."""
    import numpy as np

    buckets = (pieces.starts - 1) // width
    edges = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
    if len(edges) == len(buckets):
        return pieces
    extremes = np.minimum.reduceat(pieces.extremes, edges, axis=0)
    is_extreme = pieces.extremes == np.repeat(extremes, np.diff(np.append(edges, len(buckets))), axis=0)
    # Of equal extremes the first epoch stands for all, whatever the pieces were.
    candidates = np.where(is_extreme, pieces.extreme_epochs, _NEVER)
    return _Pieces(
        pieces.starts[edges],
        extremes,
        np.minimum.reduceat(candidates, edges, axis=0),
        np.minimum.reduceat(pieces.marks, edges, axis=0) if pieces.marks.size else pieces.marks[edges],
    )
