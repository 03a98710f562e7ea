"""A network over samples that begins where times of arrival point, and is told by how much each pair of samples contradicts.

Legend: B examples, R receiver tokens, F features a token, T samples, P numbers of the physical estimate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.iq_front import IqFront, Views
from heimdall.training.architectures.localizer import Gaussian, Scaling
from heimdall.training.architectures.residual import ResidualLocalizer


class IqResidualLocalizer(ResidualLocalizer):
    """A residual localizer that is given samples beside the tokens.

    Parameters
    ----------
    network, scaling, strength_column
        As in :class:`ResidualLocalizer`; the network takes views and context.
    physics
        The search for the place from times of arrival.
    front
        Makes of the samples what the network sees.
    """

    physics: ArrivalLayer

    def __init__(self, network: nn.Module, scaling: Scaling, physics: ArrivalLayer, front: IqFront, *, strength_column: int | None) -> None:
        super().__init__(network, scaling, physics, strength_column=strength_column)
        self.front = front

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
        views = None
        if iq_BRT2 is not None:
            path_BR = self.physics.path_m(features_BRF, mask_BR, receiver_BR, estimate_BP[:, :2]) / self.target_scale
            views = contradict(self.front(iq_BRT2, features_BRF, mask_BR, pairs_BRRP), path_BR.to(features_BRF.dtype))
        return self._correct(features_BRF, mask_BR, receiver_BR, estimate_BP, views)


def contradict(views: Views, path_BR: Tensor) -> Views:
    """Return views whose delays are those that the estimate leaves open, in units of their own errors.

    A whole delay is some hundred times its error, and a network would have to learn the geometry to that precision.
    """
    delay_BRR, sigma_BRR = views.pairs_BRRP[..., 0], (5 * views.pairs_BRRP[..., 2]).exp()
    left_BRR = (delay_BRR - (path_BR.unsqueeze(2) - path_BR.unsqueeze(1))) / sigma_BRR
    left_BRR1 = (left_BRR.sign() * (1 + left_BRR.abs()).log() * views.mask_BRR.to(left_BRR.dtype)).unsqueeze(-1)
    return views._replace(pairs_BRRP=torch.cat([left_BRR1, views.pairs_BRRP[..., 1:]], dim=-1))
