"""Starts one worker: Celery's consumer with a pool of threads that only supervise, and the sweeper."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Final

from heimdall.domain.errors import HeimdallError, UnavailableError
from heimdall.domain.jobs import JobStatus
from heimdall.logs import configure_logging
from heimdall.settings import Settings
from heimdall.traces import Tracer, make_tracer_provider
from heimdall.worker.supervision import StopRequest

if TYPE_CHECKING:
    from celery.worker import WorkController

    from heimdall.bootstrap import Container
    from heimdall.worker.spare import Children

_SAME_REQUEST_S: Final = 1.0
"""s within which further signals mean the same stop (a terminal's Ctrl-C and a supervisor's SIGTERM come together)."""

logger = logging.getLogger(__name__)


class StopSwitch:
    """What signals and failures say to the whole worker."""

    def __init__(self) -> None:
        self.request = StopRequest.NONE
        self.exit_code = 0
        self._asked_at = 0.0

    def read(self) -> StopRequest:
        """Return the present request."""
        return self.request

    def ask(self, *, exit_code: int = 0) -> None:
        """Ask for a drain; a second time, more than a second later, for a stop at once."""
        from celery.worker import state

        now = time.monotonic()
        if self.request is StopRequest.NONE:
            self.request, self._asked_at, self.exit_code = StopRequest.DRAIN, now, exit_code
        elif now - self._asked_at > _SAME_REQUEST_S:
            self.request = StopRequest.AT_ONCE
        state.should_stop = self.exit_code

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT."""
        self.ask()


def run_worker(settings: Settings) -> int:
    """Serve the queues until a signal ends it; returns the exit code.

    The first SIGTERM or SIGINT drains: every job is asked to write a checkpoint after its step and goes
    back to the queue for another worker. A second one ends the children at once.
    """
    configure_logging(settings, "worker")
    from heimdall.bootstrap import build_container, make_retention
    from heimdall.queue.celery_app import make_celery
    from heimdall.queue.names import QueueNames
    from heimdall.services.upkeep import Upkeep
    from heimdall.worker.builds import DatasetRunner
    from heimdall.worker.jobs import JobRunner
    from heimdall.worker.spare import Children
    from heimdall.worker.sweeping import SweeperThread
    from heimdall.worker.tasks import register_tasks

    switch = StopSwitch()
    signal.signal(signal.SIGTERM, switch.on_signal)
    signal.signal(signal.SIGINT, switch.on_signal)
    container = build_container(settings)
    container.store.migrate()
    _tidy(container)
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    container.registry.enter(worker_id)
    celery = make_celery(settings.broker_url, settings.data_dir, prefix=settings.queue_prefix, is_worker=True)
    children = Children(settings)
    tracer = Tracer(make_tracer_provider(settings, "worker"))
    jobs = JobRunner(
        jobs=container.jobs,
        attempts=container.attempts,
        children=children,
        settings=settings,
        worker_id=worker_id,
        stop_request=switch.read,
        tracer=tracer,
    )
    datasets = DatasetRunner(store=container.store, settings=settings, stop_request=switch.read)
    register_tasks(celery, jobs, datasets)
    upkeep = Upkeep(store=container.store, artifacts=container.artifacts, clock=container.clock, retention=make_retention(container))

    def tidy() -> None:
        children.reap()
        upkeep.tidy()

    sweeper = SweeperThread(
        container.sweeper,
        period_s=settings.sweep_s,
        on_death=lambda: switch.ask(exit_code=1),
        tidy=tidy,
    )
    controller: WorkController = celery.WorkController(
        hostname=worker_id,
        # One thread a job, one for data sets, one that takes messages off the queue while all slots are full.
        concurrency=settings.worker_slots + 2,
        pool="threads",
        queues=[QueueNames(settings.queue_prefix).of(kind) for kind in settings.worker_queues],
        loglevel=logging.WARNING,
        ready_callback=lambda _consumer: logger.info(
            "worker_ready", extra={"worker": worker_id, "slots": settings.worker_slots, "queues": ",".join(settings.worker_queues)}
        ),
    )
    sweeper.start()
    _prepare_for_waiting_jobs(container, children)
    try:
        if switch.request is StopRequest.NONE:
            controller.start()
    finally:
        sweeper.stop()
        children.close()
        celery.close()
        _tidy(container)
        container.close()
        tracer.close()
    logger.info("worker_stopped")
    return switch.exit_code or (controller.exitcode or 0)


def _tidy(container: Container) -> None:
    """Remove what killed processes left unfinished; what a living one uses is told by its lock."""
    with suppress(UnavailableError):
        container.artifacts.sweep_stale()


def _prepare_for_waiting_jobs(container: Container, children: Children) -> None:
    """Let torch load for a job that waits or that a dead worker left, while this worker connects and the lease runs out."""
    with suppress(UnavailableError):
        counts = container.jobs.count_by_status()
        if counts[JobStatus.PENDING] or counts[JobStatus.RUNNING]:
            children.keep_spare()


def main() -> int:
    """Run a worker by the environment's settings: ``python -m heimdall.worker.main``."""
    try:
        return run_worker(Settings())
    except HeimdallError as error:
        logger.error("worker_not_started", extra={"reason": error.detail})
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
