"""The training objective: the negative log-likelihood of the truth under the predicted Gaussian.

Legend: B examples. Inputs are in scaled units (see ``architectures.localizer``); results are in nats with positions in km.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor

from heimdall.training.architectures.localizer import Gaussian

_LOG_TWO_PI: Final = math.log(2 * math.pi)


def squared_mahalanobis(predicted: Gaussian, truth_B2: Tensor) -> Tensor:
    """Return |z|² [B] with z = L⁻¹ (truth - position): chi-square with two degrees of freedom where the prediction is calibrated."""
    l11_B, l21_B, l22_B = predicted.cholesky_B3.unbind(dim=1)
    east_B, north_B = (truth_B2 - predicted.position_B2).unbind(dim=1)
    z_east_B = east_B / l11_B
    z_north_B = (north_B - l21_B * z_east_B) / l22_B
    return z_east_B * z_east_B + z_north_B * z_north_B


def gaussian_nll(predicted: Gaussian, truth_B2: Tensor, *, scale_km: float) -> Tensor:
    """Return the negative log-likelihood of each example.

    Parameters
    ----------
    predicted
        Scaled position and Cholesky factor.
    truth_B2
        Scaled true position [B, 2].
    scale_km
        Length of one scaled unit, km. It moves the result from scaled units to km and has no gradient.

    Returns
    -------
    Tensor
        [B], nats: ½|z|² + log l11 + log l22 + log 2π, with z = L⁻¹ (y - μ) and lengths in km.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning (2006), eq. 2.43.
    """
    log_volume_B = predicted.cholesky_B3[:, 0].log() + predicted.cholesky_B3[:, 2].log()
    constant = _LOG_TWO_PI + 2 * math.log(scale_km)
    return squared_mahalanobis(predicted, truth_B2) / 2 + log_volume_B + constant
