"""A server of its own process for the benchmarks, over a data folder that the benchmark fills."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.reporting import summarize
from heimdall.bootstrap import Container
from heimdall.domain.base import new_id
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.jobs import Claim, TrainingJobConfig
from heimdall.worker.control import ControlThread
from heimdall.worker.sink import JobSink
from heimdall.worker.slate import Slate, open_slate
from tests.instance import find_free_port, wait_until
from tests.serving import NOW


def busy_s(pid: int) -> float:
    """Return the s of processor that a process took so far."""
    if sys.platform == "linux":
        # The process's own clock, in nanoseconds (what clock_getcpuclockid returns); what psutil reads counts in ticks of 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass
class Server:
    """One running API and what it costs."""

    port: int
    pid: int

    def busy_s(self) -> float:
        """Return the s of processor that it took so far."""
        return busy_s(self.pid)

    def read(self, path: str, *, times: int, gzip: bool = False) -> dict[str, float]:
        """Return ms of ``times`` reads over one connection after a first one, ms of the server's processor each, and kB."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        delays_ms: list[float] = []
        num_bytes = 0
        before_s = 0.0
        for number in range(times + 1):
            if number == 1:
                before_s = self.busy_s()
            began = time.perf_counter()
            connection.request("GET", "/api/v1" + path, headers={"Accept-Encoding": "gzip"} if gzip else {})
            answer = connection.getresponse()
            num_bytes = len(answer.read())
            delays_ms.append(1000 * (time.perf_counter() - began))
            assert answer.status == 200, (path, answer.status)
        connection.close()
        found = summarize(delays_ms[1:])
        cpu_ms = 1000 * (self.busy_s() - before_s) / times
        return {"first": delays_ms[0], **{name: found[name] for name in ("min", "median", "p95")}, "cpu_ms": cpu_ms, "kB": num_bytes / 1000}


@contextmanager
def serve(folder: Path, database_url: str | None = None, *, poll_s: float = 0.05) -> Iterator[Server]:
    """Run the API over ``folder`` until the end of the block."""
    port = find_free_port()
    environment = {
        **os.environ,
        "HEIMDALL_DATA_DIR": str(folder),
        "HEIMDALL_PORT": str(port),
        "HEIMDALL_LOG_LEVEL": "error",
        "HEIMDALL_LEASE_S": "600",
        **({"HEIMDALL_DATABASE_URL": database_url} if database_url else {}),
    }
    process = subprocess.Popen([sys.executable, "-m", "heimdall.api"], env=environment)
    try:
        wait_until(lambda: is_ready(port), 60, lambda: "the server is not ready", poll_s=poll_s)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(15)


def is_ready(port: int) -> bool:
    """Say whether the server answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def make_job(container: Container) -> tuple[str, Claim]:
    """Return a claimed job with room for any number of epochs."""
    dataset_id = new_id()
    kinds = {"status": DatasetStatus.READY, "kind": DatasetKind.SYNTHETIC}
    with container.store.write() as tx:
        tx.datasets.add(Dataset(id=dataset_id, name=dataset_id, created_at=NOW, config_hash="0", content_hash=dataset_id, **kinds))
    job, _ = container.jobs.create(TrainingJobConfig(job_name="bench", dataset_id=dataset_id, epochs=100_000))
    claimed = container.attempts.claim(job.id, "bench")
    assert claimed is not None
    return job.id, claimed[1]


def make_sink(container: Container, claim: Claim, kind: type[JobSink] = JobSink, *, slate: Slate | None = None) -> JobSink:
    """Return where a job's loop would report, without the child's thread that listens for pause and cancel.

    ``slate`` is the one that a worker would hold too; without it the sink has one of its own, for its cost.
    """
    control = ControlThread(read_control=lambda: None, publish=lambda _: None, beat_fd=None, poll_s=1)
    return kind(
        attempts=container.attempts,
        claim=claim,
        control=control,
        clock=container.clock,
        note_epoch=(slate or open_slate()).note,
        checkpoint_gap_s=container.settings.checkpoint_gap_s,
    )
