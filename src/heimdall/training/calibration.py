"""After training: how large the ellipses must be to cover what they promise, found on groups that neither map nor law has seen.

Errors have heavier tails than a Gaussian, so one factor cannot serve every level: the size of the 68 % ellipse goes into the covariance,
and the radii of the others, in its standard deviations, leave beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEVELS: Final = (0.5, 0.68, 0.95)
NOMINAL_RADII: Final = tuple(float(radius) for radius in np.sqrt(-2 * np.log1p(-np.array(LEVELS))))
"""Of a Gaussian in two dimensions: 1.18, 1.51 and 2.45 standard deviations."""

_LEAST_RATIO: Final = 0.2
_MOST_RATIO: Final = 10.0


def find_radii(distances: Sequence[FloatArray]) -> FloatArray:
    """Return the radii, in standard deviations, that would have held 50, 68 and 95 % of the truths.

    Parameters
    ----------
    distances
        For each set of examples held out together, their squared Mahalanobis distances [N].

    Returns
    -------
    ndarray
        [3], rising; each 0.2 to 10 times that of a Gaussian. Sets count equally, whatever their sizes, and by their mean square: what a
        new day or place adds to the error is one draw of each set, and variances are what adds up.

    References
    ----------
    Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, ICML 2018; Romano, Patterson and
    Candes, Conformalized quantile regression, NeurIPS 2019, for the rank.
    """
    squares = np.mean([_find_quantiles(distance_N) for distance_N in distances], axis=0)
    nominal = np.array(NOMINAL_RADII)
    return np.asarray(np.maximum.accumulate(np.clip(np.sqrt(squares), _LEAST_RATIO * nominal, _MOST_RATIO * nominal)), np.float64)


def _find_quantiles(distance_N: FloatArray) -> FloatArray:
    """Return the distances of rank ``ceil((N + 1) p)``, the largest where there are too few."""
    rank = np.ceil((len(distance_N) + 1) * np.array(LEVELS)).astype(np.int64)
    return np.asarray(np.sort(distance_N)[np.minimum(rank, len(distance_N)) - 1], np.float64)


def to_nominal(distance_N: FloatArray, radii: Sequence[float]) -> FloatArray:
    """Return squared distances as a Gaussian would have them: a truth on the ellipse of a level gets that level's nominal distance.

    Parameters
    ----------
    distance_N
        [N] squared Mahalanobis distances.
    radii
        Of the levels' ellipses, rising; between and beyond them radii are stretched in proportion.
    """
    knots, nominal = np.array([0.0, *radii]), np.array([0.0, *NOMINAL_RADII])
    radius_N = np.sqrt(distance_N)
    beyond_N = radius_N * (nominal[-1] / knots[-1])
    return np.asarray(np.square(np.where(radius_N > knots[-1], beyond_N, np.interp(radius_N, knots, nominal))), np.float64)
