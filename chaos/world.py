"""One installation under test: its processes, its servers, its folder, and what a person does to it over REST."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import psutil

from chaos.rabbit import RabbitServer
from chaos.servers import PostgresServer, RedisServer, find_free_port, wait_until

Size = Literal["embedded", "rabbitmq", "redis"]
LEASE_S: Final = 3.0
DISK_MB: Final = 400
_TAG: Final = "HEIMDALL_CHAOS_TAG"
_NO_JOB: Final = "00000000-0000-0000-0000-000000000000"
"""Stands in the arguments of a spare that has no job yet."""
_ROLES: Final = {
    "supervisor": "heimdall.cli.supervisor",
    "api": "heimdall.api",
    "worker": "heimdall.worker.main",
    "child": "heimdall.worker.child",
}
_SETTINGS: Final = {
    "LEASE_S": LEASE_S,
    "HEARTBEAT_S": 0.5,
    "SWEEP_S": 0.5,
    "BUSY_TIMEOUT_S": 2,
    "STOP_GRACE_S": 4,
    "ENQUEUE_DOUBT_S": 1,
    "MAX_ATTEMPTS": 100,
    "WORKER_SLOTS": 1,
    "TORCH_THREADS": 1,
    "MAX_CREATES_PER_MINUTE": 0,
    "SEED_DEMO": "false",
}


class World:
    """``heimdall up`` and a second worker, on the embedded size or on servers of the campaign's own."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size = size
        self.rng = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="heimdall-chaos-"))
        self.data_dir = self.folder / "data"
        self.data_dir.mkdir()
        self.has_own_disk = self._mount_disk()
        self.client_logs = self.folder / "clients"
        self.client_logs.mkdir()
        self.clock_offset = self.folder / "clock"
        self.log_path = self.folder / "heimdall.log"
        self.port = find_free_port()
        self.postgres: PostgresServer | None = None
        self.broker: RabbitServer | RedisServer | None = None
        self.prefix = "chaos"
        self.long_s = 8.0
        """s, the longest absence of the broker."""
        self.harmed_files: set[str] = set()
        self.tag = uuid.uuid4().hex
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=15)
        self._started: list[subprocess.Popen[bytes]] = []
        try:
            self._start_servers()
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def _start_servers(self) -> None:
        if self.size == "redis":
            self.broker = RedisServer(self.folder)
        if self.size == "rabbitmq":
            self.broker = RabbitServer(self.folder, self.prefix)
            self.broker.node.launch()
        if self.size != "embedded":
            self.postgres = PostgresServer(self.folder)
        if isinstance(self.broker, RabbitServer):
            self.broker.node.wait_ready()

    @property
    def database_url(self) -> str:
        """URL as the checker opens it."""
        return self.postgres.url if self.postgres else f"sqlite:///{self.data_dir / 'heimdall.sqlite'}"

    def _mount_disk(self) -> bool:
        if os.getuid() != 0 or not sys.platform.startswith("linux"):
            return False
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "heimdall-chaos", str(self.data_dir)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def environment(self) -> dict[str, str]:
        """Return the environment of every process under test."""
        root = Path(__file__).resolve().parent.parent
        path = os.pathsep.join([str(root / "chaos" / "clock"), str(root / "src")])
        chosen: dict[str, object] = {**_SETTINGS, "DATA_DIR": self.data_dir, "PORT": self.port, "QUEUE_PREFIX": self.prefix}
        if self.postgres:
            chosen["DATABASE_URL"] = self.postgres.url
        if self.broker:
            chosen["BROKER_URL"] = self.broker.url
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEIMDALL_")}
        settings = {f"HEIMDALL_{name}": str(value) for name, value in chosen.items()}
        return {**inherited, **settings, _TAG: self.tag, "HEIMDALL_CHAOS_CLOCK": str(self.clock_offset), "PYTHONPATH": path}

    # processes

    def start(self) -> None:
        """Start whatever does not run: ``heimdall up``, and the second worker."""
        if not self.find("supervisor"):
            self._spawn("heimdall.cli.main", "up", "--no-browser", "--port", str(self.port), "--data-dir", str(self.data_dir))
        self.start_second_worker()

    def start_second_worker(self) -> None:
        """Start the worker beside the supervised one, if it is not there."""
        if not any(process.ppid() == os.getpid() for process in self.find("worker")):
            self._spawn("heimdall.worker.main")

    def _spawn(self, module: str, *arguments: str) -> None:
        for process in self._started:
            process.poll()  # reap
        with self.log_path.open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    start_new_session=True,
                )
            )

    def find(self, role: str | None = None) -> list[psutil.Process]:
        """Return the living processes of this campaign, of one role or all; spares are not children here."""
        found = []
        for process in psutil.process_iter(["pid"]):
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_TAG) != self.tag or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                line = process.cmdline()
                if role is None or (_ROLES[role] in line and not (role == "child" and _NO_JOB in line)):
                    found.append(process)
        return found

    def kill(self, processes: list[psutil.Process]) -> int:
        """Send SIGKILL; returns how many were hit."""
        num = 0
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                num += 1
        psutil.wait_procs(processes, timeout=5)
        return num

    def wait_ready(self, timeout_s: float = 90) -> None:
        """Wait until the server says that it can work. TimeoutError."""

        def is_ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return self.api.get("/health/ready").status_code == 200
            return False

        wait_until(is_ready, timeout_s, f"ready; the log ends: {self.log_path.read_text(errors='replace')[-1500:]}")

    def stop(self) -> list[str]:
        """Stop as Ctrl-C does; returns the processes that were left behind."""
        for process in [*self.find("supervisor"), *(one for one in self.find("worker") if one.ppid() == os.getpid())]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not self.find(), 45, "all processes end")
        left = self.find()
        lines = [f"{process.pid} {' '.join(process.cmdline())}" for process in left]
        self.kill(left)
        return lines

    def close(self, *, is_folder_kept: bool = False) -> None:
        """Give everything back; the folder (still mounted) may stay for a look."""
        self.api.close()
        self.kill(self.find())
        for process in self._started:
            process.wait()
        for server in (self.broker, self.postgres):
            if server is not None:
                server.close()
        if is_folder_kept:
            return
        if self.has_own_disk:
            subprocess.run(["umount", "-l", str(self.data_dir)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # what a person does

    def request(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        """Ask again and again until the server answers; returns its JSON. A refusal (4xx) is an answer."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.api.request(method, path, **options)
                if answer.status_code < 500:
                    answers.append(answer)
            return bool(answers)

        wait_until(is_answered, 90, f"{method} {path} is answered")
        return answers[0].json() if answers[0].content else None

    def create_dataset(self) -> str:
        """Make the data set that all jobs train on."""
        body = {"kind": "synthetic", "name": "chaos", "num_examples": 600, "seed": 3}
        dataset_id = str(self.request("POST", "/training/datasets", json=body)["id"])
        wait_until(lambda: self.request("GET", f"/training/datasets/{dataset_id}")["status"] == "ready", 120, "the data set is ready")
        return dataset_id

    def create_job(self, dataset_id: str, name: str, recipe: dict[str, Any]) -> str:
        """Create a job once, however often the answer is lost on the way."""
        body = {"job_name": name, "dataset_id": dataset_id, "early_stopping_patience": 0, **recipe}
        answer = self.request("POST", "/training/jobs", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
        return str(answer["job_id"])

    def list_jobs(self) -> list[dict[str, Any]]:
        """Return all jobs, oldest first."""
        return list(reversed(self.request("GET", "/training/jobs", params={"limit": 200})["jobs"]))
