"""Everything about a run that changes while it trains, in one place, so that a checkpoint cannot forget a part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from heimdall.domain.jobs import TrainingJobConfig
from heimdall.training.architectures.localizer import Localizer
from heimdall.training.schedules import LearningRate
from heimdall.training.stopping import BestEpoch

RECORD_LOSS: Final = 0
RECORD_LOCATED: Final = 1
RECORD_GRAD_NORM: Final = 2

_SGD_MOMENTUM: Final = 0.9


@dataclass
class RunState:
    """A run between two optimizer steps."""

    model: Localizer
    optimizer: torch.optim.Optimizer
    learning_rate: LearningRate
    record: Tensor
    """[batches, 3] of the present epoch: loss, examples located, gradient norm. Rows from ``batch`` on mean nothing yet."""
    scaler: torch.amp.GradScaler | None = None
    best: BestEpoch = field(default_factory=BestEpoch)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Optimizer steps completed over the whole run."""
    batch: int = 0
    """Batches done inside the next epoch."""
    train_seconds: float = 0.0
    """Of the present epoch's steps so far, pauses not counted."""
    epoch_seconds: float = 0.0
    """Of the present epoch so far."""
    total_seconds: float = 0.0
    """Of all epochs completed."""

    def keep_best_weights(self) -> None:
        """Copy the present weights aside."""
        self.best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}


def make_optimizer(model: torch.nn.Module, config: TrainingJobConfig) -> torch.optim.Optimizer:
    """Return the update rule that the job asked for, in its fused form (one kernel for all weights)."""
    parameters = list(model.parameters())
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(parameters, lr=rate, weight_decay=decay, momentum=_SGD_MOMENTUM, nesterov=True, fused=True)


def hash_weights(model: torch.nn.Module) -> str:
    """Return sha256 over names and bytes of all weights: equal runs have equal hashes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
