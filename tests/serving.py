"""The server's border on a free port inside the test's process, over real services, with a worker played by the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from websockets.sync.client import ClientConnection, connect

from heimdall.api.server import bind, make_server
from heimdall.bootstrap import Container, build_container, has_cuda
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.training import EpochReport
from heimdall.queue.memory import MemoryQueue
from heimdall.services.datasets import DatasetService
from heimdall.services.jobs import JobService, JobSettings
from heimdall.services.sweeper import Sweeper
from heimdall.settings import Settings
from tests.instance import wait_until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_container(data_dir: Path, **changes: Any) -> Container:
    """Wire real services in a folder; the broker alone is the in-memory one, so that a test can take it away."""
    if isinstance(changes.get("token"), str):
        changes["token"] = SecretStr(changes["token"])
    settings = Settings(data_dir=data_dir, **{"sweep_s": 0.2, "lease_s": 600, **changes})
    container = build_container(settings)
    queue = MemoryQueue()
    job_settings = JobSettings(
        max_attempts=settings.max_attempts,
        enqueue_doubt_s=settings.enqueue_doubt_s,
        lease_s=settings.lease_s,
        has_cuda=has_cuda,
        admit=container.disk.admit,
    )
    store, clock, artifacts = container.store, container.clock, container.artifacts
    store.migrate()
    return replace(
        container,
        queue=queue,
        jobs=JobService(store=store, queue=queue, artifacts=artifacts, clock=clock, settings=job_settings),
        sweeper=Sweeper(store=store, queue=queue, clock=clock, settings=job_settings, registry=container.registry),
        datasets=DatasetService(store=store, queue=queue, artifacts=artifacts, clock=clock),
    )


class Served:
    """One running server and what a client and a worker do to it."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.listener = bind("127.0.0.1", 0)
        self.port = int(self.listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = make_server(container)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.client = httpx.Client(base_url=self.url, timeout=30)
        self.api = httpx.Client(base_url=f"{self.url}/api/v1", timeout=30)

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self.server.started or not self.thread.is_alive(), 20, lambda: "the server did not start", poll_s=0.005)
        assert self.server.started

    def stop(self) -> None:
        self.client.close()
        self.api.close()
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.listener.close()
        self.container.close()

    def add_dataset(self, name: str = "ready") -> str:
        dataset = Dataset(
            id=f"dataset-{name}",
            name=name,
            status=DatasetStatus.READY,
            kind=DatasetKind.SYNTHETIC,
            created_at=NOW,
            num_examples=100,
            config_hash="0",
            content_hash=name,
            accuracy_radius_m=100.0,
        )
        with self.container.store.write() as tx:
            tx.datasets.add(dataset)
        return dataset.id

    def create_job(self, dataset_id: str, **changes: Any) -> str:
        answer = self.api.post("/training/jobs", json={"job_name": "job", "dataset_id": dataset_id, "epochs": 50, **changes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job_id"])

    def claim(self, job_id: str) -> Claim:
        claimed = self.container.attempts.claim(job_id, "worker-1")
        assert claimed is not None
        return claimed[1]

    def record(self, claim: Claim, epoch: int, **values: Any) -> None:
        total = self.container.jobs.get(claim.job_id).total_epochs
        self.container.attempts.record_epochs(claim, [make_report(claim, epoch, total, **values)])

    def socket(self, path: str, **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}{path}", proxy=None, open_timeout=10, close_timeout=2, **options)


@contextmanager
def serve(container: Container) -> Iterator[Served]:
    served = Served(container)
    served.start()
    try:
        yield served
    finally:
        served.stop()


def make_report(claim: Claim, epoch: int, total: int, **values: Any) -> EpochReport:
    metric = TrainingMetric(
        job_id=claim.job_id,
        epoch=epoch,
        timestamp=datetime.now(UTC),
        attempt=claim.attempt,
        **{"train_loss": 1 / epoch, "val_loss": 1.5 / epoch, "learning_rate": 1e-3, **values},
    )
    return EpochReport(
        metric=metric,
        progress_percent=100 * epoch / total,
        total_epochs=total,
        estimated_completion=None,
        best_epoch=epoch,
        best_val_loss=metric.val_loss,
        best_val_error_median_m=None,
    )


def receive(socket: ClientConnection, timeout_s: float = 10) -> dict[str, Any]:
    frame = json.loads(socket.recv(timeout=timeout_s))
    assert set(frame) == {"event", "seq", "job_id", "timestamp", "data", "job_seq"}
    return dict(frame)


def receive_until(socket: ClientConnection, is_met: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Read frames until one meets the condition; that one is the last."""
    frames = [receive(socket)]
    while not is_met(frames[-1]):
        frames.append(receive(socket))
    return frames
