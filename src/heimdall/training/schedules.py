"""The learning rate: a pure function of the step, but for the plateau rule, whose small state is in the checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from heimdall.domain.errors import CheckpointError
from heimdall.domain.jobs import TrainingJobConfig

_ONECYCLE_RISE: Final = 0.3
_ONECYCLE_START: Final = 1 / 25
_ONECYCLE_END: Final = 1 / 25 / 1e4
_PLATEAU_FACTOR: Final = 0.5
_PLATEAU_PATIENCE: Final = 3
_PLATEAU_THRESHOLD: Final = 1e-4


@dataclass
class PlateauState:
    """Of the plateau rule: the present factor, and how long the validation loss has not been better."""

    factor: float = 1.0
    best: float | None = None
    bad_epochs: int = 0


class LearningRate:
    """Gives the rate of every optimizer step.

    ``cosine`` falls to zero over all steps of the run, ``onecycle`` rises for 30 % of them and then falls (Smith 2018;
    defaults of ``torch.optim.lr_scheduler.OneCycleLR``, momentum not cycled), ``plateau`` halves the rate after three
    epochs without a better validation loss. A job continued with more epochs takes its place on the curve of the longer
    run: the rate may then rise again.

    Parameters
    ----------
    config
        Peak rate, rule and epochs.
    steps_per_epoch
        Optimizer steps in one epoch.
    """

    def __init__(self, config: TrainingJobConfig, steps_per_epoch: int) -> None:
        self._rule = config.lr_scheduler
        self._peak = config.learning_rate
        self._total_steps = config.epochs * steps_per_epoch
        self._plateau = PlateauState()

    @property
    def depends_on_length(self) -> bool:
        """True where another number of epochs changes the rate of a step."""
        return self._rule in {"cosine", "onecycle"}

    def at(self, step: int) -> float:
        """Return the rate of the step with this number, from 0."""
        if self._rule == "constant":
            return self._peak
        if self._rule == "plateau":
            return self._peak * self._plateau.factor
        share = min(step / self._total_steps, 1.0)
        if self._rule == "cosine":
            return self._peak * _ease(1.0, 0.0, share)
        if share < _ONECYCLE_RISE:
            return self._peak * _ease(_ONECYCLE_START, 1.0, share / _ONECYCLE_RISE)
        return self._peak * _ease(1.0, _ONECYCLE_END, (share - _ONECYCLE_RISE) / (1 - _ONECYCLE_RISE))

    def see(self, val_loss: float) -> None:
        """Take note of an epoch's validation loss."""
        state = self._plateau
        if state.best is None or val_loss < state.best - _PLATEAU_THRESHOLD * abs(state.best):
            state.best, state.bad_epochs = val_loss, 0
            return
        state.bad_epochs += 1
        if state.bad_epochs > _PLATEAU_PATIENCE:
            state.factor, state.bad_epochs = state.factor * _PLATEAU_FACTOR, 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON."""
        return asdict(self._plateau)

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave. CheckpointError where it is something else."""
        try:
            self._plateau = PlateauState(**state)
        except TypeError as error:
            raise CheckpointError("The checkpoint's learning-rate state cannot be read; start a new job.") from error


def _ease(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
