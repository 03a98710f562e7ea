"""Where the loop of a job's child reports: the claim's durable writes on one thread, ticks and questions on another."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from heimdall.domain.errors import LeaseLostError, StorageFullError, UnavailableError
from heimdall.domain.events import Tick
from heimdall.domain.jobs import Claim, DeviceInfo, PendingAction
from heimdall.domain.ports import Clock
from heimdall.domain.training import CheckpointFile, EpochReport, Phase, Position
from heimdall.services.attempts import AttemptService
from heimdall.services.jobs import FULL_DISK_NOTICE
from heimdall.worker.control import ControlThread
from heimdall.worker.scribe import Scribe

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
        has_room: Callable[[], bool] = lambda: True,
        note_epoch: Callable[[EpochReport], None] = lambda _: None,
        checkpoint_gap_s: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts = attempts
        self._claim = claim
        self._control = control
        self._clock = clock
        self._patience_s = patience_s
        self._sleep = sleep
        self._has_room = has_room
        self._note_epoch = note_epoch
        self._checkpoint_gap_s = checkpoint_gap_s
        self._monotonic = monotonic
        self._checkpoint_at = -math.inf
        self._is_waiting = False
        self._is_said = False
        self._scribe: Scribe | None = None

    def note_phase(self, phase: Phase) -> None:
        """Tell the worker by its pipe."""
        self._control.note_phase(phase)

    def report_device(self, device: DeviceInfo, *, resume_is_exact: bool | None) -> None:
        """Store where the attempt runs."""
        self.persist(lambda _: self._attempts.report_device(self._claim, device, resume_is_exact))
        exact = {None: "from the start", True: "resumed, bit-exact", False: "resumed, not bit-exact"}[resume_is_exact]
        logger.info(
            "attempt_started", extra={"attempt": self._claim.attempt, "device": device.name, "threads": device.threads, "how": exact}
        )

    def report_tick(self, look: Callable[[], Position]) -> None:
        """Offer a tick to the side thread, which says at most four a second."""
        self._control.offer_tick(lambda: self._make_tick(look()))

    def _make_tick(self, position: Position) -> Tick:
        return Tick(
            job_id=self._claim.job_id,
            attempt=self._claim.attempt,
            timestamp=self._clock.now(),
            current_epoch=position.epoch,
            progress_percent=position.progress_percent,
            batch=position.batch,
            total_batches=position.total_batches,
            estimated_completion=position.estimated_completion,
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take epochs and checkpoints within the block; behind it all of them are durable, or what failed is raised."""
        self._scribe = scribe = Scribe(record_epochs=self._record_epochs, store_checkpoint=self._store_checkpoint)
        try:
            yield
        finally:
            self._scribe = None
            scribe.close()

    def report_epoch(self, report: EpochReport) -> None:
        """Have the epoch made durable; a database that restarts holds nobody up, and a kill behind this word takes nothing."""
        assert self._scribe is not None, "epochs are reported within writing()"
        self._note_epoch(report)
        self._scribe.put_epoch(report)

    def is_checkpoint_wanted(self) -> bool:
        """Return False right after a checkpoint: writing one takes turns with the loop for the interpreter, a tenth of a short epoch."""
        return self._monotonic() - self._checkpoint_at >= self._checkpoint_gap_s

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        """Have the checkpoint made durable behind the epochs reported so far; the one before stays valid until then."""
        assert self._scribe is not None, "checkpoints are saved within writing()"
        self._checkpoint_at = self._monotonic()
        self._scribe.put_checkpoint(write)

    def _record_epochs(self, reports: Sequence[EpochReport]) -> None:
        self.persist(lambda is_repeat: self._attempts.record_epochs(self._claim, reports, is_repeat=is_repeat))
        self._control.note_step()
        for report in reports:
            metric = report.metric
            extra = {"epoch": metric.epoch, "of": report.total_epochs, "seconds": round(metric.epoch_duration_seconds or 0, 2)}
            logger.info("epoch_finished", extra={**extra, **{name: _round(getattr(metric, name)) for name in _LOGGED}})

    def _store_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        written: list[CheckpointFile] = []

        def save(_: bool) -> CheckpointFile:
            if not written:
                written.append(write())
            self._attempts.save_checkpoint(self._claim, written[0])
            return written[0]

        checkpoint = self.persist(save)
        self._control.note_step()
        place = {"epoch": checkpoint.epoch, "step": checkpoint.step, "batch": checkpoint.batch}
        logger.info("checkpoint_saved", extra={**place, "write_s": _round(checkpoint.write_s)})

    def requested_action(self) -> PendingAction | None:
        """Return what was asked for, from memory. Raises what the thread that writes found."""
        if self._scribe is not None:
            self._scribe.check()
        return self._control.read()

    def persist(self, write: Callable[[bool], T]) -> T:
        """Call ``write(is_repeat)`` until it is done, as long as the lease can be held. A full disk is waited for without end.

        Raises
        ------
        LeaseLostError
            The job belongs to another attempt.
        StorageFullError
            The disk is full, and the attempt was asked to stop meanwhile.
        UnavailableError
            Nothing answered for ``patience_s``.
        """
        deadline = self._monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        is_repeat = False
        while True:
            try:
                result = write(is_repeat)
            except StorageFullError as error:
                self._note_full_disk(error)
                if self._control.is_asked_to_stop:
                    raise
                deadline = self._monotonic() + self._patience_s
            except UnavailableError:
                if self._monotonic() >= deadline:
                    raise
                self._control.note_step()  # it waits, and lives
            else:
                self._note_room()
                return result
            self._control.check_lease()
            is_repeat = True
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def wait_for_room(self, error: StorageFullError) -> bool:
        """Wait until the disk has room again; False where the attempt was asked to stop meanwhile. LeaseLostError."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._note_full_disk(error)
            self._control.check_lease()
            if self._control.is_asked_to_stop:
                return False
            self._sleep(pause_s)
            if self._has_room():
                return True
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _note_full_disk(self, error: StorageFullError) -> None:
        """Say once, in the log and where the database still takes it on the job, that the attempt waits; and that it lives."""
        self._control.note_step()
        if not self._is_waiting:
            self._is_waiting = True
            logger.warning("waiting_for_disk_space", extra={"reason": error.detail})
        if not self._is_said:
            with suppress(UnavailableError):
                self._attempts.note_waiting(self._claim, FULL_DISK_NOTICE)
                self._is_said = True

    def _note_room(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            logger.info("disk_space_is_back")
        if self._is_said:
            # An attempt that just ended took the sentence with it.
            with suppress(UnavailableError, LeaseLostError):
                self._attempts.note_waiting(self._claim, None)
                self._is_said = False
