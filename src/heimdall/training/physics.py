"""The physical estimate of every row before training begins, none of them from a map or law that has seen the row.

A row's own readings in it would make the estimate look better in training than it is elsewhere, and the network would learn to trust
it too much. So training rows get theirs from maps of the other blocks of places, for calibration from maps without their groups, and
validation rows from the final map, which is the one that is exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heimdall.datasets.grouping import group_by_cell
from heimdall.datasets.observations import fit_arrival_law, observe, targets
from heimdall.datasets.storage import DatasetArrays
from heimdall.rf.arrival import ArrivalLaw
from heimdall.rf.radio_map import RadioMap
from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.radio_map_layer import NUM_ESTIMATE, RadioMapLayer

Kind = Literal["radio-map", "arrival"]
Law = RadioMap | ArrivalLaw
Layer = RadioMapLayer | ArrivalLayer
Rows = npt.NDArray[np.int64]

_NUM_BLOCK_FOLDS: Final = 4
_BLOCKS_A_SIDE: Final = 12
_CALIBRATION_SHARE: Final = 0.15
_NUM_CALIBRATION_PARTS: Final = 5
"""A validation fold is a fifth of the groups by default."""
_MIN_GROUPS: Final = 5
_MIN_SET_ROWS: Final = 30
_MAX_MAP_ROWS: Final = 20_000
_BATCH_ROWS: Final = 256


@dataclass(frozen=True)
class Physics:
    """Estimates [N, P] of all rows that are trained on or validated (zeros elsewhere), and the layer that leaves."""

    layer: Layer
    estimate_NP: Tensor
    fit_rows: Rows
    """Training rows of the network."""
    calibration_sets: tuple[Rows, ...]
    """Training rows by what is held out together; none where there is one group alone."""
    calibration_NP: Tensor
    """Estimates of those rows from maps or laws that know none of their set."""


def prepare_physics(
    arrays: DatasetArrays, train_rows: Rows, val_rows: Rows, *, kind: Kind = "radio-map", check_in: Callable[[], None] = lambda: None
) -> Physics:
    """Fit maps or laws and estimate every row; a pure function of its arguments.

    Parameters
    ----------
    arrays
        The data set.
    train_rows, val_rows
        The network's own split.
    kind
        Which physics.
    check_in
        Called before each fit and each batch of rows, as a sign of life.

    Raises
    ------
    InvalidInputError
        Where the data set has no strengths, or no times of arrival, that the kind works on.
    """
    fit_rows, calibration_rows = _set_aside(np.asarray(arrays.group), train_rows)
    final = _fit(arrays, train_rows, kind)
    layer = _lay(final, arrays)
    estimate_NP = torch.zeros(len(arrays), NUM_ESTIMATE)
    _estimate(layer, arrays, val_rows, estimate_NP, check_in)
    for seen, unseen in _cut_blocks(arrays, fit_rows):
        _estimate(_lay(_fit(arrays, seen, kind, like=final), arrays), arrays, unseen, estimate_NP, check_in)
    sets = _choose_sets(np.asarray(arrays.group), train_rows, calibration_rows)
    calibration_NP = torch.zeros_like(estimate_NP)
    for unseen in _cut_sets(np.asarray(arrays.group), sets):
        seen = np.setdiff1d(train_rows, unseen)
        _estimate(_lay(_fit(arrays, seen, kind, like=final), arrays), arrays, unseen, calibration_NP, check_in)
    return Physics(layer, estimate_NP, fit_rows, sets, calibration_NP)


def _choose_sets(group: npt.NDArray[np.int32], train_rows: Rows, calibration_rows: Rows) -> tuple[Rows, ...]:
    """Return what is held out for calibration: all training rows, as one set of many groups, of few ones each by itself.

    One draw of groups, or one day, more or less easy than the others would decide alone (docs/results.md: with eight draws of 16 cells,
    ellipses of 68 % covered .59 to .70). The network has seen the rows that were not set aside, through estimates of other maps, and moves
    little.
    """
    groups = np.unique(group[train_rows])
    if len(calibration_rows) == 0:
        return ()
    if len(groups) >= _MIN_GROUPS:
        return (train_rows,)
    sets = [train_rows[group[train_rows] == number] for number in groups]
    return tuple(rows for rows in sets if len(rows) >= _MIN_SET_ROWS) or (calibration_rows,)


def _cut_sets(group: npt.NDArray[np.int32], sets: tuple[Rows, ...]) -> list[Rows]:
    """Return what each map or law for calibration must not see: a set of one group, else a fifth of the groups of a set."""
    parts = []
    for rows in sets:
        groups = np.unique(group[rows])
        order = np.random.default_rng(0).permutation(groups)
        parts += [rows[np.isin(group[rows], some)] for some in np.array_split(order, min(len(groups), _NUM_CALIBRATION_PARTS))]
    return parts


def _set_aside(group: npt.NDArray[np.int32], train_rows: Rows) -> tuple[Rows, Rows]:
    """Keep whole groups for calibration: the split of the data set is imitated, be it places, days or sessions.

    Of few groups the largest is kept that leaves more than half of the rows.
    """
    groups, count = np.unique(group[train_rows], return_counts=True)
    if len(groups) >= _MIN_GROUPS:
        order = np.random.default_rng(0).permutation(len(groups))
        kept = groups[order[: max(1, round(_CALIBRATION_SHARE * len(groups)))]]
    else:
        small = groups[count <= 0.5 * len(train_rows)]
        kept = small[np.argsort(count[count <= 0.5 * len(train_rows)])[-1:]] if len(groups) > 1 else groups[:0]
    is_kept = np.isin(group[train_rows], kept)
    return train_rows[~is_kept], train_rows[is_kept]


def _cut_blocks(arrays: DatasetArrays, rows: Rows) -> list[tuple[Rows, Rows]]:
    """Return folds of square blocks of places, a twelfth of the extent a side."""
    position = np.asarray(arrays.target[rows], np.float64)
    edge_m = max(float(np.ptp(position, axis=0).max()) / _BLOCKS_A_SIDE, 1.0)
    block = group_by_cell(position, edge_m)
    fold = np.random.default_rng(0).permutation(int(block.max()) + 1)[block] % _NUM_BLOCK_FOLDS
    cuts = [(rows[fold != number], rows[fold == number]) for number in range(_NUM_BLOCK_FOLDS)]
    return [(seen, unseen) for seen, unseen in cuts if len(unseen) and len(seen)]


def _lay(law: Law, arrays: DatasetArrays) -> Layer:
    return ArrivalLayer(law, arrays) if isinstance(law, ArrivalLaw) else RadioMapLayer(law, arrays)


def _fit(arrays: DatasetArrays, rows: Rows, kind: Kind, *, like: Law | None = None) -> Law:
    if len(rows) > _MAX_MAP_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_MAP_ROWS).astype(np.int64)]
    if kind == "arrival":
        return fit_arrival_law(arrays, rows, like=like if isinstance(like, ArrivalLaw) else None)
    return RadioMap.fit(observe(arrays, rows), targets(arrays, rows), like=like if isinstance(like, RadioMap) else None)


@torch.no_grad()
def _estimate(layer: Layer, arrays: DatasetArrays, rows: Rows, estimate_NP: Tensor, check_in: Callable[[], None]) -> None:
    for start in range(0, len(rows), _BATCH_ROWS):
        check_in()
        part = rows[start : start + _BATCH_ROWS]
        features, mask, receiver = (
            torch.from_numpy(np.asarray(table[part])) for table in (arrays.features, arrays.mask, arrays.receiver_index)
        )
        estimate_NP[torch.from_numpy(part)] = layer(features, mask, receiver.long())
