"""Means and spreads of the features, from training rows only.

A receiver's strength or delay is a measurement only where it heard; elsewhere the array holds 0. Statistics are
therefore taken over present tokens, and for such features over those that heard.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.manifest import HEARD_ONLY_FEATURES
from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.models import Normalization

_BLOCK_ROWS: Final = 16_384
_MIN_STD: Final = 1e-6
_UNSCALED: Final = frozenset({"heard"})


def fit_normalization(arrays: DatasetArrays, rows: npt.NDArray[np.int64]) -> Normalization:
    """Fit mean and standard deviation of every feature.

    Parameters
    ----------
    arrays
        The data set.
    rows
        Training rows; no other row is looked at.

    Returns
    -------
    Normalization
        Physical units. A flag (``heard``) and a feature that never varies keep mean 0 or their value, and deviation 1.

    Raises
    ------
    InvalidInputError
        Where there are no rows.
    """
    if len(rows) == 0:
        raise InvalidInputError("There are no training examples to fit the normalization on.")
    means, stds = [], []
    for column, name in enumerate(arrays.feature_names):
        mean, std = (0.0, 1.0) if name in _UNSCALED else _moments(arrays, rows, column)
        means.append(mean)
        stds.append(std)
    return Normalization(feature_names=arrays.feature_names, feature_means=tuple(means), feature_stds=tuple(stds))


def _moments(arrays: DatasetArrays, rows: npt.NDArray[np.int64], column: int) -> tuple[float, float]:
    """Return mean and deviation of one feature; in one pass by Chan's parallel update (1979)."""
    count, mean, squares = 0, 0.0, 0.0
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        values = arrays.features[block, :, column][_select_measured(arrays, block, column)].astype(np.float64)
        if values.size == 0:
            continue
        block_mean = float(values.mean())
        difference, total = block_mean - mean, count + values.size
        squares += float(np.square(values - block_mean).sum()) + difference**2 * count * values.size / total
        mean += difference * values.size / total
        count = total
    std = float(np.sqrt(squares / count)) if count else 0.0
    return mean, std if std > _MIN_STD else 1.0


def _select_measured(arrays: DatasetArrays, rows: npt.NDArray[np.int64], column: int) -> npt.NDArray[np.bool_]:
    mask = arrays.mask[rows]
    if arrays.feature_names[column] in HEARD_ONLY_FEATURES and arrays.has_feature("heard"):
        mask = mask & (arrays.features[rows, :, arrays.feature_index("heard")] > 0)
    return mask
