"""What every network shares: receiver embedding, receiver dropout and masked pooling.

Legend: B examples, R receiver tokens, F features a token, W width of a token, H pooling heads.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

MASKED_SCORE: Final = -1e4
"""Score of an absent token before a softmax: finite, so that an example without receivers gives numbers, and within float16."""

_EMBEDDING_SPREAD: Final = 0.3


class TokenLift(nn.Module):
    """From what a receiver measured, and what the network learned about that receiver itself, to a token.

    The learned numbers hold calibration, antenna and surroundings: they move the offset of an uncalibrated receiver, and let
    every later layer treat it in its own way.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; receivers of the data set.
    embedding
        Numbers learned for each receiver.
    width
        W of the tokens that leave.
    """

    def __init__(self, num_features: int, num_receivers: int, *, embedding: int, width: int) -> None:
        super().__init__()
        self.receivers = nn.Embedding(num_receivers, embedding)
        self.lift = nn.Linear(num_features + embedding, width)
        nn.init.normal_(self.receivers.weight, std=_EMBEDDING_SPREAD)

    def forward(self, tokens_BRF: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return tokens [B, R, W]."""
        lifted_BRW: Tensor = self.lift(torch.cat([tokens_BRF, self.receivers(receiver_BR)], dim=-1))
        return lifted_BRW


class SharedDropout(nn.Module):
    """Dropout that hides a column in all tokens of an example at once.

    It regularizes the set as a whole and draws R times fewer random numbers: on a CPU plain dropout on tokens takes a third of the
    step. It also draws uniform numbers, because torch's Bernoulli draws take 60 ns each there. Without a token axis it is plain dropout.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Return [B, R, W] or [B, W], while training with columns hidden and the others grown to make up for it."""
        if not self.training or self.rate == 0:
            return values
        tokens = (1,) * (values.dim() - 2)
        draw = torch.rand(values.shape[0], *tokens, values.shape[-1], device=values.device)
        return values * ((draw >= self.rate).to(values.dtype) / (1 - self.rate))


def drop_receivers(mask_BR: Tensor, rate: float) -> Tensor:
    """Hide receivers at random, so that the network does not lean on any of them.

    Each example draws its own share of hidden receivers, uniform from 0 to twice the rate; an example that would lose
    all keeps all.

    Parameters
    ----------
    mask_BR
        bool [B, R], receivers present.
    rate
        Mean share of the receivers hidden, 0 to 0.5.

    Returns
    -------
    Tensor
        bool [B, R], never true where the mask is false.
    """
    share_B1 = 2 * rate * torch.rand(mask_BR.shape[0], 1, device=mask_BR.device)
    kept_BR = mask_BR & (torch.rand(mask_BR.shape, device=mask_BR.device) >= share_B1)
    return torch.where(kept_BR.any(dim=1, keepdim=True), kept_BR, mask_BR)


def pool_mean(tokens_BRW: Tensor, mask_BR: Tensor) -> Tensor:
    """Return the mean [B, W] over the tokens present."""
    weight_BR1 = mask_BR.unsqueeze(-1).to(tokens_BRW.dtype)
    return (tokens_BRW * weight_BR1).sum(dim=1) / weight_BR1.sum(dim=1).clamp_min(1.0)


def pool_max(tokens_BRW: Tensor, mask_BR: Tensor) -> Tensor:
    """Return the maximum [B, W] over the tokens present."""
    return tokens_BRW.masked_fill(~mask_BR.unsqueeze(-1), MASKED_SCORE).amax(dim=1)


def split_columns(tokens_BRW: Tensor, heads: int) -> Tensor:
    """Return [B, R, heads, W / heads]."""
    return tokens_BRW.reshape(*tokens_BRW.shape[:-1], heads, tokens_BRW.shape[-1] // heads)


class AttentionPool(nn.Module):
    """Weighted means of the tokens, one for each head, with weights that the tokens propose (Ilse et al. 2018)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(width, heads)

    def forward(self, tokens_BRW: Tensor, mask_BR: Tensor) -> Tensor:
        """Return [B, W]; each head pools its own W / H columns."""
        score_BRH: Tensor = self.score(tokens_BRW).masked_fill(~mask_BR.unsqueeze(-1), MASKED_SCORE)
        weight_BRH = score_BRH.softmax(dim=1)
        columns_BRHC = split_columns(tokens_BRW, self.heads)
        return (columns_BRHC * weight_BRH.unsqueeze(-1)).sum(dim=1).flatten(1)
