"""The best epoch so far, and when to stop waiting for a better one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from heimdall.domain.errors import CheckpointError
from heimdall.domain.models import FinalMetrics


@dataclass
class BestEpoch:
    """State of early stopping: all of it goes into the checkpoint.

    The best epoch is the one with the lowest validation loss. Its weights become the model, so the validation figures of
    the model are chosen on the validation split; ``docs/results.md`` states the last epoch's beside them.
    """

    epoch: int | None = None
    val_loss: float | None = None
    metrics: FinalMetrics | None = None
    epochs_since: int = 0

    def see(self, epoch: int, val_loss: float, metrics: FinalMetrics) -> bool:
        """Take note of an epoch; return True where it is the best so far."""
        if self.val_loss is not None and not val_loss < self.val_loss:
            self.epochs_since += 1
            return False
        self.epoch, self.val_loss, self.metrics, self.epochs_since = epoch, val_loss, metrics, 0
        return True

    def is_patience_over(self, patience: int) -> bool:
        """Say whether ``patience`` epochs passed without a better one; patience 0 waits for ever."""
        return patience > 0 and self.epochs_since >= patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON."""
        return {**asdict(self), "metrics": self.metrics.model_dump() if self.metrics else None}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> BestEpoch:
        """Take back what :meth:`state` gave. CheckpointError where it is something else."""
        try:
            metrics = FinalMetrics.model_validate(state["metrics"]) if state["metrics"] is not None else None
            return cls(**{**state, "metrics": metrics})
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError("The checkpoint's record of the best epoch cannot be read; start a new job.") from error
