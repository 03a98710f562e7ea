"""The two Celery tasks. A message is a hint; everything it leads to is decided by the database."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import Celery

from heimdall.domain.errors import HeimdallError
from heimdall.queue.names import BUILD_DATASET, RUN_JOB
from heimdall.worker.builds import DatasetRunner
from heimdall.worker.jobs import JobRunner

logger = logging.getLogger(__name__)


def register_tasks(celery: Celery, jobs: JobRunner, datasets: DatasetRunner) -> None:
    """Give the application its tasks, bound to this worker's runners."""
    celery.task(name=RUN_JOB)(_make_task("job_id", jobs.offer))
    celery.task(name=BUILD_DATASET)(_make_task("dataset_id", datasets.offer))


def _make_task(subject: str, offer: Callable[[str], None]) -> Callable[[str], None]:
    def task(subject_id: str) -> None:
        try:
            offer(subject_id)
        except HeimdallError as error:
            logger.warning("message_ignored", extra={subject: subject_id, "reason": error.detail})
        except Exception:
            logger.exception("message_failed", extra={subject: subject_id})

    return task
