"""What the tests of job services share: a store in memory, a clock that is set, a queue that can be away."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from heimdall.domain.base import new_id
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.errors import HeimdallError, NotFoundError, StorageFullError
from heimdall.domain.jobs import Claim, Job, JobStatus, TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import FinalMetrics, Normalization, Performance
from heimdall.domain.training import CheckpointFile, EpochReport, ModelDraft
from heimdall.queue.memory import MemoryQueue
from heimdall.services.attempts import AttemptService
from heimdall.services.jobs import JobService, JobSettings
from heimdall.services.sweeper import Sweeper
from heimdall.storage.memory import MemoryStore
from heimdall.storage.presence import MemoryRegistry


@dataclass
class SetClock:
    """A clock that moves when told; ``jump`` moves the wall clock alone, as a person or NTP does."""

    time: datetime = datetime(2026, 5, 4, 12, tzinfo=UTC)
    elapsed_s: float = 0.0

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.elapsed_s += seconds

    def jump(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class DictArtifacts:
    """The part of the ArtifactStore port that jobs use, as a dictionary; ``fault`` is raised by the next put."""

    files: dict[str, bytes] = field(default_factory=dict)
    fault: HeimdallError | None = None
    free: int = 1 << 40

    def free_bytes(self) -> int:
        return self.free

    def put(self, key: str, source: Path) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.files[key] = source.read_bytes()
        source.unlink()

    @contextmanager
    def write(self, key: str) -> Iterator[BinaryIO]:
        stream = io.BytesIO()
        yield stream
        self.files[key] = stream.getvalue()

    def open(self, key: str) -> BinaryIO:
        if key not in self.files:
            raise NotFoundError(f"There is no {key}.")
        return io.BytesIO(self.files[key])

    def size(self, key: str) -> int:
        return len(self.files[key])

    def exists(self, key: str) -> bool:
        return key in self.files

    def delete(self, key: str) -> None:
        self.files = {name: data for name, data in self.files.items() if name != key and not name.startswith(f"{key}/")}

    def find(self, prefix: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(f"{prefix}/"))


class JobBench:
    """Every service of jobs on fakes, and short words for what happens to a job."""

    def __init__(self, *, has_cuda: bool = False, max_attempts: int = 3) -> None:
        self.clock = SetClock()
        self.store = MemoryStore()
        self.queue = MemoryQueue()
        self.artifacts = DictArtifacts()
        self.settings = JobSettings(max_attempts=max_attempts, enqueue_doubt_s=5, lease_s=10, has_cuda=lambda: has_cuda)
        self.jobs = JobService(
            store=self.store,
            queue=self.queue,
            artifacts=self.artifacts,
            clock=self.clock,
            settings=self.settings,  # type: ignore[arg-type]
        )
        self.attempts = AttemptService(
            store=self.store,
            artifacts=self.artifacts,
            clock=self.clock,
            settings=self.settings,  # type: ignore[arg-type]
        )
        self.registry = MemoryRegistry()
        self.sweeper = self.make_sweeper()
        self.dataset_id = self.add_dataset().id

    def make_sweeper(self) -> Sweeper:
        return Sweeper(
            store=self.store,
            queue=self.queue,
            clock=self.clock,
            settings=self.settings,
            registry=self.registry,
            monotonic=lambda: self.clock.elapsed_s,
        )

    def sweep_for(self, seconds: int) -> dict[str, JobStatus]:
        """Let time pass with a sweep now and after every second; returns the jobs that were moved."""
        moved = dict(self.sweeper.sweep().moved)
        for _ in range(seconds):
            self.clock.advance(1)
            moved |= self.sweeper.sweep().moved
        return moved

    def add_dataset(self, status: DatasetStatus = DatasetStatus.READY, *, config: dict[str, object] | None = None) -> Dataset:
        dataset = Dataset(
            id=new_id(),
            name="Campus",
            status=status,
            kind=DatasetKind.SYNTHETIC,
            created_at=self.clock.now(),
            config=config or {},
            config_hash=new_id(),
        )
        with self.store.write() as tx:
            tx.datasets.add(dataset)
        return dataset

    def config(self, **changes: object) -> TrainingJobConfig:
        return TrainingJobConfig.model_validate({"job_name": "first", "dataset_id": self.dataset_id, "epochs": 10, **changes})

    def create(self, **changes: object) -> Job:
        return self.jobs.create(self.config(**changes))[0]

    def claim(self, job: Job, worker: str = "w1") -> Claim:
        claimed = self.attempts.claim(job.id, worker)
        assert claimed is not None
        return claimed[1]

    def record_epoch(self, claim: Claim, epoch: int, **kwargs: bool) -> None:
        self.attempts.record_epochs(claim, [self.report(claim, epoch)], **kwargs)

    def report(self, claim: Claim, epoch: int) -> EpochReport:
        metric = TrainingMetric(
            job_id=claim.job_id, epoch=epoch, timestamp=self.clock.now(), attempt=claim.attempt, train_loss=1 / epoch, val_loss=2 / epoch
        )
        return EpochReport(
            metric=metric,
            progress_percent=10.0 * epoch,
            total_epochs=10,
            estimated_completion=None,
            best_epoch=epoch,
            best_val_loss=2 / epoch,
            best_val_error_median_m=100.0,
        )

    def save_checkpoint(self, claim: Claim, folder: Path, step: int, epoch: int = 1) -> CheckpointFile:
        file = write_checkpoint(folder, step, epoch)
        self.attempts.save_checkpoint(claim, file)
        return file

    def event_types(self, job_id: str) -> list[str]:
        return [frame.event.value for frame in self.jobs.events(job_id, since=0)[0]]


def write_checkpoint(folder: Path, step: int, epoch: int = 1) -> CheckpointFile:
    path = folder / f"state-{step}.tmp"
    content = f"weights at {step}".encode()
    path.write_bytes(content)
    return CheckpointFile(path=path, sha256=hashlib.sha256(content).hexdigest(), epoch=epoch, step=step, batch=0)


def make_draft(folder: Path, *, parity_examples: int | None = 64) -> ModelDraft:
    paths = {name: folder / name for name in ("model.onnx", "samples.safetensors", "evaluation.safetensors")}
    for name, path in paths.items():
        path.write_bytes(name.encode())
    return ModelDraft(
        onnx_path=paths["model.onnx"],
        samples_path=paths["samples.safetensors"],
        evaluation_path=paths["evaluation.safetensors"],
        onnx_opset=18,
        parameters_count=58_000,
        inputs=(),
        outputs=(),
        final_metrics=FinalMetrics(val_loss=0.5),
        normalization=Normalization(),
        baselines=(),
        performance=Performance(
            inference_latency_ms=0.2, parity_examples=parity_examples, parity_max_abs_diff=1e-6, parity_position_diff_m=2e-3
        ),
        accuracy_radius_m=200.0,
        best_epoch=3,
        weights_sha256="1" * 64,
    )


def disk_full() -> StorageFullError:
    return StorageFullError("The disk is full. Free some space.")
