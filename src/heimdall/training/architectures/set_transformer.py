"""Set Transformer (Lee et al. 2019): receivers attend to each other before they are pooled.

Legend: B examples, R receiver tokens, F features a token, W width, H heads, C columns of a head (W / H), O outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from heimdall.training.architectures.tokens import (
    MASKED_SCORE,
    AttentionPool,
    SharedDropout,
    TokenLift,
    drop_receivers,
    pool_mean,
    split_columns,
)


class SelfAttentionBlock(nn.Module):
    """Pre-norm attention and feed-forward. Written out: the fused kernels are not deterministic on CUDA."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.dropout = SharedDropout(dropout)

    def forward(self, tokens_BRW: Tensor, mask_BR: Tensor) -> Tensor:
        """Return the tokens [B, R, W]; absent tokens are attended to by none."""
        tokens_BRW = tokens_BRW + self.dropout(self._attend(self.norm_attention(tokens_BRW), mask_BR))
        fed_BRW: Tensor = self.feed(self.norm_feed(tokens_BRW))
        result_BRW: Tensor = tokens_BRW + self.dropout(fed_BRW)
        return result_BRW

    def _attend(self, tokens_BRW: Tensor, mask_BR: Tensor) -> Tensor:
        query_BHRC, key_BHRC, value_BHRC = (
            split_columns(part_BRW, self.heads).transpose(1, 2) for part_BRW in self.queries_keys_values(tokens_BRW).chunk(3, dim=-1)
        )
        score_BHRR = query_BHRC @ key_BHRC.transpose(-1, -2) / math.sqrt(query_BHRC.shape[-1])
        weight_BHRR = score_BHRR.masked_fill(~mask_BR[:, None, None, :], MASKED_SCORE).softmax(dim=-1)
        mixed: Tensor = self.mix((weight_BHRR @ value_BHRC).transpose(1, 2).flatten(2))
        return mixed


class SetTransformer(nn.Module):
    """Tokens, ``depth`` blocks of self-attention, attention pooling.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; receivers of the data set.
    width, embedding, depth, heads, head_width
        Width of a token, numbers learned for each receiver, blocks, attention heads, width of the last hidden layer.
    dropout, receiver_dropout
        Of columns in blocks and head; mean share of receivers hidden while training.
    num_outputs
        Numbers that describe the Gaussian.
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
    ) -> None:
        super().__init__()
        self.receiver_dropout = receiver_dropout
        self.lift = TokenLift(num_features, num_receivers, embedding=embedding, width=width)
        self.enter = nn.Sequential(nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(SelfAttentionBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPool(width, heads)
        self.head = nn.Sequential(nn.Linear(2 * width, head_width), nn.SiLU(), SharedDropout(dropout), nn.Linear(head_width, num_outputs))

    def forward(self, tokens_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return [B, O] from normalized tokens."""
        if self.training and self.receiver_dropout > 0:
            mask_BR = drop_receivers(mask_BR, self.receiver_dropout)
        tokens_BRW = self.enter(self.lift(tokens_BRF, receiver_BR))
        for block in self.blocks:
            tokens_BRW = block(tokens_BRW, mask_BR)
        tokens_BRW = self.norm(tokens_BRW)
        output: Tensor = self.head(torch.cat([self.pool(tokens_BRW, mask_BR), pool_mean(tokens_BRW, mask_BR)], dim=-1))
        return output
