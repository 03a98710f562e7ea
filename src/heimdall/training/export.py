"""From the best weights to a model that leaves: ONNX, checked, compared with PyTorch, timed, with samples and evaluation.

Legend: B examples, R receiver tokens, F features a token, V validation examples, S samples.
"""

from __future__ import annotations

import copy
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import safetensors.numpy
import torch
from torch import Tensor, nn

from heimdall.datasets.limits import limit_of_rows
from heimdall.domain.errors import StorageFullError, TrainingError
from heimdall.domain.models import FinalMetrics, Normalization, Performance, TensorSpec
from heimdall.domain.training import ModelDraft
from heimdall.training.architectures.build import count_parameters
from heimdall.training.architectures.localizer import Localizer
from heimdall.training.architectures.mixture import MixtureLocalizer
from heimdall.training.architectures.residual import ResidualLocalizer
from heimdall.training.baselines import measure_baselines
from heimdall.training.breakdown import break_down, find_heard
from heimdall.training.calibration import LEVELS, NOMINAL_RADII, find_radii
from heimdall.training.metrics import Evaluation, evaluate, summarize
from heimdall.training.preparation import Run
from heimdall.training.state import hash_weights

OPSET: Final = 18
NUM_SAMPLES: Final = 10
PARITY_EXAMPLES: Final = 128
PARITY_TOLERANCE: Final = 1e-4
"""Largest difference allowed, in scaled units (a unit is the spread of the training positions); float32 gives about 1e-6."""

_TIMED_RUNS: Final = 200
_WARM_UP_RUNS: Final = 20
_OUTPUTS: Final = ("position_enu_m", "covariance_m2")
_RADII_OUTPUT: Final = "ellipse_radii"
_MIXTURE_OUTPUTS: Final = ("mixture_weights", "mixture_positions_m", "mixture_covariances_m2")

Arrays = dict[str, npt.NDArray[Any]]

logger = logging.getLogger(__name__)


