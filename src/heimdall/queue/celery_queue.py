"""The JobQueue port on Celery."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from heimdall.domain.errors import StorageFullError, UnavailableError
from heimdall.queue.names import BUILD_DATASET, EMBEDDED_URL, RUN_JOB, QueueKind, QueueNames

if TYPE_CHECKING:
    from celery import Celery


class CeleryQueue:
    """Sends the two kinds of messages. Safe to share between threads.

    Takes an application, or what makes one: Celery's import (0.3 s, 20 MB) then waits for the first message or for
    :meth:`prepare`. With the folder of an embedded broker, even its ping does without.
    """

    def __init__(self, celery: Celery | Callable[[], Celery], *, embedded_folder: Path | None = None) -> None:
        self._make = celery
        self._embedded_folder = embedded_folder
        self._made: Celery | None = None
        self._lock = threading.Lock()

    @property
    def _celery(self) -> Celery:
        with self._lock:
            if self._made is None:
                from celery import Celery

                self._made = self._make if isinstance(self._make, Celery) else self._make()
            return self._made

    def enqueue_job(self, job_id: str, *, needs_gpu: bool) -> None:
        """Send ``run_job``. UnavailableError where the broker is away, within 2 seconds."""
        self._send(RUN_JOB, job_id, "gpu" if needs_gpu else "cpu")

    def enqueue_dataset(self, dataset_id: str) -> None:
        """Send ``build_dataset``. UnavailableError where the broker is away, within 2 seconds."""
        self._send(BUILD_DATASET, dataset_id, "dataset")

    def ping(self) -> None:
        """Raise UnavailableError where the broker is away, within 2 seconds."""
        folder = self._embedded_folder
        if folder is None and self._celery.conf.broker_url == EMBEDDED_URL:
            folder = Path(self._celery.conf.broker_transport_options["folder"])
        if folder is not None:
            with _translate_system_errors():
                _check_folder(folder)
            return
        with _translate_errors(self._celery), self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1.5)

    def prepare(self) -> None:
        """Load Celery and make the application, so that the first message need not wait for them."""
        celery = self._celery
        for part in ("amqp", "events", "Task"):  # each is imported at its first use
            getattr(celery, part)

    def close(self) -> None:
        """Give the connections back."""
        if self._made is not None:
            self._made.close()

    def _send(self, task: str, subject_id: str, kind: QueueKind) -> None:
        celery = self._celery
        with _translate_errors(celery):
            queue = QueueNames(celery.conf.task_default_exchange).of(kind)
            celery.send_task(task, args=[subject_id], queue=queue, ignore_result=True)


def _check_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable", str(folder))


@contextmanager
def _translate_errors(celery: Celery) -> Iterator[None]:
    from kombu.exceptions import KombuError, OperationalError

    try:
        with _translate_system_errors():
            yield
    except (OperationalError, KombuError) as error:
        raise UnavailableError(f"The message broker does not answer ({error}). Start it or check its URL.") from error
    except Exception as error:
        # Each transport has errors of its own, such as AMQP's 530 for a user without permission.
        connection = celery.connection_for_write()
        if not isinstance(error, (*connection.connection_errors, *connection.channel_errors)):
            raise
        raise UnavailableError(f"The message broker refuses ({error}). Check its URL, and its user's rights.") from error


@contextmanager
def _translate_system_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("The disk is full, so no message could be queued. Free some space.") from error
        raise UnavailableError(f"The message broker does not answer ({error}). Start it or check its URL.") from error
