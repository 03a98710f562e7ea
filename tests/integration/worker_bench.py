"""Real workers as processes on a database and a broker of their own, and what a person or a fault does to them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from heimdall.bootstrap import Container, build_container
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import LockedError
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from heimdall.settings import Settings
from tests.instance import wait_until

LONG = {"epochs": 10_000, "batch_size": 8, "early_stopping_patience": 0}
"""A job that never ends by itself within a test."""


class WorkerBench:
    """A container in this process for looking and clicking, and any number of worker processes."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        quick = {"lease_s": 3.0, "heartbeat_s": 0.5, "sweep_s": 0.3, "stop_grace_s": 2.0, "torch_threads": 1, "worker_slots": 1}
        self.settings = Settings.model_validate({"data_dir": data_dir, **quick, **settings})
        self.container: Container = build_container(self.settings)
        self.container.store.migrate()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.log_path = data_dir / "workers.log"
        dataset = self.container.datasets.create_synthetic(SyntheticDatasetConfig(name="small", num_examples=400))
        self.dataset_id = self.container.datasets.build(dataset.id).id

    def start_worker(self) -> subprocess.Popen[bytes]:
        from heimdall.worker.environment import make_environment

        ready = self.log().count("worker ready")
        with self.log_path.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "heimdall.worker.main"], env=make_environment(self.settings), stdout=log, stderr=log
            )
        self.workers.append(worker)
        wait_until(lambda: self.log().count("worker ready") > ready, 60, self.log)
        return worker

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def create(self, **changes: object) -> Job:
        config = {"job_name": "job", "dataset_id": self.dataset_id, "epochs": 3, "early_stopping_patience": 0, **changes}
        return self.container.jobs.create(TrainingJobConfig.model_validate(config))[0]

    def job(self, job_id: str) -> Job:
        return self.container.jobs.get(job_id)

    def wait(self, job_id: str, status: JobStatus, timeout_s: float = 90, *, attempt: int = 0, epoch: int = 0) -> Job:
        found: list[Job] = []

        def is_there() -> bool:
            found[:] = [self.job(job_id)]
            return found[0].status is status and found[0].attempt >= attempt and found[0].current_epoch >= epoch

        wait_until(is_there, timeout_s, lambda: f"{found}\n{self.log()}\n{self.job_log(job_id)}")
        return found[0]

    def job_log(self, job_id: str) -> str:
        return "\n".join(line.text for line in self.container.jobs.logs(job_id, since=0))

    def wait_epoch(self, job_id: str, epoch: int = 1, *, attempt: int = 1) -> Job:
        return self.wait(job_id, JobStatus.RUNNING, epoch=epoch, attempt=attempt)

    def children(self, word: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if "heimdall.worker.child" not in line or word not in line:
                continue
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                is_ours = process.environ().get("HEIMDALL_DATA_DIR") == str(self.settings.data_dir)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def child(self, job_id: str) -> psutil.Process:
        wait_until(lambda: bool(self.children(job_id)), 20, self.log)
        return self.children(job_id)[0]

    def freeze(self, *processes: psutil.Process) -> None:
        """Stop processes, none of them inside a transaction: a frozen one there holds SQLite's lock, which is a test of its own."""

        def is_frozen_without_the_lock() -> bool:
            for process in processes:
                process.suspend()
            try:
                self.container.store.check_write(0.5)
            except LockedError:
                for process in processes:
                    process.resume()
                return False
            return True

        wait_until(is_frozen_without_the_lock, 30, self.log)

    def events(self, job_id: str) -> list[tuple[str, str | None]]:
        frames, last_seq = self.container.jobs.events(job_id, since=0, limit=100_000)
        assert [frame.seq for frame in frames] == list(range(1, last_seq + 1))
        lifecycle = [frame for frame in frames if frame.event != "training_progress"]
        return [(frame.event.value.removeprefix("training_"), frame.data.get("reason")) for frame in lifecycle]

    def assert_whole(self, job: Job) -> None:
        """One row per epoch up to the job's, each from an attempt that there was."""
        with self.container.store.read() as tx:
            rows = tx.metrics.find(job.id)
        assert [row.epoch for row in rows] == list(range(1, job.current_epoch + 1))
        attempts = [row.attempt for row in rows]
        assert attempts == sorted(attempts)
        assert set(attempts) <= set(range(1, job.attempt + 1))

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        self.container.close()
