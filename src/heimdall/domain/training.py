"""What the training loop is asked for and what it reports: the words between ``worker`` and ``training``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from heimdall.domain.datasets import Dataset, PhysicalLimit
from heimdall.domain.jobs import Checkpoint, DeviceInfo, PendingAction, TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import AccuracyBreakdown, Baseline, FinalMetrics, Normalization, Performance, TensorSpec


class Phase(StrEnum):
    """What an attempt is doing; the value is its sign on the pipe to the worker."""

    PREPARING = "p"
    STEPS = "."
    """Optimizer steps and validation: never quiet for long."""
    EXPORTING = "x"
    """From the last step to the measured network."""


@dataclass(frozen=True)
class TrainingRequest:
    """One attempt of one job. ``checkpoint`` and ``checkpoint_path`` come together or not at all."""

    job_id: str
    attempt: int
    config: TrainingJobConfig
    dataset: Dataset
    dataset_dir: Path
    work_dir: Path
    checkpoint: Checkpoint | None = None
    checkpoint_path: Path | None = None


@dataclass(frozen=True)
class EpochReport:
    """What one finished epoch hands to the sink."""

    metric: TrainingMetric
    progress_percent: float
    total_epochs: int
    estimated_completion: datetime | None
    best_epoch: int | None
    best_val_loss: float | None
    best_val_error_median_m: float | None
    device: DeviceInfo | None = None


@dataclass(frozen=True)
class CheckpointFile:
    """A complete, fsynced checkpoint at a temporary place; the sink makes it durable and points to it."""

    path: Path
    sha256: str
    epoch: int
    step: int
    batch: int
    write_s: float | None = None
    """s that writing it took."""


@dataclass(frozen=True)
class ModelDraft:
    """A finished network with everything measured about it; files lie in the attempt's work folder."""

    onnx_path: Path
    samples_path: Path
    evaluation_path: Path
    onnx_opset: int
    parameters_count: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    final_metrics: FinalMetrics
    normalization: Normalization
    baselines: tuple[Baseline, ...]
    performance: Performance
    accuracy_radius_m: float
    best_epoch: int
    weights_sha256: str
    """Hash of the final (not the best) weights: equal runs have equal hashes."""
    physical_limit: PhysicalLimit | None = None
    accuracy_breakdown: AccuracyBreakdown | None = None


@dataclass(frozen=True)
class TrainingOutcome:
    """How an attempt ended: exactly one of the three is true."""

    model: ModelDraft | None = None
    stopped_for: PendingAction | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Position:
    """How far inside an epoch a loop is."""

    epoch: int
    """The one that is trained, from 1."""
    batch: int
    """Batches done of it."""
    total_batches: int
    progress_percent: float
    """0 to 100, of the whole run."""
    estimated_completion: datetime | None


class TrainingSink(Protocol):
    """Where the loop reports, in order. What is reported may become durable later; what failed meanwhile is raised by a later call.

    Every method may raise LeaseLostError: the loop then ends at once and writes nothing more.
    """

    def note_phase(self, phase: Phase) -> None:
        """Say what the attempt does now, which is also a sign of life; read from memory, as often as one likes."""

    def report_device(self, device: DeviceInfo, *, resume_is_exact: bool | None) -> None:
        """Say where the attempt runs; called once, before the first step."""

    def report_tick(self, look: Callable[[], Position]) -> None:
        """Say that the loop is a step further. Cheap (under 15 microseconds) and lossy: the sink throttles.

        ``look`` gives where the loop was at this call; the sink calls it for the ticks that it says, a moment later, on any thread.
        """

    def report_epoch(self, report: EpochReport) -> None:
        """Have one epoch made durable: metric, progress and event in one transaction, with neighbours where they come faster than disks."""

    def is_checkpoint_wanted(self) -> bool:
        """Say whether a checkpoint at the end of this epoch is worth its cost; those of a pause and of the last epoch always are."""

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        """Have the file written, moved to its durable place and the job pointed to it; keeps the last two.

        ``write`` may be called later, on another thread, and again after a full disk: it holds its own copy of the run.
        """

    def requested_action(self) -> PendingAction | None:
        """Return what the person asked for; read from memory, called between any two optimizer steps."""