class ExportGraph(nn.Module):
    """What leaves: physical units in, metres out; normalization is inside."""

    def __init__(self, model: Localizer) -> None:
        super().__init__()
        self.model = model

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of what it gives; the radii where they are not those of a Gaussian, the components where there are several."""
        if isinstance(self.model, MixtureLocalizer):
            return (*_OUTPUTS, *_MIXTURE_OUTPUTS)
        return _OUTPUTS if self.model.ellipse_radii == NOMINAL_RADII else (*_OUTPUTS, _RADII_OUTPUT)

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """Return position [B, 2] in m, covariance [B, 2, 2] in m² and what else ``output_names`` names."""
        if isinstance(self.model, MixtureLocalizer):
            collapsed = self.model(features_BRF, mask_BR, receiver_BR, *given)
            return *self.model.to_metres(collapsed), *self.model.mixture_to_metres(collapsed.mixture)
        position_B2, covariance_B22 = self.model.to_metres(self.model(features_BRF, mask_BR, receiver_BR, *given))
        if self.model.ellipse_radii == NOMINAL_RADII:
            return position_B2, covariance_B22
        return position_B2, covariance_B22, torch.tensor(self.model.ellipse_radii).expand(position_B2.shape[0], -1)


def draft_model(run: Run, *, check_in: Callable[[], None]) -> ModelDraft:
    """Export the best weights and measure everything that is said about them.

    Parameters
    ----------
    run
        A finished run; its state is not changed.
    check_in
        Called between stages; it ends the export by raising.

    Returns
    -------
    ModelDraft
        Its files lie in the request's work folder.

    Raises
    ------
    TrainingError
        Where the exported network is refused by the ONNX checker or does not agree with PyTorch.
    StorageFullError
        Where a file could not be written.
    """
    folder = run.request.work_dir
    logger.info("evaluating_best_weights", extra={"best_epoch": run.state.best.epoch or run.state.epoch, "examples": len(run.val_rows)})
    best = copy.deepcopy(run.state.model)
    best.load_state_dict(run.state.best_weights)
    is_calibrated = calibrate(best, run, check_in=check_in)
    evaluation = evaluate(best, run.examples, run.val_rows, before_batch=check_in)
    graph = ExportGraph(best.cpu().eval()).eval()
    onnx_path = folder / "model.onnx"
    check_in()
    logger.info("exporting_onnx", extra={"opset": OPSET})
    probe = _gather(run, run.val_rows[: min(2, len(run.val_rows))])
    export_onnx(graph, probe, onnx_path)
    check_in()
    session = open_session(onnx_path)
    compared = _gather(run, _spread(run.val_rows, PARITY_EXAMPLES))
    logger.info("comparing_with_pytorch", extra={"examples": len(compared["mask"])})
    parity = compare(graph, session, compared, scale_m=run.scaling.target_scale_m)
    logger.info("onnx_repeats_pytorch", extra={"largest_difference_m": float(f"{parity.position_m:.3g}")})
    sample_rows = _spread(run.val_rows, NUM_SAMPLES)
    _write_samples(folder / "samples.safetensors", run, session, sample_rows)
    _write_evaluation(folder / "evaluation.safetensors", run, evaluation, best.ellipse_radii)
    check_in()
    logger.info("measuring_latency")
    latency_ms, torch_latency_ms = measure_latency(graph, session, _gather(run, run.val_rows[:1]))
    logger.info("latency_measured", extra={"onnx_ms": float(f"{latency_ms:.3g}"), "pytorch_ms": float(f"{torch_latency_ms:.3g}")})
    return ModelDraft(
        onnx_path=onnx_path,
        samples_path=folder / "samples.safetensors",
        evaluation_path=folder / "evaluation.safetensors",
        onnx_opset=OPSET,
        parameters_count=count_parameters(best),
        inputs=_describe_inputs(run),
        outputs=_describe_outputs(graph),
        final_metrics=_state_metrics(run, evaluation) if is_calibrated else run.state.best.metrics or FinalMetrics(),
        normalization=Normalization(
            feature_names=run.arrays.feature_names,
            feature_means=run.scaling.feature_means,
            feature_stds=run.scaling.feature_stds,
        ),
        baselines=measure_baselines(run.arrays, run.train_rows, run.val_rows, check_in=check_in),
        physical_limit=limit_of_rows(run.arrays, run.val_rows),
        accuracy_breakdown=break_down(run.arrays, run.val_rows, evaluation),
        performance=Performance(
            training_duration_seconds=run.state.total_seconds,
            inference_latency_ms=latency_ms,
            onnx_speedup_factor=torch_latency_ms / latency_ms,
            parity_max_abs_diff=parity.scaled,
            parity_position_diff_m=parity.position_m,
            parity_examples=len(compared["mask"]),
        ),
        accuracy_radius_m=run.radius_m,
        best_epoch=run.state.best.epoch or run.state.epoch,
        weights_sha256=hash_weights(run.state.model),
    )


def calibrate(model: Localizer, run: Run, *, check_in: Callable[[], None]) -> bool:
    """Give the model's ellipses the sizes that calibration rows ask for; return False where there are none."""
    if not isinstance(model, ResidualLocalizer) or not run.calibration_sets:
        return False
    held_out = [evaluate(model, run.calibration_examples, rows, before_batch=check_in).mahalanobis_V for rows in run.calibration_sets]
    model.set_radii(find_radii(held_out))
    return True


def _state_metrics(run: Run, evaluation: Evaluation) -> FinalMetrics:
    """Restate what calibration changed; the losses stay those of the best epoch's row, which chose the weights."""
    summary = summarize(evaluation, run.radius_m)
    return (run.state.best.metrics or FinalMetrics()).evolve(val_nll=summary.nll, val_coverage_68=summary.coverage_68)


