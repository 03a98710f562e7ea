"""Writes a bundle as a stream of bytes; the network passes through in pieces and is never held whole."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import heimdall
from heimdall.domain.base import format_instant
from heimdall.domain.bundles import FORMAT_VERSION, ONNX_FIELD, make_integrity
from heimdall.domain.errors import UnavailableError
from heimdall.domain.models import ExportOptions, TensorSpec, TrainedModelDetail
from heimdall.domain.ports import Clock

CHUNK_BYTES: Final = 3 * (1 << 16)
"""A multiple of three, so that the base64 of the pieces is the base64 of the whole; small, since encoding holds the interpreter."""

_FINAL_FIELDS: Final = ("val_error_median_m", "val_error_p68_m", "val_error_p95_m", "val_nll", "val_coverage_68")
_PERFORMANCE_FIELDS: Final = (
    "training_duration_seconds",
    "inference_latency_ms",
    "onnx_speedup_factor",
    "parity_max_abs_diff",
    "parity_examples",
)
_LOSS: Final = "gaussian_nll"
"""What every network of the catalogue is trained with; of an imported model only what its bundle said is repeated."""


def build_document(
    model: TrainedModelDetail, options: ExportOptions, samples: list[dict[str, Any]] | None, *, bundle_id: str, clock: Clock
) -> dict[str, Any]:
    """Return everything of a bundle but the network's bytes and the hashes. What was not chosen is null."""
    return {
        "format_version": FORMAT_VERSION,
        "bundle_metadata": {
            "bundle_id": bundle_id,
            "created_at": format_instant(clock.now()),
            "created_by": "heimdall",
            "description": options.description or model.description or None,
            "heimdall_version": heimdall.__version__,
        },
        "model": _describe_model(model),
        "training_config": _describe_training(model) if options.include_config else None,
        "performance_metrics": _describe_performance(model) if options.include_metrics else None,
        "normalization_stats": _describe_normalization(model) if options.include_normalization else None,
        "sample_predictions": samples,
        "receivers": [receiver.model_dump(mode="json") for receiver in model.receivers],
        "coordinate_frame": model.coordinate_frame.model_dump(mode="json") if model.coordinate_frame else None,
    }


def _describe_model(model: TrainedModelDetail) -> dict[str, Any]:
    return {
        "model_id": model.id,
        "model_name": model.name,
        "version": str(model.version),
        "architecture": model.architecture,
        "framework": "pytorch",
        "onnx_opset": model.onnx_opset,
        "input_shape": _fix_shape(model.inputs[0]) if model.inputs else None,
        "output_shape": [_fix_shape(spec) for spec in model.outputs] or None,
        "parameters_count": model.parameters_count,
        "inputs": [spec.model_dump(mode="json") for spec in model.inputs],
        "outputs": [spec.model_dump(mode="json") for spec in model.outputs],
        "features": [feature.model_dump(mode="json") for feature in model.features],
    }


def _fix_shape(spec: TensorSpec) -> list[int]:
    """Return the shape in whole numbers, as 1.0.0 readers want it; -1 stands for a dimension of any size."""
    return [size if isinstance(size, int) else -1 for size in spec.shape]


def _describe_training(model: TrainedModelDetail) -> dict[str, Any] | None:
    config = model.training_config
    if config is None:
        return None
    is_ours = model.imported_from is None
    described = {name: value for name, value in config.items() if name not in {"dataset_id", "dataset_name"}}
    described.setdefault("loss_function", _LOSS if is_ours else None)
    if is_ours:
        described["dataset_ids"] = [model.dataset_id] if model.dataset_id else []
        described["dataset_names"] = [model.dataset_name] if model.dataset_name else []
    return described


def _describe_performance(model: TrainedModelDetail) -> dict[str, Any]:
    final = model.final_metrics
    performance = model.performance
    return {
        "final_train_loss": final.train_loss,
        "final_val_loss": final.val_loss,
        "final_train_accuracy": final.train_accuracy,
        "final_val_accuracy": final.val_accuracy,
        "best_epoch": model.best_epoch,
        **{name: getattr(performance, name, None) for name in _PERFORMANCE_FIELDS},
        "accuracy_radius_m": model.accuracy_radius_m,
        **{name: getattr(final, name) for name in _FINAL_FIELDS},
        "baselines": [baseline.model_dump(mode="json") for baseline in model.baselines],
    }


def _describe_normalization(model: TrainedModelDetail) -> dict[str, Any] | None:
    return None if model.normalization is None else model.normalization.model_dump(mode="json")


def stream_bundle(document: dict[str, Any], onnx: BinaryIO, *, expected_sha256: str) -> Iterator[bytes]:
    """Yield the bundle's bytes: one block a line, the network inside ``model``, the hashes last.

    Raises
    ------
    UnavailableError
        At the end, where the network is not the one that was stored; the file is then cut off and cannot be imported.
    """
    integrity = make_integrity(document, expected_sha256)
    opening = "{"
    for name, block in document.items():
        yield f'{opening}"{name}":'.encode()
        opening = ",\n"
        if name == "model":
            yield _dump(block)[:-1] + f',"{ONNX_FIELD}":"'.encode()
            yield from _encode(onnx, expected_sha256)
            yield b'"}'
        else:
            yield _dump(block)
    yield b',\n"integrity":' + _dump(integrity.model_dump(mode="json")) + b"}\n"


def _dump(value: Any) -> bytes:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _encode(source: BinaryIO, expected_sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    rest = b""
    while data := source.read(CHUNK_BYTES):
        digest.update(data)
        rest += data
        cut = len(rest) - len(rest) % 3
        yield base64.b64encode(rest[:cut])
        rest = rest[cut:]
    yield base64.b64encode(rest)
    if digest.hexdigest() != expected_sha256:
        raise UnavailableError("The stored network is damaged: its hash is not the one noted when it was made. Restore it from a backup.")
