"""A network over samples: each receiver's by convolution, each pair's by its delay and cross-spectrum, then all together.

Legend: B examples, R receiver tokens, F features a token, W width of a token, C channels, P numbers of a pair, O numbers of the Gaussian.
A mean over a receiver's own samples says nothing about delay; only pairs do, so they stay pairs until their receivers are known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from heimdall.training.architectures.iq_front import NUM_PAIR_NUMBERS, Views
from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.architectures.sampled import SampledLocalizer
from heimdall.training.architectures.tokens import AttentionPool, SharedDropout, TokenLift, drop_receivers, pool_mean


class IqEncoder(nn.Module):
    """Convolve, compare pairs, tell each receiver what its pairs say, pool.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; receivers of the data set.
    width, embedding, heads, head_width
        Width of a token, numbers learned for each receiver, pooling heads, width of the last hidden layer.
    channels
        C of the convolution's last layer.
    dropout, receiver_dropout
        Of columns; mean share of receivers hidden while training.
    num_outputs
        Numbers that describe the Gaussian.
    num_context
        Numbers known of the example as a whole, such as a physical estimate; 0 for none.
    """

    def __init__(
        self,
        num_features: int,
        num_receivers: int,
        *,
        width: int,
        embedding: int,
        heads: int,
        head_width: int,
        channels: int,
        dropout: float,
        receiver_dropout: float,
        num_outputs: int,
        num_context: int = 0,
    ) -> None:
        super().__init__()
        self.receiver_dropout, self.channels, self.num_context = receiver_dropout, channels, num_context
        self.convolve = nn.Sequential(
            nn.Conv1d(2, channels // 2, 9, stride=4, padding=4),
            nn.SiLU(),
            nn.Conv1d(channels // 2, channels, 9, stride=4, padding=4),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 9, stride=4, padding=4),
            nn.SiLU(),
        )
        self.lift = TokenLift(num_features + channels, num_receivers, embedding=embedding, width=width)
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), SharedDropout(dropout), nn.Linear(width, width))
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.pair = nn.Linear(NUM_PAIR_NUMBERS, width, bias=False)
        self.compare = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.merge = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPool(width, heads)
        self.head = nn.Sequential(
            nn.Linear(3 * width + num_context, head_width), nn.SiLU(), SharedDropout(dropout), nn.Linear(head_width, num_outputs)
        )

    def forward(
        self,
        tokens_BRF: Tensor,
        mask_BR: Tensor,
        receiver_BR: Tensor,
        views: Views | None = None,
        context_BC: Tensor | None = None,
    ) -> Tensor:
        """Return [B, O] from normalized tokens; without samples, from the tokens alone. A context that is not given counts as zeros."""
        if self.training and self.receiver_dropout > 0:
            mask_BR = drop_receivers(mask_BR, self.receiver_dropout)
        tokens_BRW = self.enter(self.lift(torch.cat([tokens_BRF, self._summarize(tokens_BRF, views)], dim=2), receiver_BR))
        said_BRW, common_BW = torch.zeros_like(tokens_BRW), tokens_BRW.new_zeros(tokens_BRW.shape[0], tokens_BRW.shape[2])
        if views is not None:
            mask_BRR = views.mask_BRR & mask_BR.unsqueeze(2) & mask_BR.unsqueeze(1)
            pairs_BRRW = silu(self.first(tokens_BRW).unsqueeze(2) + self.second(tokens_BRW).unsqueeze(1) + self.pair(views.pairs_BRRP))
            pairs_BRRW = silu(self.compare(pairs_BRRW))
            weight_BRR1 = self.score(pairs_BRRW).sigmoid() * mask_BRR.unsqueeze(-1).to(pairs_BRRW.dtype)
            said_BRW = (pairs_BRRW * weight_BRR1).sum(dim=2) / (weight_BRR1.sum(dim=2) + 0.1)
            common_BW = (pairs_BRRW * weight_BRR1).sum(dim=(1, 2)) / (weight_BRR1.sum(dim=(1, 2)) + 0.1)
        tokens_BRW = self.norm(tokens_BRW + silu(self.merge(torch.cat([tokens_BRW, said_BRW], dim=2))))
        parts = [self.pool(tokens_BRW, mask_BR), pool_mean(tokens_BRW, mask_BR), common_BW]
        if self.num_context:
            parts.append(tokens_BRW.new_zeros(tokens_BRW.shape[0], self.num_context) if context_BC is None else context_BC)
        output: Tensor = self.head(torch.cat(parts, dim=1))
        return output

    def _summarize(self, tokens_BRF: Tensor, views: Views | None) -> Tensor:
        if views is None:
            return tokens_BRF.new_zeros(*tokens_BRF.shape[:2], self.channels)
        summary_NC: Tensor = self.convolve(views.level_BR2T.flatten(0, 1)).mean(dim=2)
        return summary_NC.reshape(*tokens_BRF.shape[:2], self.channels)


class IqLocalizer(SampledLocalizer):
    """A localizer whose network takes the views of the samples beside the tokens."""

    def forward(
        self,
        features_BRF: Tensor,
        mask_BR: Tensor,
        receiver_BR: Tensor,
        iq_BRT2: Tensor | None = None,
        pairs_BRRP: Tensor | None = None,
    ) -> Gaussian:
        """Return the Gaussian in scaled units; samples are int8 [B, R, T, 2], pairs that are not known are computed here."""
        views = self.look(features_BRF, mask_BR, iq_BRT2, pairs_BRRP)
        return self._read(self.network(self.normalize(features_BRF, mask_BR), mask_BR, receiver_BR, views))
