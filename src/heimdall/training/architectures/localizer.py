"""A network in its frame: physical units in, a Gaussian over the transmitter's position out.

Legend: B examples, R receiver tokens, F features a token. "Scaled" means position minus the training mean, over one common
length: the same for east and north, so that an ellipse keeps its shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from heimdall.training.calibration import NOMINAL_RADII

NUM_OUTPUTS: Final = 5
"""Mean east, mean north, l11, l21, l22 of the Cholesky factor."""

MIN_SPREAD: Final = 1e-3
"""Smallest standard deviation in scaled units: keeps the likelihood bounded."""

_M_PER_KM: Final = 1000.0


class Gaussian(NamedTuple):
    """Position and uncertainty of B examples. The covariance is L Lᵀ with L = [[l11, 0], [l21, l22]], l11 and l22 positive."""

    position_B2: Tensor
    cholesky_B3: Tensor
    """l11, l21, l22."""


@dataclass(frozen=True)
class Scaling:
    """What turns physical units into the network's own; fitted on training rows only."""

    feature_means: tuple[float, ...]
    feature_stds: tuple[float, ...]
    heard_column: int | None
    """Column of the flag ``heard``, where the tokens carry one."""
    heard_only: tuple[bool, ...]
    """Which features mean something only where the receiver heard."""
    target_mean_m: tuple[float, float]
    target_scale_m: float


class Localizer(nn.Module):
    """A network of the catalogue with its scaling inside, so that nothing outside can forget to normalize.

    Parameters
    ----------
    network
        Maps normalized tokens [B, R, F], mask and receivers to [B, 5].
    scaling
        Fitted on the training rows.
    """

    feature_mean_F: Tensor
    feature_std_F: Tensor
    heard_only_F: Tensor
    target_mean_2: Tensor
    target_scale: Tensor

    def __init__(self, network: nn.Module, scaling: Scaling) -> None:
        super().__init__()
        self.network = network
        self.scaling = scaling
        self.register_buffer("feature_mean_F", torch.tensor(scaling.feature_means, dtype=torch.float32))
        self.register_buffer("feature_std_F", torch.tensor(scaling.feature_stds, dtype=torch.float32))
        self.register_buffer("heard_only_F", torch.tensor(scaling.heard_only, dtype=torch.float32))
        self.register_buffer("target_mean_2", torch.tensor(scaling.target_mean_m, dtype=torch.float32))
        self.register_buffer("target_scale", torch.tensor(scaling.target_scale_m, dtype=torch.float32))
        self.ellipse_radii = NOMINAL_RADII
        """Of the 50, 68 and 95 % ellipses, in standard deviations of the covariance."""

    @property
    def scale_km(self) -> float:
        """Length of one scaled unit, km."""
        return self.scaling.target_scale_m / _M_PER_KM

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Gaussian:
        """Return the Gaussian in scaled units.

        Parameters
        ----------
        features_BRF
            float32 [B, R, F], physical units.
        mask_BR
            bool [B, R], receivers present.
        receiver_BR
            int64 [B, R], which receiver each token belongs to.
        """
        return self._read(self.network(self.normalize(features_BRF, mask_BR), mask_BR, receiver_BR))

    def _read(self, output_B5: Tensor) -> Gaussian:
        output_B5 = output_B5.float()
        l11_B1 = softplus(output_B5[:, 2:3]) + MIN_SPREAD
        l22_B1 = softplus(output_B5[:, 4:5]) + MIN_SPREAD
        return Gaussian(output_B5[:, :2], torch.cat([l11_B1, output_B5[:, 3:4], l22_B1], dim=1))

    def normalize(self, features_BRF: Tensor, mask_BR: Tensor) -> Tensor:
        """Return tokens with mean 0 and deviation 1; what was not measured becomes 0, the mean, and not a far outlier."""
        tokens_BRF = (features_BRF - self.feature_mean_F) / self.feature_std_F
        if self.scaling.heard_column is not None:
            heard_BR1 = features_BRF[..., self.scaling.heard_column, None]
            tokens_BRF = tokens_BRF * (1 - self.heard_only_F * (1 - heard_BR1))
        return tokens_BRF * mask_BR.unsqueeze(-1).to(tokens_BRF.dtype)

    def to_metres(self, scaled: Gaussian) -> tuple[Tensor, Tensor]:
        """Return position [B, 2] in m (ENU) and covariance [B, 2, 2] in m²."""
        position_B2 = scaled.position_B2 * self.target_scale + self.target_mean_2
        l11_B, l21_B, l22_B = (scaled.cholesky_B3 * self.target_scale).unbind(dim=1)
        east_B, both_B, north_B = l11_B * l11_B, l11_B * l21_B, l21_B * l21_B + l22_B * l22_B
        return position_B2, torch.stack([east_B, both_B, both_B, north_B], dim=1).reshape(-1, 2, 2)
