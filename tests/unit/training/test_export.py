"""What leaves says the same as what was trained, and every figure about it was measured."""

from __future__ import annotations

import dataclasses
import errno
import logging

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch

from heimdall.datasets.observations import SOLVERS
from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.domain.errors import StorageFullError, TrainingError
from heimdall.rf.accuracy import coverage, horizontal_errors, mean_gaussian_nll, summarize_errors
from heimdall.training import export
from heimdall.training.baselines import measure_baselines
from heimdall.training.loop import train
from tests.unit.training.lab import NUM_RECEIVERS, NUM_SAMPLES, Lab, MemorySink


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda entry: entry.id)
def trained(request, tmp_path_factory, small_arrays):
    lab = Lab(tmp_path_factory.mktemp("export"), small_arrays)
    sink = MemorySink()
    outcome = train(lab.request(model_architecture=request.param.id, epochs=2), sink)
    assert outcome.model is not None
    return outcome.model, small_arrays, sink


def run(draft, features, mask, receiver_index, iq=None):
    inputs = {"features": features, "mask": mask, "receiver_index": receiver_index}
    return export.run_session(export.open_session(draft.onnx_path), inputs | add_samples(draft, mask, iq))


def add_samples(draft, mask, iq=None):
    """Return what a network over samples takes besides; silence where nothing is given."""
    if len(draft.inputs) == 3:
        return {}
    return {"iq": np.zeros((*mask.shape, NUM_SAMPLES, 2), np.int8) if iq is None else iq}


def mean_mixture_nll(draft, arrays, rows, truth):
    """From the exported components, in nats with positions in km."""
    session = export.open_session(draft.onnx_path)
    inputs = {"features": arrays.features[rows], "mask": arrays.mask[rows], "receiver_index": arrays.receiver_index[rows].astype(np.int64)}
    names = ("mixture_weights", "mixture_positions_m", "mixture_covariances_m2")
    weight, place, covariance = (part.astype(np.float64) for part in session.run(names, inputs))
    covariance_km2, gap_km = covariance * 1e-6, (truth[:, None] - place) / 1e3
    square = np.einsum("nki,nkij,nkj->nk", gap_km, np.linalg.inv(covariance_km2), gap_km)
    density = weight * np.exp(-square / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance_km2)))
    return float(-np.log(density.sum(axis=1)).mean())


