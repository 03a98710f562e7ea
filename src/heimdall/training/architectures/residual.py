"""A network that corrects what physics says, in units of what physics leaves open.

Legend: B examples, R receiver tokens, F features a token, P numbers of the physical estimate.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from heimdall.training.architectures.localizer import Gaussian, Localizer, Scaling
from heimdall.training.calibration import NOMINAL_RADII

_MAX_SHIFT: Final = 0.7
"""Standard deviations of the physical estimate by which a correction may move it: the network refines, it does not overrule."""
_MAX_LOG_STRETCH: Final = 0.7

_COMMON_JITTER_DB: Final = 2.0
_RECEIVER_JITTER_DB: Final = 3.0
"""Deviations of the strengths shown while training: another day's transmitter, posture and gains (POWDER's receivers drift by some dB)."""


class ResidualLocalizer(Localizer):
    """A localizer that begins at a physical estimate: ``position = place + L shift``, ``factor = scale L stretch``.

    Parameters
    ----------
    network
        Maps tokens, mask, receivers and the estimate's context to [B, 5].
    scaling
        Fitted on the training rows.
    physics
        Maps features in physical units to estimates [B, P] in metres; without weights.
    strength_column
        Column of the feature that is jittered while training; None where there is none.
    """

    calibration: Tensor

    def __init__(self, network: nn.Module, scaling: Scaling, physics: nn.Module, *, strength_column: int | None) -> None:
        super().__init__(network, scaling)
        self.physics = physics
        self.strength_column = strength_column
        self.register_buffer("calibration", torch.ones(()))

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor, estimate_BP: Tensor | None = None) -> Gaussian:
        """Return the Gaussian in scaled units.

        Parameters
        ----------
        features_BRF, mask_BR, receiver_BR
            As in :class:`Localizer`.
        estimate_BP
            The physical estimate where it is known already; without it, it is computed here, as in the exported graph.
        """
        if estimate_BP is None:
            estimate_BP = self.physics(features_BRF, mask_BR, receiver_BR)
        return self._correct(features_BRF, mask_BR, receiver_BR, estimate_BP)

    def _correct(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor, estimate_BP: Tensor, *seen: object) -> Gaussian:
        """Return the estimate as the network moves and stretches it; what it has ``seen`` besides comes before the context."""
        place_B2 = (estimate_BP[:, :2] - self.target_mean_2) / self.target_scale
        l11_B, l21_B, l22_B = (estimate_BP[:, 2:5] / self.target_scale).unbind(dim=1)
        slant_B = l21_B / l22_B
        context_BP = torch.stack(
            [
                *place_B2.unbind(1),
                *(estimate_BP[:, 5:7] / self.target_scale).unbind(1),
                l11_B.log(),
                slant_B,
                l22_B.log(),
                estimate_BP[:, 7],
            ],
            dim=1,
        )
        tokens_BRF = self.normalize(self._jitter(features_BRF), mask_BR)
        output_B5 = self.network(tokens_BRF, mask_BR, receiver_BR, *seen, context_BP).float()
        shift_B2 = _MAX_SHIFT * (output_B5[:, :2] / _MAX_SHIFT).tanh()
        stretch_east_B, stretch_north_B = (_MAX_LOG_STRETCH * (output_B5[:, [2, 4]] / _MAX_LOG_STRETCH).tanh()).exp().unbind(dim=1)
        moved_B2 = torch.stack([l11_B * shift_B2[:, 0], l21_B * shift_B2[:, 0] + l22_B * shift_B2[:, 1]], dim=1)
        factor_B3 = torch.stack(
            [l11_B * stretch_east_B, l21_B * stretch_east_B + l22_B * output_B5[:, 3].tanh(), l22_B * stretch_north_B], dim=1
        )
        return Gaussian(place_B2 + moved_B2, factor_B3 * self.calibration)

    def set_radii(self, radii: npt.NDArray[np.float64]) -> None:
        """Take these radii (50, 68, 95 %) of the present ellipses: the covariance grows until that of 68 % is a Gaussian's."""
        stretch = float(radii[1]) / NOMINAL_RADII[1]
        self.calibration.mul_(stretch)
        self.ellipse_radii = (float(radii[0]) / stretch, NOMINAL_RADII[1], float(radii[2]) / stretch)

    def _jitter(self, features_BRF: Tensor) -> Tensor:
        if not self.training or self.strength_column is None:
            return features_BRF
        num_examples, num_tokens, num_features = features_BRF.shape
        device = features_BRF.device
        shift_BR = _COMMON_JITTER_DB * torch.randn(num_examples, 1, device=device)
        shift_BR = shift_BR + _RECEIVER_JITTER_DB * torch.randn(num_examples, num_tokens, device=device)
        is_strength_F = (torch.arange(num_features, device=device) == self.strength_column).to(features_BRF.dtype)
        return features_BRF + shift_BR.unsqueeze(-1) * is_strength_F
