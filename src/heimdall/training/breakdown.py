"""What an evaluation says beyond its averages: by receivers heard, signal-to-noise ratio, geometry and hull."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.models import AccuracyBreakdown, ErrorBreakdown, ErrorGroup
from heimdall.rf.breakdown import group_by_count, group_by_flag, group_by_value, measure_reliability
from heimdall.rf.geometry import horizontal_dilution, is_inside_hull
from heimdall.training.metrics import Evaluation

MAX_EXAMPLES: Final = 50_000
"""More are thinned evenly: a table of groups needs no more."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def break_down(arrays: DatasetArrays, rows_V: npt.NDArray[np.int64], evaluation: Evaluation) -> AccuracyBreakdown | None:
    """Sort the errors of an evaluation of these rows; None where an error or an ellipse is not a finite number.

    Parameters
    ----------
    arrays
        The data set.
    rows_V
        The rows that were evaluated, in the evaluation's order.
    evaluation
        Errors and squared Mahalanobis distances of V examples.
    """
    chosen = np.unique(np.linspace(0, len(rows_V) - 1, min(len(rows_V), MAX_EXAMPLES)).astype(np.int64))
    rows, error_m, mahalanobis2 = rows_V[chosen], evaluation.error_V[chosen], evaluation.mahalanobis_V[chosen]
    if not (np.isfinite(error_m).all() and np.isfinite(mahalanobis2).all()):
        return None
    heard = find_heard(arrays, rows)
    receiver_m = np.asarray(arrays.receiver_enu[rows], np.float64)
    place_m = np.column_stack([arrays.target[rows], arrays.target_up[rows]])
    dilution = horizontal_dilution(place_m, receiver_m, heard)
    is_inside = is_inside_hull(place_m[:, :2], receiver_m[..., :2], heard)
    breakdowns = [
        ErrorBreakdown(by="receivers_heard", groups=group_by_count(heard.sum(axis=1), error_m, mahalanobis2)),
        *_by_snr(arrays, rows, heard, error_m, mahalanobis2),
        ErrorBreakdown(by="hdop", groups=group_by_value(dilution, error_m, mahalanobis2, unknown="not determined by time differences")),
        ErrorBreakdown(by="hull", groups=group_by_flag(is_inside, ("inside", "outside"), error_m, mahalanobis2)),
    ]
    return AccuracyBreakdown(num_examples=len(rows), breakdowns=tuple(breakdowns), reliability=measure_reliability(mahalanobis2))


def find_heard(arrays: DatasetArrays, rows: npt.NDArray[np.int64]) -> BoolArray:
    """Return bool [V, R]: the receiver is present and heard the transmission."""
    mask = np.asarray(arrays.mask[rows])
    if not arrays.has_feature("heard"):
        return mask
    return np.asarray(mask & (arrays.features[rows, :, arrays.feature_index("heard")] > 0))


def _by_snr(
    arrays: DatasetArrays, rows: npt.NDArray[np.int64], heard: BoolArray, error_m: FloatArray, mahalanobis2: FloatArray
) -> list[ErrorBreakdown]:
    """Sort by the mean over the receivers that heard; nothing where the data set does not say the ratio."""
    if not arrays.has_feature("snr_db"):
        return []
    snr_db = np.asarray(arrays.features[rows, :, arrays.feature_index("snr_db")], np.float64)
    number = heard.sum(axis=1)
    mean_db = np.where(number > 0, np.where(heard, snr_db, 0.0).sum(axis=1) / np.maximum(number, 1), np.nan)
    groups: tuple[ErrorGroup, ...] = group_by_value(mean_db, error_m, mahalanobis2, unknown="heard by none")
    return [ErrorBreakdown(by="snr_db", groups=groups)]