def test_the_graph_has_the_agreed_names_types_and_free_axes(trained):
    draft, _, _ = trained
    model = onnx.load(draft.onnx_path)
    shapes = {
        value.name: (value.type.tensor_type.elem_type, [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim])
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes["features"] == (onnx.TensorProto.FLOAT, ["batch", "receivers", 8])
    assert shapes["mask"] == (onnx.TensorProto.BOOL, ["batch", "receivers"])
    assert shapes["receiver_index"] == (onnx.TensorProto.INT64, ["batch", "receivers"])
    assert shapes["position_enu_m"] == (onnx.TensorProto.FLOAT, ["batch", 2])
    assert shapes["covariance_m2"][0] == onnx.TensorProto.FLOAT
    assert [spec.name for spec in (*draft.inputs, *draft.outputs)] == list(shapes)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert model.opset_import[0].version == draft.onnx_opset
    assert not any(tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.parametrize(("num_examples", "num_tokens"), [(1, 7), (5, 7), (3, 4), (2, 1)])
def test_any_number_of_examples_and_receivers_runs(trained, num_examples, num_tokens):
    draft, arrays, _ = trained
    position, covariance = run(
        draft,
        np.ascontiguousarray(arrays.features[:num_examples, :num_tokens]),
        np.ones((num_examples, num_tokens), bool),
        np.tile(np.arange(num_tokens), (num_examples, 1)),
    )
    assert position.shape == (num_examples, 2)
    assert covariance.shape == (num_examples, 2, 2)
    assert (np.linalg.eigvalsh(covariance.astype(np.float64)) > 0).all()


def test_the_samples_repeat(trained):
    draft, _, _ = trained
    samples = safetensors.numpy.load_file(draft.samples_path)
    assert samples["input.features"].shape == (10, NUM_RECEIVERS, 8)
    position, covariance = run(draft, *(samples[f"input.{spec.name}"] for spec in draft.inputs))
    np.testing.assert_array_equal(position, samples["expected.position_enu_m"])
    np.testing.assert_array_equal(covariance, samples["expected.covariance_m2"])
    assert samples["truth.position_enu_m"].shape == (10, 2)


def test_the_evaluation_agrees_with_the_metrics_and_with_numpy(trained):
    draft, arrays, sink = trained
    evaluation = safetensors.numpy.load_file(draft.evaluation_path)
    truth, prediction, covariance = (evaluation[name] for name in ("truth_enu_m", "prediction_enu_m", "covariance_m2"))
    np.testing.assert_array_equal(truth, arrays.target[evaluation["row"]])
    errors = summarize_errors(horizontal_errors(prediction, truth))
    metric = sink.reports[draft.best_epoch - 1].metric
    assert errors.median_m == pytest.approx(metric.val_error_median_m, rel=1e-4)
    assert errors.p68_m == pytest.approx(metric.val_error_p68_m, rel=1e-4)
    # The model's own figures: where its ellipses were calibrated after the epoch, they are not the epoch's.
    assert coverage(prediction, truth, covariance) == pytest.approx(draft.final_metrics.val_coverage_68, abs=1e-9)
    # A thin ellipse loses digits where its covariance is stored in single precision: its inverse is known to eps times its condition.
    precision = max(1e-4, float(np.finfo(np.float32).eps * np.linalg.cond(covariance).max()))
    assert precision < 1e-2
    if draft.outputs[-1].name == "mixture_covariances_m2":
        nll = mean_mixture_nll(draft, arrays, evaluation["row"], truth)
        assert nll < mean_gaussian_nll(prediction, truth, covariance)
    else:
        nll = mean_gaussian_nll(prediction, truth, covariance)
    assert nll == pytest.approx(draft.final_metrics.val_nll, rel=precision)
    assert draft.final_metrics.val_error_median_m == metric.val_error_median_m
    assert evaluation["ellipse_levels"].shape == evaluation["ellipse_radii"].shape == (3,)
    assert (evaluation["num_heard"] == arrays.features[evaluation["row"]][..., 0].sum(axis=1)).all()


def test_the_breakdown_sorts_the_examples_of_the_evaluation(trained):
    draft, _, _ = trained
    evaluation = safetensors.numpy.load_file(draft.evaluation_path)
    found = draft.accuracy_breakdown
    assert [one.by for one in found.breakdowns] == ["receivers_heard", "snr_db", "hdop", "hull"]
    assert {sum(group.num_examples for group in one.groups) for one in found.breakdowns} == {found.num_examples, len(evaluation["row"])}
    counts = {group.label: group.num_examples for group in found.breakdowns[0].groups}
    if all(label.isdigit() for label in counts):
        assert counts == {str(count): int((evaluation["num_heard"] == count).sum()) for count in np.unique(evaluation["num_heard"])}
    observed = next(point.observed for point in found.reliability if point.nominal == 0.68)
    assert observed == pytest.approx(draft.final_metrics.val_coverage_68, abs=1e-9)


def test_parity_and_latency_were_measured(trained):
    draft, _, _ = trained
    assert 0 < draft.performance.parity_max_abs_diff < 1e-5
    assert draft.performance.parity_examples == 40
    assert 0 < draft.performance.parity_position_diff_m < 0.1
    assert 0 < draft.performance.inference_latency_ms < 50
    assert draft.performance.onnx_speedup_factor > 0


def test_a_network_that_does_not_agree_is_refused(trained):
    draft, arrays, _ = trained
    session = export.open_session(draft.onnx_path)
    inputs = {
        "features": np.ascontiguousarray(arrays.features[:4]),
        "mask": np.ones((4, NUM_RECEIVERS), bool),
        "receiver_index": np.tile(np.arange(NUM_RECEIVERS), (4, 1)),
    }
    inputs |= add_samples(draft, inputs["mask"])

    class Shifted(torch.nn.Module):
        def forward(self, *given):
            position, covariance = export.run_session(session, inputs)
            return torch.from_numpy(position + 5.0), torch.from_numpy(covariance)

    with pytest.raises(TrainingError, match="differs from the trained one"):
        export.compare(Shifted(), session, inputs, scale_m=1000.0)


def test_the_log_names_each_stage_between_the_last_epoch_and_the_model(lab, caplog):
    with caplog.at_level(logging.INFO, logger="heimdall.training"):
        train(lab.request(epochs=1), MemorySink())
    said = [record.message for record in caplog.records]
    assert said == [
        "evaluating_best_weights",
        "exporting_onnx",
        "comparing_with_pytorch",
        "onnx_repeats_pytorch",
        "measuring_latency",
        "latency_measured",
        *["measuring_baseline"] * len(SOLVERS),
    ]


def test_the_exporter_prints_nothing(lab, capfd):
    train(lab.request(epochs=1), MemorySink())
    assert capfd.readouterr() == ("", "")


def test_baselines_stand_beside_the_network(trained):
    draft, _, _ = trained
    assert [baseline.id for baseline in draft.baselines] == ["centroid", "log-distance-ml", "knn", "radio-map", "arrival-map"]
    centroid, log_distance, knn, radio_map, arrival_map = draft.baselines
    assert all(baseline.num_examples == 40 and baseline.reason is None for baseline in draft.baselines)
    assert log_distance.error_median_m < centroid.error_median_m
    assert knn.error_median_m < centroid.error_median_m
    assert radio_map.error_median_m < centroid.error_median_m
    assert arrival_map.error_median_m < 0.1 * radio_map.error_median_m, "these times of arrival are without error"


def test_a_baseline_that_does_not_apply_says_why(small_arrays):
    other = {"rssi_dbm": "level_db", "toa_offset_us": "delay_us"}
    features = tuple(feature.evolve(name=other.get(feature.name, feature.name)) for feature in small_arrays.manifest.features)
    arrays = dataclasses.replace(small_arrays, manifest=small_arrays.manifest.evolve(features=features))
    for baseline in measure_baselines(arrays, np.arange(100), np.arange(100, 150)):
        assert baseline.error_median_m is None
        assert ("no toa_offset_us" if baseline.id == "arrival-map" else "no rssi_dbm") in baseline.reason


def test_a_full_disk_at_the_export_is_named_and_leaves_no_file(lab, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    request = lab.request(epochs=1, model_architecture="mlp-baseline", checkpoint_every_n_epochs=1)
    sink = MemorySink()
    sink.save_checkpoint = lambda checkpoint: monkeypatch.setattr(export.os, "fsync", refuse)
    with pytest.raises(StorageFullError, match=r"'model.onnx' could not be written .* resume the job"):
        train(request, sink)
    assert not (request.work_dir / "model.onnx").exists()
