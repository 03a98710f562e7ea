"""Turns a bundle that proved itself into a model: texts made safe, numbers kept or left out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from heimdall.domain.bundles import (
    Bundle,
    BundleMetrics,
    BundleNormalization,
    BundleTensor,
)
from heimdall.domain.datasets import Feature, Receiver
from heimdall.domain.models import (
    Baseline,
    Examination,
    FinalMetrics,
    Normalization,
    Performance,
    TensorSpec,
    TrainedModelDetail,
    Verification,
)
from heimdall.domain.texts import MAX_LABEL_LENGTH, MAX_NAME_LENGTH, clean_text, clean_value
from heimdall.services.bundle_reader import ReadBundle


def make_imported_model(
    read: ReadBundle, examination: Examination, verification: Verification, *, model_id: str, folder: str, now: datetime
) -> TrainedModelDetail:
    """Return the model of a bundle, at version 1 until the database counts it.

    The identifiers, the keys and the opset are this server's own; of the bundle come only texts, made safe, and numbers.
    """
    bundle = read.bundle
    metrics = bundle.performance_metrics or BundleMetrics()
    names = bundle.training_config.dataset_names if bundle.training_config else ()
    return TrainedModelDetail(
        id=model_id,
        name=clean_text(bundle.model.model_name, limit=MAX_NAME_LENGTH) or "imported model",
        version=1,
        architecture=clean_text(bundle.model.architecture, limit=MAX_LABEL_LENGTH) or "unknown",
        created_at=now,
        onnx_path=f"{folder}/model.onnx",
        parameters_count=bundle.model.parameters_count,
        final_metrics=_read_final_metrics(metrics),
        sha256=read.onnx_sha256,
        size_bytes=read.onnx_size_bytes,
        onnx_opset=examination.onnx_opset or bundle.model.onnx_opset,
        dataset_name=clean_text(names[0], limit=MAX_NAME_LENGTH) if names else None,
        imported_from=clean_text(bundle.bundle_metadata.bundle_id, limit=MAX_LABEL_LENGTH),
        verification=verification,
        baselines=_read_baselines(metrics),
        accuracy_radius_m=metrics.accuracy_radius_m,
        best_epoch=metrics.best_epoch,
        description=clean_text(bundle.bundle_metadata.description or ""),
        inputs=_join_specs(examination.inputs, bundle.model.inputs),
        outputs=_join_specs(examination.outputs, bundle.model.outputs),
        receivers=_read_receivers(bundle),
        features=_read_features(bundle),
        coordinate_frame=bundle.frame,
        training_config=_read_training(bundle),
        performance=_read_performance(bundle),
        normalization=_read_normalization(bundle.normalization_stats),
        samples_key=f"{folder}/samples.safetensors" if read.samples_path is not None else None,
        bundle_hash=read.bundle_hash,
        heimdall_version=clean_text(bundle.bundle_metadata.heimdall_version or "", limit=50),
    )


def _read_final_metrics(metrics: BundleMetrics) -> FinalMetrics:
    return FinalMetrics(
        train_loss=metrics.final_train_loss,
        val_loss=metrics.final_val_loss,
        train_accuracy=_take_share(metrics.final_train_accuracy),
        val_accuracy=_take_share(metrics.final_val_accuracy),
        val_error_median_m=metrics.val_error_median_m,
        val_error_p68_m=metrics.val_error_p68_m,
        val_error_p95_m=metrics.val_error_p95_m,
        val_nll=metrics.val_nll,
        val_coverage_68=metrics.val_coverage_68,
    )


def _take_share(value: float | None) -> float | None:
    """Return an accuracy that is a share; some 1.0.0 writers put metres there, which are no share and are left out."""
    return value if value is not None and 0 <= value <= 1 else None


def _read_baselines(metrics: BundleMetrics) -> tuple[Baseline, ...]:
    return tuple(Baseline.model_validate(clean_value(baseline.model_dump())) for baseline in metrics.baselines[:20])


def _join_specs(measured: tuple[TensorSpec, ...], stated: tuple[BundleTensor, ...]) -> tuple[TensorSpec, ...]:
    """Return what the graph itself says, with unit and meaning where the bundle gives them for the same name."""
    texts = {clean_text(spec.name, limit=200): spec for spec in stated}
    return tuple(
        spec.evolve(unit=clean_text(texts[spec.name].unit, limit=50), meaning=clean_text(texts[spec.name].meaning, limit=500))
        if spec.name in texts
        else spec
        for spec in measured
    )


def _read_receivers(bundle: Bundle) -> tuple[Receiver, ...]:
    return tuple(Receiver.model_validate(clean_value(receiver.model_dump())) for receiver in bundle.receivers or ())


def _read_features(bundle: Bundle) -> tuple[Feature, ...]:
    return tuple(Feature.model_validate(clean_value(feature.model_dump())) for feature in bundle.model.features)


def _read_training(bundle: Bundle) -> dict[str, Any] | None:
    if bundle.training_config is None:
        return None
    cleaned: dict[str, Any] = clean_value(bundle.training_config.model_dump())
    return cleaned


def _read_performance(bundle: Bundle) -> Performance | None:
    metrics = bundle.performance_metrics
    if metrics is None:
        return None
    told = Performance.model_fields.keys() & type(metrics).model_fields.keys()
    return Performance(**{name: getattr(metrics, name) for name in told})


def _read_normalization(stats: BundleNormalization | None) -> Normalization | None:
    """Return the numbers where all of them are there; half a normalization is none."""
    if stats is None:
        return None
    means = [value for value in stats.feature_means if value is not None]
    stds = [value for value in stats.feature_stds if value is not None]
    if len(means) != len(stats.feature_means) or len(stds) != len(stats.feature_stds) or len(means) != len(stds):
        return None
    names = tuple(clean_text(name, limit=200) for name in stats.feature_names)
    return Normalization(feature_names=names, feature_means=tuple(means), feature_stds=tuple(stds))
