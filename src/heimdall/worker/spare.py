"""A warm child: one process with torch imported, waiting for the next job.

Importing torch takes seconds, so a worker that has trained keeps one spare for a while: a resumed or the
next job then starts at once. The worker starts none before its first job, and an unused spare ends by
itself, so an idle worker stays small. A spare has no claim, no connection and no lease; killing it costs nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from heimdall.domain.jobs import Claim
from heimdall.settings import Settings
from heimdall.worker.environment import make_command, make_environment
from heimdall.worker.slate import open_slate
from heimdall.worker.supervision import TrainingProcess

CHILD_MODULE: Final = "heimdall.worker.child"
SPARE_LIFE_S: Final = 120.0
"""s an unused spare lives."""
_LAST_MOMENTS_S: Final = 5.0
"""s before its end in which the worker leaves a spare alone: it might end at the moment of its order."""
_NO_JOB: Final = str(uuid.UUID(int=0))
"""Stands in a spare's arguments where the job's id will be."""


class Children:
    """Starts the children of one worker, warm ones where it can. Safe to share between threads.

    A child ends with the *thread* that started it (see :mod:`heimdall.worker.lifeline`), so one thread starts
    them all and lives until :meth:`close`; the threads of Celery's pool end earlier, while a child still writes its last checkpoint.

    Parameters
    ----------
    spare_life_s
        How long an unused spare lives.
    """

    def __init__(self, settings: Settings, *, spare_life_s: float = SPARE_LIFE_S) -> None:
        self._settings = settings
        self._spare_life_s = spare_life_s
        self._lock = threading.Lock()
        self._spare: tuple[TrainingProcess, float] | None = None
        self._nursery = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nursery")

    def start(self, claim: Claim) -> TrainingProcess:
        """Return a child that runs the attempt. OSError where no process can be started."""
        spare = self._take_spare()
        if spare is not None:
            if _give_order(spare.process, claim):
                return spare
            _discard(spare)
        return self._spawn(claim.job_id, claim.worker_id, claim.attempt)

    def keep_spare(self) -> None:
        """Have one spare, if there is none."""
        with self._lock:
            if self._spare is not None and self._is_fresh(*self._spare):
                return
            self._drop()
            try:
                self._spare = self._spawn(_NO_JOB, "spare", 0, is_spare=True), time.monotonic()
            except OSError:
                self._spare = None

    def reap(self) -> None:
        """Take note of a spare that ended by itself; until then its entry stays in the machine's list of processes."""
        with self._lock:
            if self._spare is not None and self._spare[0].process.poll() is not None:
                self._drop()

    def close(self) -> None:
        """End the spare, and every child that still runs."""
        with self._lock:
            self._drop()
        self._nursery.shutdown()

    def _take_spare(self) -> TrainingProcess | None:
        with self._lock:
            if self._spare is None or not self._is_fresh(*self._spare):
                self._drop()
                return None
            child, self._spare = self._spare[0], None
            return child

    def _is_fresh(self, child: TrainingProcess, started_at: float) -> bool:
        return child.process.poll() is None and time.monotonic() - started_at < self._spare_life_s - _LAST_MOMENTS_S

    def _drop(self) -> None:
        if self._spare is not None:
            child, self._spare = self._spare[0], None
            _discard(child)

    def _spawn(self, job_id: str, worker_id: str, attempt: int, *, is_spare: bool = False) -> TrainingProcess:
        return self._nursery.submit(self._spawn_here, job_id, worker_id, attempt, is_spare=is_spare).result()

    def _spawn_here(self, job_id: str, worker_id: str, attempt: int, *, is_spare: bool) -> TrainingProcess:
        with ExitStack() as where_it_fails, ExitStack() as always:
            slate = open_slate()
            where_it_fails.callback(slate.close)
            read_fd, write_fd = os.pipe()
            always.callback(os.close, write_fd)
            beats = where_it_fails.enter_context(os.fdopen(read_fd, "rb", buffering=0))
            handed_over = {"beat_fd": write_fd, "slate_fd": slate.fd}
            parent_pid = os.getpid()
            command = make_command(CHILD_MODULE, job_id=job_id, worker_id=worker_id, attempt=attempt, parent_pid=parent_pid, **handed_over)
            process = subprocess.Popen(
                [*command, "--spare", str(self._spare_life_s)] if is_spare else command,
                stdin=subprocess.PIPE if is_spare else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=make_environment(self._settings),
                pass_fds=tuple(handed_over.values()),
                # Ctrl-C in a terminal is for the worker, which then asks its children in its own way.
                start_new_session=True,
            )
            where_it_fails.pop_all()
        return TrainingProcess(process=process, beats=beats, slate=slate)


def _give_order(process: subprocess.Popen[bytes], claim: Claim) -> bool:
    assert process.stdin is not None
    try:
        process.stdin.write(claim.model_dump_json().encode() + b"\n")
        process.stdin.close()
    except OSError:
        return False
    return True


def _discard(child: TrainingProcess) -> None:
    child.process.kill()
    child.process.wait()
    child.close()


def wait_for_order(life_s: float) -> Claim | None:
    """Be the spare: import what training needs, then wait for a claim on standard input. None where none came within ``life_s``."""
    _import_training()
    if not _is_order_there(0):
        _import_export()
    if not _is_order_there(life_s):
        return None
    line = sys.stdin.readline()
    if not line:
        return None
    claim = Claim.model_validate(json.loads(line))
    _show_job(claim.job_id)
    return claim


def _is_order_there(timeout_s: float) -> bool:
    return bool(select.select([sys.stdin], [], [], timeout_s)[0])


def _import_export() -> None:
    """Import what only the end of a job needs; an order that is there already does not wait for it."""
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401


def _import_training() -> None:
    import torch

    import heimdall.bootstrap
    import heimdall.training.loop  # noqa: F401

    # Torch imports its compiler (and SymPy: seconds) at the first step of the first optimizer. Zeros draw no random number.
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    torch.optim.AdamW([weight]).step()


def _show_job(job_id: str) -> None:
    """Write the job's id over the zeros in this process's arguments, so that a list of processes tells which job it trains."""
    if sys.platform != "linux" or len(job_id) != len(_NO_JOB):
        return
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, see proc(5)
    if 0 < start < end:
        offset = ctypes.string_at(start, end - start).find(_NO_JOB.encode())
        if offset >= 0:
            ctypes.memmove(start + offset, job_id.encode(), len(job_id))
