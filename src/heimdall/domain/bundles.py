"""The ``.heimdall`` bundle: one JSON object, ``format_version`` 1.x.

Reads 1.0.0 as the ecosystem writes it (NaN, missing optional fields, singular ``dataset_id``) and 1.1.0;
writes 1.1.0. Nothing of a bundle becomes a path, a module or markup: texts pass :func:`~heimdall.domain.texts.clean_text`.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StringConstraints, ValidationError, model_validator

from heimdall.domain.base import Entity, make_file_stem
from heimdall.domain.canonical import hash_canonical
from heimdall.domain.datasets import CoordinateFrame
from heimdall.domain.errors import BundleError
from heimdall.domain.sentences import describe_fault
from heimdall.domain.texts import MAX_LABEL_LENGTH, MAX_NAME_LENGTH, MAX_TEXT_LENGTH, clean_text

FORMAT_VERSION: Final = "1.1.0"
ONNX_FIELD: Final = "onnx_model_base64"
POSITION_OUTPUT: Final = "position_enu_m"
COVARIANCE_OUTPUT: Final = "covariance_m2"


def _drop_non_finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    if isinstance(value, str):
        raise ValueError("must be a number, not text")
    if isinstance(value, int | float):
        try:
            return value if math.isfinite(value) else None
        except OverflowError:
            return None
    return value


def _to_text(value: Any) -> Any:  # noqa: ANN401
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Measured = Annotated[float | None, BeforeValidator(_drop_non_finite)]
"""A measured number, or null: NaN and infinities of older bundles are null."""

Count = Annotated[Annotated[int, Field(ge=0, le=2**53)] | None, BeforeValidator(_drop_non_finite)]
Magnitude = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_drop_non_finite)]
"""A distance or a spread: never below zero, or null as :data:`Measured` is."""

LatitudeDeg = Annotated[Annotated[float, Field(ge=-90, le=90)] | None, BeforeValidator(_drop_non_finite)]
LongitudeDeg = Annotated[Annotated[float, Field(ge=-180, le=180)] | None, BeforeValidator(_drop_non_finite)]
VersionText = Annotated[str, Field(max_length=MAX_LABEL_LENGTH), BeforeValidator(_to_text)]
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
"""A name longer than Heimdall's own names is refused, not cut: two models must not become namesakes on the way."""
Dimension = int | str | None
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FiniteNumbers = tuple[Measured, ...]


class Block(BaseModel):
    """A part of a bundle: frozen, tolerant of keys it does not know (a later 1.x may add some)."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class BundleMetadata(Block):
    """Who made this file, and when."""

    bundle_id: str = Field(min_length=1, max_length=MAX_LABEL_LENGTH)
    created_at: str
    created_by: str = ""
    description: str | None = Field(default=None, max_length=MAX_TEXT_LENGTH)
    heimdall_version: VersionText | None = None


class BundleTensor(Block):
    """An input or output of the graph (1.1)."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...]
    unit: str = ""
    meaning: str = ""


class BundleFeature(Block):
    """What a receiver token carries, in order (1.1)."""

    name: str
    unit: str = ""
    meaning: str = ""


class BundleModel(Block):
    """The network and what describes it; its bytes are diverted to a file by the reader."""

    model_id: str = Field(min_length=1)
    model_name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    version: VersionText
    architecture: str = Field(min_length=1, max_length=MAX_LABEL_LENGTH)
    framework: str = ""
    onnx_opset: StrictInt
    input_shape: Any = None
    output_shape: Any = None
    parameters_count: Count = None
    inputs: tuple[BundleTensor, ...] = ()
    outputs: tuple[BundleTensor, ...] = ()
    features: tuple[BundleFeature, ...] = ()


