"""Heimdall as a user starts it, for tests and benchmarks: `heimdall up` in a data folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Heimdall:
    """One `heimdall up` in its own data folder, and what a person would do to it."""

    def __init__(self, data_dir: Path, env: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {**os.environ, "HEIMDALL_SEED_DEMO": "false", "HEIMDALL_LEASE_S": "4", "HEIMDALL_HEARTBEAT_S": "0.5", **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=30)
        self.log_path = data_dir.parent / f"{data_dir.name}.log"

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "heimdall.cli.main",
            "up",
            "--no-browser",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.data_dir),
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, cwd=self.data_dir.parent, start_new_session=True)
        self.wait_ready()

    def wait_ready(self, timeout_s: float = 60) -> None:
        def is_ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return self.client.get("/health/ready").status_code == 200
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"heimdall up ended: {self.log_tail()}")
            return False

        wait_until(is_ready, timeout_s, lambda: f"not ready: {self.log_tail()}")

    def log_tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-4000:] if self.log_path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def find_process(self, *words: str) -> psutil.Process | None:
        """Return the process whose command line holds all words."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if all(word in line for word in words):
                    return process
        return None

    def freeze(self, *processes: psutil.Process) -> None:
        """Stop processes, none of them inside a transaction: a frozen one there would hold SQLite's lock."""

        def is_frozen_without_the_lock() -> bool:
            for process in processes:
                process.suspend()
            answer = self.client.get("/health/ready").json()
            if any(found["name"] == "database" and found["status"] == "up" for found in answer["dependencies"]):
                return True
            for process in processes:
                process.resume()
            return False

        wait_until(is_frozen_without_the_lock, 30, self.log_tail)

    def kill_everything(self) -> None:
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        if self.process is not None:
            self.process.wait(timeout=10)
            self.process = None

    def stop(self) -> int | None:
        """Stop as Ctrl-C does; returns the exit code."""
        if self.process is None:
            return None
        remaining = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise AssertionError(f"did not stop on Ctrl-C: {self.log_tail()}") from None
        _, alive = psutil.wait_procs(remaining, timeout=10)
        assert not alive, f"processes left behind: {alive}"
        self.process = None
        return code

    # what a person does over REST
    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create_synthetic(self, **changes: Any) -> dict[str, Any]:
        body = {"kind": "synthetic", "name": "test network", "num_examples": 2000, "seed": 3, **changes}
        answer = self.client.post("/training/datasets", json=body)
        assert answer.status_code in (201, 202), answer.text
        return self.wait_dataset(answer.json()["id"])

    def import_powder(self, data_root: Path, **fields: str) -> dict[str, Any]:
        folder = data_root / "powder"
        files = [
            ("file", (name, (folder / name).read_bytes(), "application/octet-stream"))
            for name in ("single_tx_july.csv", "location_coordinates.json")
        ]
        answer = self.client.post("/training/datasets", data={"kind": "powder", "name": "POWDER July", **fields}, files=files)
        assert answer.status_code in (201, 202), answer.text
        return self.wait_dataset(answer.json()["id"])

    def wait_dataset(self, dataset_id: str, timeout_s: float = 120) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_built() -> bool:
            found.update(self.get(f"/training/datasets/{dataset_id}"))
            return found["status"] != "building"

        wait_until(is_built, timeout_s, lambda: f"data set still building: {self.log_tail()}")
        assert found["status"] == "ready", found
        return found

    def create_job(self, dataset_id: str, **changes: Any) -> str:
        body = {"job_name": "test job", "dataset_id": dataset_id, "epochs": 3, "early_stopping_patience": 0, **changes}
        answer = self.client.post("/training/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job_id"])

    def wait_job(self, job_id: str, condition: Callable[[dict[str, Any]], bool] | set[str], timeout_s: float = 180) -> dict[str, Any]:
        """Wait for statuses or a condition on the job; answers the job."""
        job: dict[str, Any] = {}
        is_met = (lambda value: value["status"] in condition) if isinstance(condition, set) else condition

        def check() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.client.get(f"/training/jobs/{job_id}")
                if answer.status_code == 200:
                    job.clear()
                    job.update(answer.json())
            return bool(job) and is_met(job)

        wait_until(check, timeout_s, lambda: f"job is {job.get('status')} {job.get('error_message')}: {self.log_tail()}")
        return dict(job)

    def metrics(self, job_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"/training/jobs/{job_id}/metrics"))

    def events(self, job_id: str, since: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/training/jobs/{job_id}/events", since=since)["events"]
            if not page:
                return found
            found += page
            since = page[-1]["seq"]

    def model_of(self, job_id: str) -> dict[str, Any]:
        return dict(self.get(f"/training/models/{self.get(f'/training/jobs/{job_id}')['model_id']}"))


def wait_until(check: Callable[[], bool], timeout_s: float, describe: Callable[[], str], poll_s: float = 0.05) -> None:
    """Look at the border of another process until a condition holds; fail with a description after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(describe())
        time.sleep(poll_s)


def canonical(rows: list[dict[str, Any]]) -> str:
    """Return metric rows as text without what may differ between equal runs (time and speed)."""
    timing = {"timestamp", "epoch_duration_seconds", "samples_per_second", "attempt", "job_id"}
    return json.dumps([{key: value for key, value in row.items() if key not in timing} for row in rows], sort_keys=True)
