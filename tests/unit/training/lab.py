"""A small data set with a learnable relation, and a sink that remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heimdall.datasets.manifest import FEATURES
from heimdall.datasets.storage import DatasetArrays, DatasetWriter, ExampleChunk, open_dataset
from heimdall.domain.datasets import CoordinateFrame, Dataset, DatasetKind, DatasetStatus, Receiver, Split
from heimdall.domain.jobs import Checkpoint, DeviceInfo, PendingAction, TrainingJobConfig
from heimdall.domain.training import CheckpointFile, EpochReport, Phase, TrainingRequest

NUM_RECEIVERS = 7
FEATURE_NAMES = ("heard", "rssi_dbm", "snr_db", "toa_offset_us", "clock_sigma_us", "rx_east_km", "rx_north_km", "rx_up_km")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_dataset(folder: Path, *, num_examples: int, seed: int = 0) -> DatasetArrays:
    """Strengths fall with distance, every third receiver may be absent: enough to learn from, quick to make."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-2000, 2000, (num_examples, 2))
    receiver_m = np.stack([3000 * np.cos(np.arange(NUM_RECEIVERS)), 3000 * np.sin(np.arange(NUM_RECEIVERS)), np.zeros(NUM_RECEIVERS)], 1)
    distance_m = np.linalg.norm(target[:, None] - receiver_m[None, :, :2], axis=2) + 50
    rssi = -40 - 30 * np.log10(distance_m / 100) + rng.normal(0, 2, distance_m.shape)
    mask = np.ones((num_examples, NUM_RECEIVERS), bool)
    mask[:, ::3] = rng.random((num_examples, len(range(0, NUM_RECEIVERS, 3)))) > 0.2
    heard = (rssi > -85) & mask
    columns = [
        heard,
        rssi * heard,
        (rssi + 100) * heard,
        (distance_m - distance_m.mean(1, keepdims=True)) / 300 * heard,
        np.full_like(rssi, 0.05),
        *(np.broadcast_to(receiver_m[:, axis] / 1000, rssi.shape) for axis in range(3)),
    ]
    features = (np.stack(columns, axis=2) * mask[..., None]).astype(np.float32)
    receivers = tuple(Receiver(id=f"r{index}", name=f"R{index}", latitude=45.0, longitude=7.0) for index in range(NUM_RECEIVERS))
    folder.mkdir(parents=True, exist_ok=True)
    with DatasetWriter(
        folder, num_tokens=NUM_RECEIVERS, receivers=receivers, features=tuple(FEATURES[name] for name in FEATURE_NAMES)
    ) as writer:
        writer.append(
            ExampleChunk(
                features=features,
                mask=mask,
                receiver_index=np.where(mask, np.arange(NUM_RECEIVERS), 0).astype(np.int16),
                target=target,
                target_up=np.zeros(num_examples),
                group=(np.arange(num_examples) % 20).astype(np.int32),
                time=np.zeros(num_examples),
                receiver_enu=np.where(mask[..., None], receiver_m, 0).astype(np.float32),
            )
        )
        writer.finish(
            kind=DatasetKind.SYNTHETIC,
            frame=CoordinateFrame(latitude=45, longitude=7),
            split=Split(column="cell", num_groups=0),
            groups=("cell",),
            accuracy_radius_m=500.0,
        )
    return open_dataset(folder)


def describe_dataset(arrays: DatasetArrays) -> Dataset:
    return Dataset(
        id="data",
        name="data",
        status=DatasetStatus.READY,
        kind=DatasetKind.SYNTHETIC,
        created_at=NOW,
        num_examples=len(arrays),
        config_hash="",
        content_hash=arrays.content_hash,
        accuracy_radius_m=500.0,
    )


@dataclass
class MemorySink:
    """Remembers all reports; asks for actions at chosen moments."""

    decide: Callable[[MemorySink], PendingAction | None] = lambda sink: None
    reports: list[EpochReport] = field(default_factory=list)
    checkpoints: list[CheckpointFile] = field(default_factory=list)
    ticks: list[dict] = field(default_factory=list)
    devices: list[tuple[DeviceInfo, bool | None]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    num_asked: int = 0

    def note_phase(self, phase):
        self.phases.append(phase)

    def report_device(self, device, *, resume_is_exact):
        self.devices.append((device, resume_is_exact))

    def report_tick(self, **tick):
        self.ticks.append(tick)

    def report_epoch(self, report):
        self.reports.append(report)

    def save_checkpoint(self, write):
        self.checkpoints.append(write())

    def requested_action(self):
        self.num_asked += 1
        return self.decide(self)


@dataclass
class Lab:
    """Makes requests on one data set."""

    folder: Path
    arrays: DatasetArrays
    num_requests: int = 0

    @property
    def dataset_dir(self) -> Path:
        return self.arrays.directory

    def request(self, *, after: CheckpointFile | None = None, job_id: str = "job", attempt: int = 1, **config) -> TrainingRequest:
        self.num_requests += 1
        work_dir = self.folder / f"work-{self.num_requests}"
        work_dir.mkdir()
        checkpoint = after and Checkpoint(
            key="k",
            sha256=after.sha256,
            size_bytes=1,
            epoch=after.epoch,
            step=after.step,
            batch=after.batch,
            attempt=1,
            created_at=NOW,
        )
        defaults = {"job_name": "test", "dataset_id": "data", "epochs": 3, "batch_size": 32, "device": "cpu", "early_stopping_patience": 0}
        return TrainingRequest(
            job_id=job_id,
            attempt=attempt,
            config=TrainingJobConfig(**{**defaults, **config}),
            dataset=describe_dataset(self.arrays),
            dataset_dir=self.dataset_dir,
            work_dir=work_dir,
            checkpoint=checkpoint,
            checkpoint_path=after.path if after else None,
        )


@dataclass(frozen=True)
class Finished:
    """What two equal runs must have in common."""

    metrics: dict[int, dict]
    weights_sha256: str


TIMING_FIELDS = {"timestamp", "epoch_duration_seconds", "samples_per_second", "attempt"}


def collect_metrics(*sinks: MemorySink) -> dict[int, dict]:
    """Metrics by epoch without timing; the later attempt wins, as in the store."""
    rows = {report.metric.epoch: report.metric for sink in sinks for report in sink.reports}
    return {epoch: metric.model_dump(exclude=TIMING_FIELDS) for epoch, metric in rows.items()}
