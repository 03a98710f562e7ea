"""Receiver tokens and a token for every pair of them: what lies between two receivers, such as a time difference, has its own place.

After the pair-biased attention of Evoformer-like networks (Jumper et al. 2021, suppl. 1.6), without its triangle updates.
Legend: B examples, R receiver tokens, F features a token, W width of a token, E width of a pair, H heads, C columns of a head, O outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from heimdall.training.architectures.tokens import (
    MASKED_SCORE,
    AttentionPool,
    SharedDropout,
    TokenLift,
    drop_receivers,
    pool_mean,
    split_columns,
)


class PairLift(nn.Module):
    """From two receivers' features to their pair: differences carry time differences and baselines, sums what both have in common."""

    def __init__(self, num_features: int, pair_width: int) -> None:
        super().__init__()
        self.difference = nn.Linear(num_features, pair_width)
        self.sum = nn.Linear(num_features, pair_width, bias=False)
        self.mix = nn.Linear(pair_width, pair_width)

    def forward(self, tokens_BRF: Tensor) -> Tensor:
        """Return pairs [B, R, R, E]; the first receiver of a pair is the one that will listen to it."""
        first_BR1F, second_B1RF = tokens_BRF.unsqueeze(2), tokens_BRF.unsqueeze(1)
        pairs_BRRE: Tensor = self.mix(silu(self.difference(first_BR1F - second_B1RF) + self.sum(first_BR1F + second_B1RF)))
        return pairs_BRRE


class PairBlock(nn.Module):
    """Pre-norm attention biased by pairs, which also carry values; feed-forward; pairs hear what their two receivers became.

    Written out: the fused kernels are not deterministic on CUDA.
    """

    def __init__(self, width: int, pair_width: int, heads: int, dropout: float, *, is_last: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.norm_pairs = nn.LayerNorm(pair_width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(pair_width, heads, bias=False)
        self.mix = nn.Linear(width, width)
        self.mix_pairs = nn.Linear(heads * pair_width, width, bias=False)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.dropout = SharedDropout(dropout)
        self.update = None if is_last else PairUpdate(width, pair_width)

    def forward(self, tokens_BRW: Tensor, pairs_BRRE: Tensor, mask_BR: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens and pairs; absent receivers are attended to by none."""
        tokens_BRW = tokens_BRW + self.dropout(self._attend(self.norm_attention(tokens_BRW), self.norm_pairs(pairs_BRRE), mask_BR))
        fed_BRW: Tensor = self.feed(self.norm_feed(tokens_BRW))
        tokens_BRW = tokens_BRW + self.dropout(fed_BRW)
        if self.update is not None:
            pairs_BRRE = pairs_BRRE + self.dropout(self.update(tokens_BRW, pairs_BRRE))
        return tokens_BRW, pairs_BRRE

    def _attend(self, tokens_BRW: Tensor, pairs_BRRE: Tensor, mask_BR: Tensor) -> Tensor:
        query_BHRC, key_BHRC, value_BHRC = (
            split_columns(part_BRW, self.heads).transpose(1, 2) for part_BRW in self.queries_keys_values(tokens_BRW).chunk(3, dim=-1)
        )
        score_BHRR = query_BHRC @ key_BHRC.transpose(-1, -2) / math.sqrt(query_BHRC.shape[-1])
        score_BHRR = score_BHRR + self.bias(pairs_BRRE).permute(0, 3, 1, 2)
        weight_BHRR = score_BHRR.masked_fill(~mask_BR[:, None, None, :], MASKED_SCORE).softmax(dim=-1)
        heard_BRW: Tensor = self.mix((weight_BHRR @ value_BHRC).transpose(1, 2).flatten(2))
        between_BRW: Tensor = self.mix_pairs((weight_BHRR.transpose(1, 2) @ pairs_BRRE).flatten(2))
        return heard_BRW + between_BRW


class PairUpdate(nn.Module):
    """What a pair learns from the state of its two receivers."""

    def __init__(self, width: int, pair_width: int) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.norm_pairs = nn.LayerNorm(pair_width)
        self.first = nn.Linear(width, 2 * pair_width)
        self.second = nn.Linear(width, 2 * pair_width, bias=False)
        self.own = nn.Linear(pair_width, 2 * pair_width, bias=False)
        self.leave = nn.Linear(2 * pair_width, pair_width)

    def forward(self, tokens_BRW: Tensor, pairs_BRRE: Tensor) -> Tensor:
        """Return what is added to the pairs, [B, R, R, E]."""
        tokens_BRW = self.norm_tokens(tokens_BRW)
        both_BRRE = self.first(tokens_BRW).unsqueeze(2) + self.second(tokens_BRW).unsqueeze(1)
        added_BRRE: Tensor = self.leave(silu(both_BRRE + self.own(self.norm_pairs(pairs_BRRE))))
        return added_BRRE


class PairTransformer(nn.Module):
    """Tokens and pairs, ``depth`` blocks, attention pooling of the tokens.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; receivers of the data set.
    width, pair_width, embedding, depth, heads, head_width
        Width of a token and of a pair, numbers learned for each receiver, blocks, attention heads, width of the last hidden layer.
    dropout, receiver_dropout
        Of columns in blocks and head; mean share of receivers hidden while training.
    num_outputs
        Numbers that describe the prediction.
    """

    def __init__(
        self,
        num_features: int,
        num_receivers: int,
        *,
        width: int,
        pair_width: int,
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
        self.lift_pairs = PairLift(num_features, pair_width)
        self.enter = nn.Sequential(nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(PairBlock(width, pair_width, heads, dropout, is_last=index == depth - 1) for index in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPool(width, heads)
        self.head = nn.Sequential(nn.Linear(2 * width, head_width), nn.SiLU(), SharedDropout(dropout), nn.Linear(head_width, num_outputs))

    def forward(self, tokens_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return [B, O] from normalized tokens."""
        if self.training and self.receiver_dropout > 0:
            mask_BR = drop_receivers(mask_BR, self.receiver_dropout)
        tokens_BRW, pairs_BRRE = self.enter(self.lift(tokens_BRF, receiver_BR)), self.lift_pairs(tokens_BRF)
        for block in self.blocks:
            tokens_BRW, pairs_BRRE = block(tokens_BRW, pairs_BRRE, mask_BR)
        tokens_BRW = self.norm(tokens_BRW)
        output: Tensor = self.head(torch.cat([self.pool(tokens_BRW, mask_BR), pool_mean(tokens_BRW, mask_BR)], dim=-1))
        return output