def export_onnx(graph: ExportGraph, example: Arrays, path: Path) -> None:
    """Write one self-contained ONNX file with any number of examples and receivers, and check it.

    The tracing exporter is used: 0.1 s against 3 s of the dynamo one for the same graph.

    Raises
    ------
    TrainingError
        Where the checker refuses what was written.
    StorageFullError
        Where the file could not be written.
    """
    axes = {name: {0: "batch", 1: "receivers"} for name in example}
    with _quiet(), _storing(path):
        torch.onnx.export(
            graph,
            tuple(torch.from_numpy(values) for values in example.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(graph.output_names),
            dynamic_axes={**axes, **{name: {0: "batch"} for name in graph.output_names}},
        )
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TrainingError(f"The exported network was refused by the ONNX checker: {error}") from error
    _sync(path)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a network on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Parity:
    """The largest difference between the exported network and the trained one."""

    scaled: float
    """Of positions and covariances, in units of the spread of the training positions: what the tolerance holds for."""
    position_m: float
    """Of positions, m: what is shown."""


def compare(graph: ExportGraph, session: onnxruntime.InferenceSession, inputs: Arrays, *, scale_m: float) -> Parity:
    """Return the largest difference between ONNX and PyTorch.

    A covariance is compared relative to its own size where that is above one square unit.

    Raises
    ------
    TrainingError
        Where it is above the tolerance or not a number.
    """
    expected = _run_torch(graph, inputs)
    given = run_session(session, inputs)
    position = np.abs(given[0] - expected[0]) / scale_m
    size = np.maximum(np.abs(expected[1]) / scale_m**2, 1.0)
    covariance = np.abs(given[1] - expected[1]) / scale_m**2 / size
    difference = max(float(position.max()), float(covariance.max()))
    if not difference <= PARITY_TOLERANCE:
        raise TrainingError(
            f"The exported network differs from the trained one by {difference:.2g} (normalized units, allowed {PARITY_TOLERANCE:g}); "
            "no model was made. Train again with a lower learning rate, or report this with the job's configuration."
        )
    return Parity(scaled=difference, position_m=float(position.max()) * scale_m)


def run_session(session: onnxruntime.InferenceSession, inputs: Arrays) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return position [B, 2] m and covariance [B, 2, 2] m² from the exported network."""
    position, covariance = session.run(list(_OUTPUTS), inputs)
    return position, covariance


def measure_latency(graph: ExportGraph, session: onnxruntime.InferenceSession, example: Arrays) -> tuple[float, float]:
    """Return medians in ms for one example on one thread: onnxruntime, PyTorch."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tensors = tuple(torch.from_numpy(values) for values in example.values())
        with torch.inference_mode():
            torch_ms = _median_ms(lambda: graph(*tensors))
        return _median_ms(lambda: run_session(session, example)), torch_ms
    finally:
        torch.set_num_threads(num_threads)


def _median_ms(call: Callable[[], object]) -> float:
    for _ in range(_WARM_UP_RUNS):
        call()
    durations = []
    for _ in range(_TIMED_RUNS):
        started_ns = time.perf_counter_ns()
        call()
        durations.append((time.perf_counter_ns() - started_ns) / 1e6)
    return statistics.median(durations)


def _run_torch(graph: ExportGraph, inputs: Arrays) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    with torch.inference_mode():
        position, covariance, *_ = graph(*(torch.from_numpy(values) for values in inputs.values()))
    return position.numpy(), covariance.numpy()


def _gather(run: Run, rows: npt.NDArray[np.int64]) -> Arrays:
    """Return the graph's inputs for some rows, in its order."""
    arrays = run.arrays
    samples = {} if not run.with_iq or arrays.iq is None else {"iq": np.ascontiguousarray(arrays.iq[rows], np.int8)}
    return {
        "features": np.ascontiguousarray(arrays.features[rows], np.float32),
        "mask": np.ascontiguousarray(arrays.mask[rows], np.bool_),
        "receiver_index": np.ascontiguousarray(arrays.receiver_index[rows], np.int64),
        **samples,
    }


def _spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` rows evenly over all, or all of them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]


def _write_samples(path: Path, run: Run, session: onnxruntime.InferenceSession, rows: npt.NDArray[np.int64]) -> None:
    inputs = _gather(run, rows)
    position, covariance = run_session(session, inputs)
    tensors: Arrays = {f"input.{name}": values for name, values in inputs.items()}
    tensors["expected.position_enu_m"] = np.ascontiguousarray(position)
    tensors["expected.covariance_m2"] = np.ascontiguousarray(covariance)
    tensors["truth.position_enu_m"] = np.ascontiguousarray(run.arrays.target[rows], np.float64)
    _write(path, tensors)


def _write_evaluation(path: Path, run: Run, evaluation: Evaluation, ellipse_radii: tuple[float, ...]) -> None:
    rows = run.val_rows
    _write(
        path,
        {
            "truth_enu_m": np.ascontiguousarray(run.arrays.target[rows], np.float64),
            "prediction_enu_m": evaluation.position_V2.astype(np.float32),
            "covariance_m2": evaluation.covariance_V22.astype(np.float32),
            "num_heard": find_heard(run.arrays, rows).sum(axis=1).astype(np.int32),
            "row": rows.astype(np.int64),
            "ellipse_levels": np.array(LEVELS),
            "ellipse_radii": np.array(ellipse_radii, np.float64),
        },
    )


def _write(path: Path, tensors: Arrays) -> None:
    content = safetensors.numpy.save(tensors)
    with _storing(path):
        path.write_bytes(content)
    _sync(path)


def _sync(path: Path) -> None:
    with _storing(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Leave no half-written file."""
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StorageFullError(
            f"'{path.name}' could not be written ({error.strerror}). Free some disk space and resume the job."
        ) from error


def _describe_inputs(run: Run) -> tuple[TensorSpec, ...]:
    names = ", ".join(f"{feature.name} [{feature.unit or '1'}]" for feature in run.arrays.manifest.features)
    tokens: tuple[int | str, ...] = ("batch", "receivers")
    return (
        TensorSpec(
            name="features",
            dtype="float32",
            shape=(*tokens, len(run.arrays.feature_names)),
            unit="physical, by column",
            meaning=f"one row for each receiver: {names}; 0 where not heard or absent",
        ),
        TensorSpec(name="mask", dtype="bool", shape=tokens, meaning="true where the receiver is present"),
        TensorSpec(name="receiver_index", dtype="int64", shape=tokens, meaning="which of the model's receivers each row belongs to"),
        *_describe_samples(run),
    )


def _describe_samples(run: Run) -> tuple[TensorSpec, ...]:
    iq = run.arrays.manifest.iq
    if iq is None or run.arrays.iq is None or not run.with_iq:
        return ()
    shape = ("batch", "receivers", *run.arrays.iq.shape[2:])
    meaning = f"samples at {iq.sample_rate_hz:g} Hz, channel of {iq.bandwidth_hz:g} Hz around 0; I first; 0 where absent"
    return (TensorSpec(name="iq", dtype="int8", shape=shape, unit="1/128 of full scale", meaning=meaning),)


def _describe_outputs(graph: ExportGraph) -> tuple[TensorSpec, ...]:
    radii = TensorSpec(
        name=_RADII_OUTPUT,
        dtype="float32",
        shape=("batch", 3),
        unit="standard deviations",
        meaning="of the covariance, for the ellipses of 50, 68 and 95 %: calibrated, so not those of a Gaussian but for the second",
    )
    return (
        TensorSpec(name="position_enu_m", dtype="float32", shape=("batch", 2), unit="m", meaning="east, north in the model's frame"),
        TensorSpec(name="covariance_m2", dtype="float32", shape=("batch", 2, 2), unit="m^2", meaning="of the position's Gaussian error"),
        *((radii,) if _RADII_OUTPUT in graph.output_names else ()),
        *(_describe_mixture(graph.model) if isinstance(graph.model, MixtureLocalizer) else ()),
    )


def _describe_mixture(model: MixtureLocalizer) -> tuple[TensorSpec, ...]:
    count = len(model.start_K2)
    shapes: tuple[tuple[int | str, ...], ...] = (("batch", count), ("batch", count, 2), ("batch", count, 2, 2))
    units, meanings = ("", "m", "m^2"), ("share of each place", "east, north of each place", "of each place's Gaussian error")
    return tuple(
        TensorSpec(name=name, dtype="float32", shape=shape, unit=unit, meaning=meaning)
        for name, shape, unit, meaning in zip(_MIXTURE_OUTPUTS, shapes, units, meanings, strict=True)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and logs out of the job's log: all of them are about the tracing exporter itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
