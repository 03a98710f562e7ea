"""The training objective: the negative log-likelihood of the truth under the predicted Gaussian, or mixture of Gaussians.

Legend: B examples. Inputs are in scaled units (see ``architectures.localizer``); results are in nats with positions in km.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.architectures.mixture import Collapsed

_LOG_TWO_PI: Final = math.log(2 * math.pi)


def squared_mahalanobis(predicted: Gaussian, truth_B2: Tensor) -> Tensor:
    """Return |z|² [B] with z = L⁻¹ (truth - position): chi-square with two degrees of freedom where the prediction is calibrated."""
    l11_B, l21_B, l22_B = predicted.cholesky_B3.unbind(dim=1)
    east_B, north_B = (truth_B2 - predicted.position_B2).unbind(dim=1)
    z_east_B = east_B / l11_B
    z_north_B = (north_B - l21_B * z_east_B) / l22_B
    return z_east_B * z_east_B + z_north_B * z_north_B


def prediction_nll(predicted: Gaussian, truth_B2: Tensor, *, scale_km: float) -> Tensor:
    """Return [B] nats: of the mixture where the prediction is one, ``-log sum_k w_k N(y; mu_k, L_k)``, else of the Gaussian.

    References
    ----------
    Bishop, Mixture density networks (1994), eq. 22 and 29.
    """
    if not isinstance(predicted, Collapsed):
        return gaussian_nll(predicted, truth_B2, scale_km=scale_km)
    log_weight_BK, position_BK2, cholesky_BK3 = predicted.mixture
    components = Gaussian(position_BK2.flatten(0, 1), cholesky_BK3.flatten(0, 1))
    nll_BK = gaussian_nll(components, truth_B2.repeat_interleave(log_weight_BK.shape[1], dim=0), scale_km=scale_km)
    return -torch.logsumexp(log_weight_BK - nll_BK.reshape(log_weight_BK.shape), dim=1)


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
