"""DeepSets (Zaheer et al. 2017): one encoder for every receiver, then pooling over those present.

Legend: B examples, R receiver tokens, F features a token, W width of a token, O numbers of the Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from heimdall.training.architectures.tokens import AttentionPool, SharedDropout, TokenLift, drop_receivers, pool_max, pool_mean


class DeepSets(nn.Module):
    """Encode each receiver, tell each what all say together, pool by attention.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; receivers of the data set.
    width, embedding, depth, heads
        Width of a token, numbers learned for each receiver, layers of the encoder, pooling heads.
    head_width
        Width of the last hidden layer, which runs once for each example.
    dropout, receiver_dropout
        Of columns in every layer; mean share of receivers hidden while training.
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
        depth: int,
        heads: int,
        head_width: int,
        dropout: float,
        receiver_dropout: float,
        num_outputs: int,
        num_context: int = 0,
    ) -> None:
        super().__init__()
        self.receiver_dropout = receiver_dropout
        self.lift = TokenLift(num_features, num_receivers, embedding=embedding, width=width)
        layers: list[nn.Module] = [nn.LayerNorm(width), nn.SiLU(), SharedDropout(dropout)]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.LayerNorm(width), nn.SiLU(), SharedDropout(dropout)]
        self.encoder = nn.Sequential(*layers)
        self.own = nn.Linear(width, width)
        self.shared = nn.Linear(2 * width, width, bias=False)
        self.dropout = SharedDropout(dropout)
        self.pool = AttentionPool(width, heads)
        self.num_context = num_context
        self.head = nn.Sequential(
            nn.Linear(3 * width + num_context, head_width), nn.SiLU(), SharedDropout(dropout), nn.Linear(head_width, num_outputs)
        )

    def forward(self, tokens_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor, context_BC: Tensor | None = None) -> Tensor:
        """Return [B, O] from normalized tokens; a context that is not given counts as zeros."""
        if self.training and self.receiver_dropout > 0:
            mask_BR = drop_receivers(mask_BR, self.receiver_dropout)
        tokens_BRW = self.encoder(self.lift(tokens_BRF, receiver_BR))
        summary_B2W = torch.cat([pool_mean(tokens_BRW, mask_BR), pool_max(tokens_BRW, mask_BR)], dim=-1)
        tokens_BRW = tokens_BRW + self.dropout(silu(self.own(tokens_BRW) + self.shared(summary_B2W).unsqueeze(1)))
        parts = [self.pool(tokens_BRW, mask_BR), summary_B2W]
        if self.num_context:
            parts.append(tokens_BRW.new_zeros(tokens_BRW.shape[0], self.num_context) if context_BC is None else context_BC)
        output: Tensor = self.head(torch.cat(parts, dim=-1))
        return output
