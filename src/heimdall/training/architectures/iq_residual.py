"""A network over samples that begins where times of arrival point, and is told by how much each pair of samples contradicts.

Legend: B examples, R receiver tokens, F features a token, T samples, P numbers of the physical estimate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.iq_front import Views
from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.architectures.residual import ResidualLocalizer
from heimdall.training.architectures.sampled import SampledLocalizer


class IqResidualLocalizer(SampledLocalizer, ResidualLocalizer):
    """A residual localizer whose physics is the search for the place from times of arrival, and whose network takes views and context."""

    physics: ArrivalLayer

    def forward(
        self,
        features_BRF: Tensor,
        mask_BR: Tensor,
        receiver_BR: Tensor,
        iq_BRT2: Tensor | None = None,
        known_BP: Tensor | None = None,
        pairs_BRRP: Tensor | None = None,
    ) -> Gaussian:
        """Return the Gaussian in scaled units; samples are int8 [B, R, T, 2]; estimate and pairs that are not known are computed here."""
        estimate_BP = self.physics(features_BRF, mask_BR, receiver_BR) if known_BP is None else known_BP
        views = self.look(features_BRF, mask_BR, iq_BRT2, pairs_BRRP)
        if views is not None:
            path_BR = self.physics.path_m(features_BRF, mask_BR, receiver_BR, estimate_BP[:, :2]) / self.target_scale
            views = contradict(views, path_BR.to(features_BRF.dtype))
        return self._correct(features_BRF, mask_BR, receiver_BR, estimate_BP, views)


def contradict(views: Views, path_BR: Tensor) -> Views:
    """Return views whose delays are those that the estimate leaves open, in units of their own errors.

    A whole delay is some hundred times its error, and a network would have to learn the geometry to that precision.
    """
    delay_BRR, sigma_BRR = views.pairs_BRRP[..., 0], (5 * views.pairs_BRRP[..., 2]).exp()
    left_BRR = (delay_BRR - (path_BR.unsqueeze(2) - path_BR.unsqueeze(1))) / sigma_BRR
    left_BRR1 = (left_BRR.sign() * (1 + left_BRR.abs()).log() * views.mask_BRR.to(left_BRR.dtype)).unsqueeze(-1)
    return views._replace(pairs_BRRP=torch.cat([left_BRR1, views.pairs_BRRP[..., 1:]], dim=-1))
