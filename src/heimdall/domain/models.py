"""Trained models: what is listed, what the detail view adds, and what a verification says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from pydantic import Field

from heimdall.domain.base import Entity, Instant
from heimdall.domain.datasets import CoordinateFrame, Feature, PhysicalLimit, Receiver


class TensorSpec(Entity):
    """An input or output of the ONNX graph; a symbolic dimension is a name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    unit: str = ""
    meaning: str = ""


class VerificationCheck(Entity):
    """One check of an arriving bundle."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""


OnCheck: TypeAlias = Callable[[VerificationCheck], None]
"""Hears of a check as soon as it is done."""


class Verification(Entity):
    """What was checked, by running the model here. It proves fidelity, not accuracy in the field."""

    status: Literal["verified", "unverified", "failed"]
    checks: tuple[VerificationCheck, ...] = ()
    matched: int | None = Field(default=None, description="samples whose output agrees")
    total: int | None = Field(default=None, description="samples repeated")
    max_abs_diff: float | None = Field(default=None, description="largest difference from the expected output")
    max_abs_diff_unit: str | None = Field(default=None, description="'m' where positions were compared; null where nobody said")
    latency_ms: float | None = Field(default=None, description="ms, median of one example")
    verified_at: Instant | None = None


class CheckFailure(Entity):
    """The check that said no: its code, one sentence, and the bundle's JSON path."""

    code: str
    detail: str
    field: str | None = None


class Examination(Entity):
    """What the verifying child found out about a network; ``failure`` goes with the status ``failed``."""

    verification: Verification
    failure: CheckFailure | None = None
    onnx_opset: int | None = Field(default=None, description="as the graph says")
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


class FinalMetrics(Entity):
    """Of the best epoch; null where nobody measured."""

    train_loss: float | None = None
    val_loss: float | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    val_error_median_m: float | None = None
    val_error_p68_m: float | None = None
    val_error_p95_m: float | None = None
    val_nll: float | None = None
    val_coverage_68: float | None = None


class Baseline(Entity):
    """A classical method on the same validation split, so that a number has something to stand beside."""

    id: str
    name: str
    error_median_m: float | None = None
    error_p68_m: float | None = None
    error_p95_m: float | None = None
    num_examples: int = 0
    reason: str | None = Field(default=None, description="why it could not be run, if so")


class ErrorGroup(Entity):
    """Held-out examples of one kind."""

    label: str
    num_examples: int
    error_median_m: float
    error_p68_m: float
    error_p95_m: float
    coverage_68: float = Field(description="share of truths inside their 68 % ellipse")


class ErrorBreakdown(Entity):
    """The same examples, sorted by one thing that makes them easy or hard."""

    by: Literal["receivers_heard", "snr_db", "hdop", "hull"] = Field(
        description="snr_db: mean over the receivers that heard; hdop: of time differences; hull: of the receivers that heard"
    )
    groups: tuple[ErrorGroup, ...]


class ReliabilityPoint(Entity):
    """What an ellipse promises and what it keeps."""

    nominal: float = Field(description="probability of the ellipse, 0 to 1")
    observed: float = Field(description="share of truths inside it")


class AccuracyBreakdown(Entity):
    """What the averages hide, measured on the validation split when the model was made."""

    num_examples: int
    breakdowns: tuple[ErrorBreakdown, ...] = ()
    reliability: tuple[ReliabilityPoint, ...] = ()


class Performance(Entity):
    """Measured on this machine when the model was made."""

    training_duration_seconds: float | None = None
    inference_latency_ms: float | None = Field(default=None, description="ms, median, one example, onnxruntime")
    onnx_speedup_factor: float | None = Field(default=None, description="PyTorch time over onnxruntime time, one example")
    parity_max_abs_diff: float | None = Field(default=None, description="largest ONNX to PyTorch difference, normalized units")
    parity_position_diff_m: float | None = Field(default=None, description="m, the same of positions alone")
    parity_examples: int | None = None


class Normalization(Entity):
    """Fitted on training rows only; the exported graph applies it itself and takes physical units."""

    feature_names: tuple[str, ...] = ()
    feature_means: tuple[float, ...] = ()
    feature_stds: tuple[float, ...] = ()


class TrainedModel(Entity):
    """An exported, validated ONNX network with its lineage."""

    id: str
    name: str
    version: int = Field(description="counts per name")
    architecture: str
    created_at: Instant
    training_job_id: str | None = None
    onnx_path: str = Field(description="key of the network among the artifacts")
    parameters_count: int | None = None
    final_metrics: FinalMetrics
    sha256: str = Field(description="of the ONNX bytes")
    size_bytes: int
    onnx_opset: int
    dataset_id: str | None = None
    dataset_name: str | None = None
    imported_from: str | None = Field(default=None, description="bundle id, where the model came as a file")
    verification: Verification
    baselines: tuple[Baseline, ...] = ()
    physical_limit: PhysicalLimit | None = Field(default=None, description="of the same validation split; simulated data only")
    accuracy_radius_m: float | None = None
    best_epoch: int | None = None


class TrainedModelDetail(TrainedModel):
    """A model with everything its bundle is written from."""

    description: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    features: tuple[Feature, ...] = ()
    coordinate_frame: CoordinateFrame | None = None
    training_config: dict[str, Any] | None = None
    performance: Performance | None = None
    normalization: Normalization | None = None
    accuracy_breakdown: AccuracyBreakdown | None = Field(default=None, description="null for models of bundles and of earlier versions")
    samples_key: str | None = Field(default=None, description="artifact with held-out inputs and expected outputs (safetensors)")
    evaluation_key: str | None = Field(default=None, description="artifact with truth and prediction of every validation example")
    bundle_hash: str | None = Field(default=None, description="identity of an imported bundle's content")
    weights_sha256: str | None = Field(default=None, description="of the last epoch's weights: equal runs have equal hashes")
    heimdall_version: str = ""


class ExportOptions(Entity):
    """What goes into a bundle beside the network."""

    include_config: bool = True
    include_metrics: bool = True
    include_normalization: bool = True
    include_samples: bool = True
    num_samples: int = Field(default=5, ge=1, le=10)
    description: str | None = Field(default=None, max_length=2000)
