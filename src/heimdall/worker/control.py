"""The child's side thread: looks for pause and cancel, says ticks, and tells the worker that steps go on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from heimdall.domain.errors import LeaseLostError, UnavailableError
from heimdall.domain.events import Tick
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import Phase

TICK_S: Final = 0.25
"""s between ticks: at most four a second."""
_BEAT_S: Final = 0.5

logger = logging.getLogger(__name__)


class ControlThread:
    """Keeps the control word in memory, so that the loop reads it between two steps for nothing.

    The training thread calls :meth:`read` and :meth:`offer_tick` only; both touch plain attributes.

    Parameters
    ----------
    read_control
        Asks the database. LeaseLostError ends the thread; UnavailableError is asked again.
    publish
        Says a tick; never raises.
    beat_fd
        Pipe to the worker; the sign of the present phase is written when something went on since the last one.
    poll_s
        s between looks.
    """

    def __init__(
        self, *, read_control: Callable[[], PendingAction | None], publish: Callable[[Tick], None], beat_fd: int | None, poll_s: float
    ) -> None:
        self._read_control = read_control
        self._publish = publish
        self._beat_fd = beat_fd
        self._poll_s = poll_s
        self._word: PendingAction | None = None
        self._lost: LeaseLostError | None = None
        self._is_draining = False
        self._num_steps = 0
        self._phase = Phase.PREPARING
        self._tick: Callable[[], Tick] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; ticks that were not said are dropped."""
        self._stop.set()
        self._thread.join(timeout=5)

    def drain(self) -> None:
        """Ask the loop to stop after this step because the worker stops. Safe in a signal handler."""
        self._is_draining = True

    @property
    def asked(self) -> PendingAction | None:
        """What a person asked for, without the worker's own stop."""
        return self._word

    @property
    def is_asked_to_stop(self) -> bool:
        """True where a person or the stopping worker wants this attempt to end."""
        return self._word is not None or self._is_draining

    def read(self) -> PendingAction | None:
        """Return what the loop must do now; called between any two optimizer steps.

        Raises
        ------
        LeaseLostError
            The job belongs to another attempt.
        RuntimeError
            The thread died: nobody would hear a pause or cancel any more.
        """
        self._num_steps += 1
        if self._lost is not None:
            raise self._lost
        if not self._thread.is_alive():
            raise RuntimeError("The thread that looks for pause and cancel died; the attempt cannot go on without it.")
        return PendingAction.PAUSE if self._word is None and self._is_draining else self._word

    def check_lease(self) -> None:
        """Raise LeaseLostError where the thread found the lease lost."""
        if self._lost is not None:
            raise self._lost

    def offer_tick(self, tick: Callable[[], Tick]) -> None:
        """Keep what makes the newest tick; it is made and said by the side thread."""
        self._tick = tick

    def note_step(self) -> None:
        """Count progress other than a step (an epoch made durable)."""
        self._num_steps += 1

    def note_phase(self, phase: Phase) -> None:
        """Keep what the training thread does now, and count it as progress."""
        self._phase = phase
        self._num_steps += 1

    def _run(self) -> None:
        said_at = beat_at = 0.0
        num_beaten, phase_beaten = 0, None
        while not self._stop.wait(self._poll_s):
            try:
                self._word = self._read_control()
            except LeaseLostError as error:
                self._lost = error
                return
            except UnavailableError as error:
                logger.warning("control_not_read", extra={"reason": error.detail})
            now = time.monotonic()
            if self._tick is not None and now - said_at >= TICK_S:
                make, self._tick, said_at = self._tick, None, now
                self._publish(make())
            if self._num_steps != num_beaten and (now - beat_at >= _BEAT_S or self._phase is not phase_beaten):
                num_beaten, phase_beaten, beat_at = self._num_steps, self._phase, now
                self._beat(phase_beaten)

    def _beat(self, phase: Phase) -> None:
        if self._beat_fd is None:
            return
        try:
            os.write(self._beat_fd, phase.encode())
        except (BlockingIOError, BrokenPipeError):  # full: it is heard already; broken: the worker is ending
            return
