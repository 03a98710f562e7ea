"""Runs jobs in the worker's slots: claim, child, supervision, next."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final

from heimdall.domain.errors import NotFoundError, UnavailableError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Job, JobStatus
from heimdall.domain.ports import JobQuery
from heimdall.services.attempts import AttemptService
from heimdall.services.jobs import JobService, needs_gpu
from heimdall.settings import Settings
from heimdall.traces import Tracer
from heimdall.worker.spare import Children
from heimdall.worker.supervision import StopRequest, Supervisor

_ENDS: Final = frozenset({EventType.PAUSED, EventType.CANCELLED, EventType.COMPLETED, EventType.FAILED, EventType.REQUEUED})
"""Events that end an attempt."""

logger = logging.getLogger(__name__)


class JobRunner:
    """The worker's slots. A message only says that there is work; what runs is what the database says is pending."""

    def __init__(
        self,
        *,
        jobs: JobService,
        attempts: AttemptService,
        children: Children,
        settings: Settings,
        worker_id: str,
        stop_request: Callable[[], StopRequest],
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer or Tracer(None)
        self._jobs = jobs
        self._attempts = attempts
        self._children = children
        self._settings = settings
        self._worker_id = worker_id
        self._stop_request = stop_request
        self._free = threading.BoundedSemaphore(settings.worker_slots)

    def offer(self, job_id: str) -> None:
        """Run the job, then whatever else waits, until nothing does.

        Returns at once where every slot is taken: the thread that frees one looks at the database, so the
        message is not needed any more.
        """
        candidate: str | None = job_id
        while candidate is not None and self._stop_request() is StopRequest.NONE:
            if not self._free.acquire(blocking=False):
                logger.debug("slots_full", extra={"job_id": candidate})
                return
            try:
                has_run = self._run(candidate)
            finally:
                self._free.release()
            candidate = self._find_waiting()
            if has_run and candidate is None and self._stop_request() is StopRequest.NONE:
                self._children.keep_spare()

    def _run(self, job_id: str) -> bool:
        """Run the job where it can be claimed; returns whether it was."""
        claimed = self._attempts.claim(job_id, self._worker_id)
        if claimed is None:
            logger.debug("job_not_pending", extra={"job_id": job_id})
            return False
        job, claim = claimed
        logger.info("job_started", extra={"job_id": job.id, "job_name": job.name, "attempt": job.attempt})
        try:
            child = self._children.start(claim)
        except OSError as error:
            self._attempts.finish_lost(claim, f"The training process could not be started ({error.strerror}).")
            return False
        supervisor = Supervisor(attempts=self._attempts, settings=self._settings, claim=claim, child=child, stop_request=self._stop_request)
        with self._tracer.span("job attempt", {"heimdall.job_id": job.id, "heimdall.attempt": job.attempt}):
            ended = supervisor.run()
        self._say_end(job, ended)
        return True

    def _say_end(self, claimed: Job, ended: Job | None) -> None:
        with contextlib.suppress(UnavailableError, NotFoundError):
            now = ended or self._jobs.get(claimed.id)
            extra = {"job_id": now.id, "job_name": now.name, "attempt": claimed.attempt}
            if now.attempt != claimed.attempt or now.status is JobStatus.RUNNING:
                self._say_end_of_earlier(claimed, extra)
            elif now.status is JobStatus.PENDING and self._stop_request() is not StopRequest.NONE:
                logger.info("job_handed_back", extra=extra | ({"step": now.checkpoint.step} if now.checkpoint else {}))
            else:
                level = logging.WARNING if now.status is JobStatus.FAILED else logging.INFO
                logger.log(level, f"job_{now.status}", extra=extra | {"reason": now.error_message})

    def _say_end_of_earlier(self, claimed: Job, extra: dict[str, object]) -> None:
        """Say how an attempt ended after which another one has begun already: a pause that was resumed at once is no loss."""
        after, _ = self._jobs.events(claimed.id, since=claimed.last_seq)
        how = next((frame.event for frame in after if frame.event in _ENDS), EventType.REQUEUED)
        if how is EventType.REQUEUED:
            logger.warning("attempt_lost", extra=extra)
        else:
            logger.info(how.replace("training", "job"), extra=extra)

    def _find_waiting(self) -> str | None:
        query = JobQuery(statuses=frozenset({JobStatus.PENDING}), sort="oldest", limit=50)
        queues = self._settings.worker_queues
        with contextlib.suppress(UnavailableError):
            for job in self._jobs.find(query).items:
                if ("gpu" if needs_gpu(job.config) else "cpu") in queues:
                    return job.id
        return None
