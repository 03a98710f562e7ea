"""How far a run is and when it will end, as far as anyone can honestly say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

_MIN_EPOCHS: Final = 2
_MIN_ELAPSED_S: Final = 10.0


class Progress:
    """Turns the loop's position into a percentage and an expected end.

    The estimate assumes that every epoch is trained: early stopping can only make it earlier. It is None until this attempt
    has done two epochs or worked for ten seconds, because the first steps are slower than the rest.

    Parameters
    ----------
    total_epochs, batches_per_epoch
        Size of the run.
    epoch, batch
        Where this attempt begins: epochs completed, batches done inside the next.
    now
        Wall clock, aware UTC.
    monotonic
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        total_epochs: int,
        batches_per_epoch: int,
        epoch: int,
        batch: int,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._total_epochs = total_epochs
        self._batches_per_epoch = batches_per_epoch
        self._now = now
        self._monotonic = monotonic
        self._first_position = self._position(epoch, batch)
        self._started_s = monotonic()

    def percent(self, epoch: int, batch: int) -> float:
        """Return 0 to 100 for a position (epochs completed, batches done inside the next)."""
        return min(100.0, 100.0 * self._position(epoch, batch) / self._total_epochs)

    def estimate_completion(self, epoch: int, batch: int) -> datetime | None:
        """Return when the last epoch will be done at this attempt's mean speed, or None where that would be a guess."""
        position = self._position(epoch, batch)
        done, elapsed_s = position - self._first_position, self._monotonic() - self._started_s
        if done <= 0 or (done < _MIN_EPOCHS and elapsed_s < _MIN_ELAPSED_S):
            return None
        return self._now() + timedelta(seconds=elapsed_s * max(0.0, self._total_epochs - position) / done)

    def _position(self, epoch: int, batch: int) -> float:
        return epoch + batch / self._batches_per_epoch
