"""After training: one factor that makes the ellipses cover what they promise, found on groups that the network never trained on."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_LEVELS: Final = np.arange(0.05, 0.96, 0.05)
_FACTORS: Final = np.geomspace(0.3, 3.0, 93)


def find_stretch(mahalanobis_N: npt.NDArray[np.float64]) -> float:
    """Return the factor of the standard deviations with the smallest expected calibration error.

    Parameters
    ----------
    mahalanobis_N
        [N] squared Mahalanobis distances of the truth, of examples held out by group.

    Returns
    -------
    float
        0.3 to 3; the mean over p = .05 to .95 of |coverage(p) - p| is smallest there.

    References
    ----------
    Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, ICML 2018, eq. 9.
    """
    limits = -2 * np.log(1 - _LEVELS)
    inside = mahalanobis_N[None, None, :] <= np.square(_FACTORS)[:, None, None] * limits[None, :, None]
    error = np.abs(inside.mean(axis=2) - _LEVELS).mean(axis=1)
    return float(_FACTORS[error.argmin()])
