"""What the classical solvers see of a data set: strengths by receiver, and where the receivers stood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from heimdall.rf.shapes import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Observations:
    """Examples as dense tables with one column a receiver; n examples, r receivers of the whole data set."""

    rssi_dbm: Float64[FloatArray, "n r"]
    """0 where not heard."""
    heard: Bool[BoolArray, "n r"]
    present: Bool[BoolArray, "n r"]
    """Present and not heard is a measurement, too; absent is none."""
    receiver_m: Float64[FloatArray, "n r 3"]
    """East, north, up, m; 0 where absent."""
    is_moving: Bool[BoolArray, " r"]

    def __len__(self) -> int:
        return len(self.heard)

    def rows(self, rows: slice | IntArray) -> Observations:
        """Return some of the examples."""
        return Observations(self.rssi_dbm[rows], self.heard[rows], self.present[rows], self.receiver_m[rows], self.is_moving)


def gather_observations(
    *,
    rssi_dbm: Float64[FloatArray, "n t"],
    heard: Bool[BoolArray, "n t"],
    present: Bool[BoolArray, "n t"],
    receiver_index: Int64[IntArray, "n t"],
    receiver_m: Float64[FloatArray, "n t 3"],
    is_moving: Bool[BoolArray, " r"],
) -> Observations:
    """Sort the tokens of each example into columns by receiver.

    Parameters
    ----------
    rssi_dbm, heard, present, receiver_index, receiver_m
        [n, t] tokens in any order; a receiver stands at most once in an example.
    is_moving
        [r] whether a receiver's position belongs to the example.
    """
    num_examples, num_receivers = len(heard), len(is_moving)
    row, token = np.nonzero(present)
    column = receiver_index[row, token]
    tables = [np.zeros((num_examples, num_receivers, *tail), kind) for tail, kind in (((), float), ((), bool), ((), bool), ((3,), float))]
    for table, values in zip(tables, (rssi_dbm, heard, present, receiver_m), strict=True):
        table[row, column] = values[row, token]
    strength, is_heard, is_present, position = tables
    strength[~is_heard] = 0.0
    return Observations(strength, is_heard, is_present, position, np.asarray(is_moving, bool))
