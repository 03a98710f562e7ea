"""Several places at once: a mixture of Gaussians, for strengths that fit two valleys equally well.

The answer is the place with the largest share, not the mean, which may lie on the ridge between two valleys; the covariance is the
second moment about it over all places.

Legend: B examples, R receiver tokens, F features a token, K components.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from heimdall.training.architectures.localizer import MIN_SPREAD, Gaussian, Localizer, Scaling

NUM_COMPONENT_OUTPUTS: Final = 6
"""Logit of the weight, mean east and north, l11, l21, l22 of the Cholesky factor."""


class Mixture(NamedTuple):
    """Components of B examples, in scaled units."""

    log_weight_BK: Tensor
    position_BK2: Tensor
    cholesky_BK3: Tensor
    """l11, l21, l22."""


class Collapsed(Gaussian):
    """A mixture's most probable place and the moments about it, which still remembers its components."""

    mixture: Mixture


class MixtureLocalizer(Localizer):
    """A localizer whose network gives K weighted Gaussians.

    Parameters
    ----------
    network
        Maps normalized tokens [B, R, F], mask and receivers to [B, 6 K].
    scaling
        Fitted on the training rows.
    components
        K.
    """

    start_K2: Tensor

    def __init__(self, network: nn.Module, scaling: Scaling, *, components: int) -> None:
        super().__init__(network, scaling)
        angle_K = 2 * math.pi * torch.arange(components) / components
        # Apart from the beginning: components that start at one place learn one thing.
        self.register_buffer("start_K2", torch.stack([angle_K.cos(), angle_K.sin()], dim=1), persistent=False)

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Collapsed:
        """Return the most probable place and the second moments about it in scaled units, with the mixture itself."""
        mixture = self.predict_mixture(features_BRF, mask_BR, receiver_BR)
        collapsed = collapse(mixture)
        collapsed.mixture = mixture
        return collapsed

    def predict_mixture(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Mixture:
        """Return the components in scaled units; parameters as in :class:`Localizer`."""
        output = self.network(self.normalize(features_BRF, mask_BR), mask_BR, receiver_BR).float()
        output_BK6 = output.unflatten(1, (self.start_K2.shape[0], NUM_COMPONENT_OUTPUTS))
        spread_BK2 = softplus(output_BK6[..., [3, 5]]) + MIN_SPREAD
        factor_BK3 = torch.stack([spread_BK2[..., 0], output_BK6[..., 4], spread_BK2[..., 1]], dim=-1)
        return Mixture(output_BK6[..., 0].log_softmax(dim=1), self.start_K2 + output_BK6[..., 1:3], factor_BK3)

    def mixture_to_metres(self, mixture: Mixture) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights [B, K], positions [B, K, 2] in m and covariances [B, K, 2, 2] in m²."""
        flat = Gaussian(mixture.position_BK2.flatten(0, 1), mixture.cholesky_BK3.flatten(0, 1))
        components = self.start_K2.shape[0]
        position, covariance = self.to_metres(flat)
        return mixture.log_weight_BK.exp(), position.reshape(-1, components, 2), covariance.reshape(-1, components, 2, 2)


def collapse(mixture: Mixture) -> Collapsed:
    """Return the component with the largest share, and the second moments of the whole mixture about it."""
    weight_BK = mixture.log_weight_BK.exp()
    largest_B1 = weight_BK.argmax(dim=1, keepdim=True)
    position_B2 = torch.cat([axis_BK.gather(1, largest_B1) for axis_BK in mixture.position_BK2.unbind(dim=-1)], dim=1)
    east_BK, north_BK = (mixture.position_BK2 - position_B2.unsqueeze(1)).unbind(dim=-1)
    l11_BK, l21_BK, l22_BK = mixture.cholesky_BK3.unbind(dim=-1)
    east_B = (weight_BK * (l11_BK.square() + east_BK.square())).sum(dim=1)
    both_B = (weight_BK * (l11_BK * l21_BK + east_BK * north_BK)).sum(dim=1)
    north_B = (weight_BK * (l21_BK.square() + l22_BK.square() + north_BK.square())).sum(dim=1)
    l11_B = east_B.sqrt()
    l21_B = both_B / l11_B
    l22_B = (north_B - l21_B.square()).clamp_min(MIN_SPREAD**2).sqrt()
    return Collapsed(position_B2, torch.stack([l11_B, l21_B, l22_B], dim=1))