class BundleTrainingConfig(Block):
    """How it was trained; keys beyond these are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    epochs: Count = None
    batch_size: Count = None
    learning_rate: Measured = None
    optimizer: str | None = None
    loss_function: str | None = None
    validation_split: Measured = None
    dataset_ids: tuple[str, ...] = ()
    dataset_names: tuple[Name, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _accept_singular(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, dict):
            return data
        taken = dict(data)
        for singular, plural in (("dataset_id", "dataset_ids"), ("dataset_name", "dataset_names")):
            single = taken.pop(singular, None)
            if taken.get(plural) is None:
                taken[plural] = [] if single is None else [single]
        return taken


class BundleBaseline(Block):
    """A classical method on the same validation split (1.1)."""

    id: str
    name: str
    error_median_m: Measured = None
    error_p68_m: Measured = None
    error_p95_m: Measured = None
    num_examples: Annotated[int, Field(ge=0, le=2**53)] = 0
    reason: str | None = None


class BundleMetrics(Block):
    """What was measured when the model was made."""

    final_train_loss: Measured = None
    final_val_loss: Measured = None
    final_train_accuracy: Measured = None
    final_val_accuracy: Measured = None
    best_epoch: Count = None
    training_duration_seconds: Measured = None
    inference_latency_ms: Measured = None
    onnx_speedup_factor: Measured = None
    accuracy_radius_m: Measured = None
    val_error_median_m: Measured = None
    val_error_p68_m: Measured = None
    val_error_p95_m: Measured = None
    val_nll: Measured = None
    val_coverage_68: Measured = None
    parity_max_abs_diff: Measured = None
    parity_examples: Count = None
    baselines: tuple[BundleBaseline, ...] = ()


class BundleNormalization(Block):
    """Fitted on training rows only. In a 1.1 bundle the graph applies it itself and takes physical units."""

    feature_means: FiniteNumbers = ()
    feature_stds: FiniteNumbers = ()
    feature_names: tuple[str, ...] = ()


class GeoPoint(Block):
    """Degrees on WGS84."""

    latitude: LatitudeDeg = None
    longitude: LongitudeDeg = None


class GeoPrediction(GeoPoint):
    """Degrees on WGS84, and one standard deviation east (x) and north (y) in metres."""

    uncertainty_x: Magnitude = None
    uncertainty_y: Magnitude = None


class BundleSample(Block):
    """A held-out example. With ``input_base64`` and ``expected_output_base64`` (1.1) it can be repeated."""

    sample_id: VersionText
    input_metadata: dict[str, Any] = Field(default_factory=dict)
    ground_truth: GeoPoint | None = None
    prediction: GeoPrediction | None = None
    error_meters: Magnitude = None
    input_base64: str | None = None
    expected_output_base64: str | None = None

    @property
    def is_repeatable(self) -> bool:
        """True where both sides of the graph are there."""
        return self.input_base64 is not None and self.expected_output_base64 is not None

    @model_validator(mode="after")
    def _check_pair(self) -> BundleSample:
        if (self.input_base64 is None) != (self.expected_output_base64 is None):
            raise ValueError("needs both input_base64 and expected_output_base64, or neither")
        return self


class BundleReceiver(Block):
    """A receiver site (1.1)."""

    id: str
    name: str = ""
    latitude: LatitudeDeg = None
    longitude: LongitudeDeg = None
    altitude_m: Measured = None
    is_moving: bool = False


class BundleFrame(Block):
    """Local east-north-up frame (1.1)."""

    kind: Literal["enu"] = "enu"
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    altitude_m: float = Field(default=0.0, allow_inf_nan=False)


class Integrity(Block):
    """SHA-256 of the ONNX bytes and of each block's canonical form (RFC 8785)."""

    algorithm: Literal["sha256"] = "sha256"
    canonical_form: Literal["RFC 8785"] = "RFC 8785"
    onnx_sha256: Sha256Hex
    blocks: dict[str, Sha256Hex]


class Bundle(Block):
    """A whole bundle without the network's bytes."""

    format_version: Annotated[str, StringConstraints(max_length=32)]
    bundle_metadata: BundleMetadata
    model: BundleModel
    training_config: BundleTrainingConfig | None = None
    performance_metrics: BundleMetrics | None = None
    normalization_stats: BundleNormalization | None = None
    sample_predictions: Annotated[tuple[BundleSample, ...], Field(max_length=1000)] | None = None
    receivers: Annotated[tuple[BundleReceiver, ...], Field(max_length=100_000)] | None = None
    coordinate_frame: BundleFrame | None = None
    integrity: Integrity | None = None

    @property
    def frame(self) -> CoordinateFrame | None:
        """The frame as the rest of Heimdall knows it."""
        return None if self.coordinate_frame is None else CoordinateFrame(**self.coordinate_frame.model_dump())

    @property
    def repeatable_samples(self) -> tuple[BundleSample, ...]:
        """Samples that carry input and expected output."""
        return tuple(sample for sample in self.sample_predictions or () if sample.is_repeatable)


