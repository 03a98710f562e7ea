"""Where the loop of a job's child reports: the claim's durable writes, and the side thread for everything else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from heimdall.domain.errors import StorageFullError, UnavailableError
from heimdall.domain.events import Tick
from heimdall.domain.jobs import Claim, DeviceInfo, PendingAction
from heimdall.domain.ports import Clock
from heimdall.domain.training import CheckpointFile, EpochReport
from heimdall.services.attempts import AttemptService
from heimdall.worker.control import ControlThread

PATIENCE_S: Final = 60.0
"""s a write waits for a database or file store that is away, before the attempt counts as lost."""
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0

_LOGGED: Final = ("train_loss", "val_loss", "val_error_median_m", "learning_rate")

T = TypeVar("T")

logger = logging.getLogger(__name__)


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


class JobSink:
    """The loop's :class:`~heimdall.domain.training.TrainingSink` for one claim."""

    def __init__(
        self,
        *,
        attempts: AttemptService,
        claim: Claim,
        control: ControlThread,
        clock: Clock,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._attempts = attempts
        self._claim = claim
        self._control = control
        self._clock = clock
        self._patience_s = patience_s
        self._sleep = sleep

    def report_device(self, device: DeviceInfo, *, resume_is_exact: bool | None) -> None:
        """Store where the attempt runs."""
        self.persist(lambda _: self._attempts.report_device(self._claim, device, resume_is_exact))
        exact = {None: "from the start", True: "resumed, bit-exact", False: "resumed, not bit-exact"}[resume_is_exact]
        logger.info(
            "attempt_started", extra={"attempt": self._claim.attempt, "device": device.name, "threads": device.threads, "how": exact}
        )

    def report_tick(
        self, *, epoch: int, batch: int, total_batches: int, progress_percent: float, estimated_completion: datetime | None
    ) -> None:
        """Offer a tick to the side thread, which says at most four a second."""

        def make() -> Tick:
            return Tick(
                job_id=self._claim.job_id,
                attempt=self._claim.attempt,
                timestamp=self._clock.now(),
                current_epoch=epoch,
                progress_percent=progress_percent,
                batch=batch,
                total_batches=total_batches,
                estimated_completion=estimated_completion,
            )

        self._control.offer_tick(make)

    def report_epoch(self, report: EpochReport) -> None:
        """Make the epoch durable before returning; a database that restarts costs its seconds."""
        self.persist(lambda is_repeat: self._attempts.record_epoch(self._claim, report, is_repeat=is_repeat))
        self._control.note_step()
        metric = report.metric
        extra = {"epoch": metric.epoch, "of": report.total_epochs, "seconds": round(metric.epoch_duration_seconds or 0, 2)}
        logger.info("epoch_finished", extra={**extra, **{name: _round(getattr(metric, name)) for name in _LOGGED}})

    def save_checkpoint(self, checkpoint: CheckpointFile) -> None:
        """Make the checkpoint durable. StorageFullError keeps the one before."""
        self.persist(lambda _: self._attempts.save_checkpoint(self._claim, checkpoint))
        self._control.note_step()
        place = {"epoch": checkpoint.epoch, "step": checkpoint.step, "batch": checkpoint.batch}
        logger.info("checkpoint_saved", extra={**place, "write_s": _round(checkpoint.write_s)})

    def requested_action(self) -> PendingAction | None:
        """Return what was asked for, from memory."""
        return self._control.read()

    def persist(self, write: Callable[[bool], T]) -> T:
        """Call ``write(is_repeat)`` until it is done, as long as the lease can be held.

        Raises
        ------
        LeaseLostError
            The job belongs to another attempt.
        StorageFullError
            At once: waiting makes no room.
        UnavailableError
            Nothing answered for ``patience_s``.
        """
        deadline = time.monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        is_repeat = False
        while True:
            try:
                return write(is_repeat)
            except StorageFullError:
                raise
            except UnavailableError:
                self._control.check_lease()
                if time.monotonic() >= deadline:
                    raise
            is_repeat = True
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
