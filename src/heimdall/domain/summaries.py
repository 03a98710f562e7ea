"""Where the extremes of a stretch of epochs lie, so that a chart of a long run need not read the run.

A summary says, for each series of ``VALUE_FIELDS`` in order, at which epochs its minimum and maximum are and where
values are missing. Summaries of neighbouring stretches merge into one. They form levels: level 0 covers ``FINEST_EPOCHS``
epochs, each further level ``FAN_OUT`` times as many; bucket ``b`` of a level of width ``w`` covers ``b w < epoch <= (b + 1) w``.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from heimdall.domain.metrics import VALUE_FIELDS

FINEST_EPOCHS: Final = 8
FAN_OUT: Final = 4
NUM_LEVELS: Final = 10

SLOT_EPOCHS: Final = 6
"""Leading integers of a slot: epoch of the minimum, of the maximum, first and last epoch whose value is named in
``non_finite``, first and last epoch without a finite value. 0: there is none."""
SLOT_VALUES: Final = 2
"""Then the minimum and the maximum; ``inf`` and ``-inf`` where there is no finite value."""
_SLOT: Final = f"{SLOT_EPOCHS}i{SLOT_VALUES}d"
_BODY: Final = struct.Struct("<" + _SLOT * len(VALUE_FIELDS))
_SLOT_LENGTH: Final = SLOT_EPOCHS + SLOT_VALUES
BODY_BYTES: Final = _BODY.size


@dataclass(frozen=True)
class Overview:
    """A range of a run as few summaries as its resolution allows, and as plain rows where no summary fits.

    Together they cover every epoch of the range exactly once; neither is in order.
    """

    first_epochs: list[int]
    """First epoch that each summary covers."""
    bodies: list[bytes]
    rows: list[tuple[Any, ...]]
    """``(epoch, *series, non_finite)`` with the series that were asked for; ``non_finite`` is JSON text or None."""


def level_width(level: int) -> int:
    """Return how many epochs a summary of ``level`` covers."""
    width: int = FINEST_EPOCHS * FAN_OUT**level
    return width


def summarize_rows(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the summary of ``(epoch, *VALUE_FIELDS, non_finite)`` rows in the order of their epochs."""
    epochs = [row[0] for row in rows]
    named = [(row[0], json.loads(row[-1])) for row in rows if row[-1]]
    numbers: list[float] = []
    for position, name in enumerate(VALUE_FIELDS, start=1):
        values = [row[position] for row in rows]
        if None in values:
            numbers += _summarize_with_gaps(epochs, values, [epoch for epoch, kinds in named if name in kinds])
        else:
            low, high = min(values), max(values)
            numbers += (epochs[values.index(low)], epochs[values.index(high)], 0, 0, 0, 0, low, high)
    return _BODY.pack(*numbers)


def _summarize_with_gaps(epochs: list[int], values: list[float | None], named: list[int]) -> tuple[float, ...]:
    finite = [(value, epoch) for epoch, value in zip(epochs, values, strict=True) if value is not None]
    missing = [epoch for epoch, value in zip(epochs, values, strict=True) if value is None]
    marks = (named[0] if named else 0, named[-1] if named else 0, missing[0], missing[-1])
    if not finite:
        return (0, 0, *marks, math.inf, -math.inf)
    low = min(finite)
    high = max(finite, key=lambda item: (item[0], -item[1]))
    return (low[1], high[1], *marks, low[0], high[0])


def merge_summaries(bodies: Sequence[bytes]) -> bytes:
    """Return the summary of what neighbouring summaries, in order, cover together."""
    parts = [_BODY.unpack(body) for body in bodies]
    numbers: list[float] = []
    for start in range(0, len(parts[0]), _SLOT_LENGTH):
        slots = [part[start : start + _SLOT_LENGTH] for part in parts]
        low = min(slots, key=lambda slot: slot[6])
        high = max(slots, key=lambda slot: slot[7])
        firsts = [next((slot[place] for slot in slots if slot[place]), 0) for place in (2, 4)]
        lasts = [max(slot[place] for slot in slots) for place in (3, 5)]
        numbers += (low[0], high[1], firsts[0], lasts[0], firsts[1], lasts[1], low[6], high[7])
    return _BODY.pack(*numbers)
