"""Runs data set builds, one at a time, each in a child process, so that the worker stays small."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import HeimdallError, NotFoundError
from heimdall.domain.ports import Store
from heimdall.settings import Settings
from heimdall.worker.environment import make_command, make_environment
from heimdall.worker.exits import describe_exit
from heimdall.worker.supervision import StopRequest

_MAX_TRIES: Final = 3
_TICK_S: Final = 0.2
_KILL_AFTER_S: Final = 5.0

logger = logging.getLogger(__name__)


class DatasetRunner:
    """Builds what it is offered; a data set offered while another is built waits in memory (the sweeper asks again after a crash)."""

    def __init__(self, *, store: Store, settings: Settings, stop_request: Callable[[], StopRequest]) -> None:
        self._store = store
        self._settings = settings
        self._stop_request = stop_request
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._current: str | None = None

    def offer(self, dataset_id: str) -> None:
        """Build the data set and whatever else was offered meanwhile; returns at once where a build is running."""
        with self._lock:
            if dataset_id != self._current and dataset_id not in self._waiting:
                self._waiting.append(dataset_id)
            if self._current is not None:
                return
            self._current = self._waiting.popleft() if self._waiting else None
        while self._current is not None and self._stop_request() is StopRequest.NONE:
            try:
                self._build(self._current)
            finally:
                with self._lock:
                    self._current = self._waiting.popleft() if self._waiting else None

    def _build(self, dataset_id: str) -> None:
        for num_tries in range(1, _MAX_TRIES + 1):
            try:
                with self._store.read() as tx:
                    dataset = tx.datasets.get(dataset_id)
            except NotFoundError:  # deleted while it waited or was built
                return
            if dataset.status is not DatasetStatus.BUILDING:
                return
            logger.info("dataset_build_started", extra={"dataset_id": dataset_id, "dataset_name": dataset.name})
            return_code = self._run_child(dataset_id)
            if self._stop_request() is not StopRequest.NONE:
                return
            if return_code == 0:
                logger.info("dataset_build_ended", extra={"dataset_id": dataset_id})
                return
            reason = describe_exit(return_code).replace("training process", "process that built it")
            logger.warning("dataset_build_lost", extra={"dataset_id": dataset_id, "num_tries": num_tries, "reason": reason})
        self._fail(dataset_id, reason)

    def _run_child(self, dataset_id: str) -> int:
        command = make_command("heimdall.worker.dataset_child", dataset_id=dataset_id, parent_pid=os.getpid())
        environment = make_environment(self._settings)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True) as process:
            killed_at: float | None = None
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(_TICK_S)
                if self._stop_request() is StopRequest.NONE:
                    continue
                # It is ended now; the next worker goes on from the chunks that are made, or begins again where there are none.
                if killed_at is None:
                    killed_at = time.monotonic() + (_KILL_AFTER_S if self._stop_request() is StopRequest.DRAIN else 0.0)
                    process.terminate()
                elif time.monotonic() >= killed_at:
                    process.kill()

    def _fail(self, dataset_id: str, reason: str) -> None:
        try:
            with self._store.write() as tx:
                dataset = tx.datasets.get(dataset_id, lock=True)
                if dataset.status is DatasetStatus.BUILDING:
                    message = f"{reason} It was tried {_MAX_TRIES} times; the worker's log says more."
                    failed = dataset.evolve(status=DatasetStatus.FAILED, error_message=message, version=dataset.version + 1)
                    tx.datasets.save(failed, expected_version=dataset.version)
        except HeimdallError as error:
            logger.error("dataset_failure_not_stored", extra={"dataset_id": dataset_id, "reason": error.detail})
