"""The worker's sweeper thread: its death ends the worker, loudly."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from heimdall.domain.errors import HeimdallError, UnavailableError
from heimdall.services.sweeper import Sweeper, SweepReport

TIDY_S: Final = 60.0
_NO_BROKER: Final = (
    "The message broker takes no messages: it does not answer, or, where it is the embedded one, the disk of the data folder is full."
)

logger = logging.getLogger(__name__)


class SweeperThread:
    """Sweeps every ``period_s``.

    Parameters
    ----------
    tidy
        Removes what dead processes left unfinished; called every :data:`TIDY_S`.
    on_death
        Called where the thread ends without having been asked to.
    """

    def __init__(self, sweeper: Sweeper, *, period_s: float, on_death: Callable[[], None], tidy: Callable[[], object]) -> None:
        self._sweeper = sweeper
        self._period_s = period_s
        self._on_death = on_death
        self._tidy = tidy
        self._tidied_at = time.monotonic()
        self._stop = threading.Event()
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Start sweeping; the first sweep is now."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._sweep()
                self._stop.wait(self._period_s)
        finally:
            if not self._stop.is_set():
                logger.critical("sweeper_died")
                self._on_death()

    def _sweep(self) -> None:
        try:
            report = self._sweeper.sweep()
        except HeimdallError as error:
            self._note_trouble(error.detail)
            return
        if time.monotonic() - self._tidied_at >= TIDY_S:
            self._tidied_at = time.monotonic()
            with suppress(UnavailableError):
                self._tidy()
        self._note_trouble(_NO_BROKER if report.is_broker_away else report.trouble)
        self._say(report)

    def _note_trouble(self, trouble: str | None) -> None:
        """Say a trouble once when it comes and once when it is over."""
        if trouble is not None and self._trouble is None:
            logger.warning("sweep_hindered", extra={"reason": trouble})
        elif trouble is None and self._trouble is not None:
            logger.info("sweep_recovered")
        self._trouble = trouble

    @staticmethod
    def _say(report: SweepReport) -> None:
        for job_id, status in report.moved.items():
            logger.warning("lease_expired", extra={"job_id": job_id, "status": status.value})
        for job_id in report.sent:
            logger.debug("message_sent_again", extra={"job_id": job_id})