class BundleSummary(Entity):
    """What ``heimdall model verify`` says of a file."""

    format_version: str
    bundle_id: str
    created_at: str
    model_name: str
    version: str
    architecture: str
    onnx_opset: int = Field(description="as the bundle says")
    onnx_sha256: str
    onnx_size_bytes: int
    bundle_hash: str
    num_samples: int
    num_repeatable_samples: int
    has_integrity: bool


_VERSION_PATTERN: Final = re.compile(r"1\.\d{1,4}(\.\d{1,4})?")
KNOWN_BLOCKS: Final = tuple(name for name in Bundle.model_fields if name != "integrity")


def _format_path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def parse_bundle(document: Any) -> Bundle:  # noqa: ANN401
    """Check a parsed document against the schema.

    Parameters
    ----------
    document
        The JSON value, ``model.onnx_model_base64`` already taken out by the reader.

    Raises
    ------
    BundleError
        Code ``bundle_schema`` with the JSON path of the first fault.
    """
    if not isinstance(document, dict):
        raise BundleError("A bundle is one JSON object; export the model again.", field="$", code="bundle_schema")
    version = document.get("format_version")
    if not isinstance(version, str) or not _VERSION_PATTERN.fullmatch(version):
        raise BundleError(_describe_version(version), field="$.format_version", code="bundle_schema")
    try:
        return Bundle.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        path = _format_path(fault["loc"])
        name = f"The bundle's {clean_text(path, limit=200)}"
        raise BundleError(describe_fault(name, clean_text(fault["msg"], limit=200)), field=path[:500], code="bundle_schema") from None


def _describe_version(version: Any) -> str:  # noqa: ANN401
    if version is None:
        return "The file has no format_version: it is not a .heimdall bundle."
    shown = clean_text(str(version), limit=40)
    return f"format_version '{shown}' cannot be read here, only 1.x; update Heimdall or export the model as 1.x."


def list_blocks(document: dict[str, Any]) -> list[str]:
    """Return the blocks that have a hash: every key with a value except ``integrity``, known or not."""
    return [name for name, value in document.items() if name != "integrity" and value is not None]


def make_integrity(document: dict[str, Any], onnx_sha256: str) -> Integrity:
    """Return the hashes of a document; its ``model`` must be without the network's bytes."""
    blocks = {name: hash_canonical(document[name]) for name in list_blocks(document)}
    return Integrity(onnx_sha256=onnx_sha256, blocks=blocks)


def check_integrity(stated: Integrity, actual: Integrity) -> None:
    """Compare what a bundle states with what was read.

    Raises
    ------
    BundleError
        Code ``bundle_integrity`` with the JSON path of the first block that differs, is missing or is not covered.
    """
    if stated.onnx_sha256 != actual.onnx_sha256:
        message = "The network's bytes do not match their SHA-256: the file was damaged or changed. Get it again from its source."
        raise BundleError(message, field=f"$.model.{ONNX_FIELD}", code="bundle_integrity")
    for name, digest in stated.blocks.items():
        shown = clean_text(name, limit=100)
        if name not in actual.blocks:
            message = f"The block '{shown}' is listed in integrity but is not in the file. Get it again from its source."
            raise BundleError(message, field=f"$.integrity.blocks.{shown}", code="bundle_integrity")
        if actual.blocks[name] != digest:
            message = f"The block '{shown}' does not match its SHA-256: the file was damaged or changed. Get it again from its source."
            raise BundleError(message, field=f"$.{shown}", code="bundle_integrity")
    for name in KNOWN_BLOCKS:
        if name in actual.blocks and name not in stated.blocks:
            message = f"The block '{name}' has no hash in integrity, which covers the others. Get the file again from its source."
            raise BundleError(message, field=f"$.integrity.blocks.{name}", code="bundle_integrity")


def identify(actual: Integrity) -> str:
    """Return the bundle's identity: the hash over its network and all its blocks, whatever the layout of the file."""
    return hash_canonical({"onnx_sha256": actual.onnx_sha256, "blocks": actual.blocks})


def make_file_name(name: str, version: int) -> str:
    """Return ``NAME-vVERSION.heimdall`` in letters, digits, dot, dash and underscore: safe unquoted in a header."""
    return f"{make_file_stem(name) or 'model'}-v{version}.heimdall"
