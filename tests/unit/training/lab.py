"""A small data set with a learnable relation, and a sink that remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heimdall.datasets.manifest import FEATURES, IqFormat
from heimdall.datasets.storage import DatasetArrays, DatasetWriter, ExampleChunk, open_dataset
from heimdall.domain.datasets import CoordinateFrame, Dataset, DatasetKind, DatasetStatus, Receiver, Split
from heimdall.domain.jobs import Checkpoint, DeviceInfo, PendingAction, TrainingJobConfig
from heimdall.domain.training import CheckpointFile, EpochReport, Phase, Position, TrainingRequest

NUM_RECEIVERS = 7
FEATURE_NAMES = ("heard", "rssi_dbm", "snr_db", "toa_offset_us", "clock_sigma_us", "rx_east_km", "rx_north_km", "rx_up_km")
NUM_SAMPLES = 256
IQ = IqFormat(sample_rate_hz=16_000.0, bandwidth_hz=12_500.0)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_dataset(folder: Path, *, num_examples: int, seed: int = 0, has_iq: bool = True) -> DatasetArrays:
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
    iq = make_samples(np.random.default_rng((seed, 1)), distance_m / 3e8, NUM_SAMPLES)
    folder.mkdir(parents=True, exist_ok=True)
    features_of = tuple(FEATURES[name] for name in FEATURE_NAMES)
    with DatasetWriter(
        folder, num_tokens=NUM_RECEIVERS, receivers=receivers, features=features_of, iq=IQ if has_iq else None, num_samples=NUM_SAMPLES
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
                iq=iq * mask[..., None, None] if has_iq else None,
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


def make_samples(rng: np.random.Generator, delay_s: np.ndarray, num_samples: int, *, noise: float = 0.1) -> np.ndarray:
    """Return one band of noise an example as receivers get it after these delays [n, r], int8 [n, r, t, 2]."""
    size, (count, num_receivers) = num_samples + 128, delay_s.shape
    frequency_hz = np.fft.fftfreq(size, 1 / IQ.sample_rate_hz)
    spectrum = (rng.standard_normal((count, size)) + 1j * rng.standard_normal((count, size))) * (np.abs(frequency_hz) < 6000)
    late = np.exp(-2j * np.pi * frequency_hz * delay_s[..., None])
    received = np.fft.ifft(spectrum[:, None] * late, axis=2)[..., 64 : 64 + num_samples]
    received *= 0.25 * np.exp(2j * np.pi * rng.random((count, num_receivers, 1))) / received.std()
    samples = np.stack([received.real, received.imag], axis=3) + 0.25 * noise * rng.standard_normal((*received.shape, 2))
    return np.clip(np.rint(128 * samples), -128, 127).astype(np.int8)


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
    ticks: list[Position] = field(default_factory=list)
    devices: list[tuple[DeviceInfo, bool | None]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    num_asked: int = 0

    def note_phase(self, phase):
        self.phases.append(phase)

    def report_device(self, device, *, resume_is_exact):
        self.devices.append((device, resume_is_exact))

    def report_tick(self, look):
        self.ticks.append(look())

    def report_epoch(self, report):
        self.reports.append(report)

    def is_checkpoint_wanted(self):
        return True

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
