"""The plain yardstick: every receiver has its fixed place in one long input.

Legend: B examples, R receiver tokens, F features a token, S places (receivers of the data set), O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heimdall.training.architectures.tokens import SharedDropout


class SlotMlp(nn.Module):
    """Put each token into the place of its receiver, then a multilayer perceptron.

    Parameters
    ----------
    num_features, num_receivers
        F of the tokens; S, places.
    width, depth, dropout
        Hidden layers.
    num_outputs
        Numbers that describe the Gaussian.
    """

    def __init__(self, num_features: int, num_receivers: int, *, width: int, depth: int, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.register_buffer("slots_S", torch.arange(num_receivers), persistent=False)
        layers: list[nn.Module] = []
        size = num_receivers * (num_features + 1)
        for _ in range(depth):
            layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.SiLU(), SharedDropout(dropout)]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(size, num_outputs))

    def forward(self, tokens_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return [B, O] from normalized tokens; a place without token is all zeros and says so."""
        is_here_BRS = (receiver_BR.unsqueeze(-1) == self.slots_S) & mask_BR.unsqueeze(-1)
        place_BSR = is_here_BRS.to(tokens_BRF.dtype).transpose(1, 2)
        # A product with zeros and ones instead of a scatter: deterministic on CUDA, and one standard ONNX operator.
        filled_BSF = place_BSR @ tokens_BRF
        is_filled_BS1 = place_BSR.sum(dim=-1, keepdim=True)
        output: Tensor = self.layers(torch.cat([filled_BSF, is_filled_BS1], dim=-1).flatten(1))
        return output
