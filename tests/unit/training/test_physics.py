"""The physical estimate: the same numbers as the classical solver, and never from a map that has seen the row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
import torch

from heimdall.datasets.observations import fit_arrival_law, observe, observe_arrivals, targets
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.radio_map import RadioMap
from heimdall.training import physics
from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.radio_map_layer import RadioMapLayer
from heimdall.training.calibration import NOMINAL_RADII
from heimdall.training.export import open_session
from heimdall.training.loop import train
from tests.unit.training.lab import MemorySink

ARCHITECTURE = "radio-map-residual-s"


def run_layer(layer, arrays, rows):
    features, mask, receiver = (torch.from_numpy(np.array(table[rows])) for table in (arrays.features, arrays.mask, arrays.receiver_index))
    return layer(features, mask, receiver.long()).double().numpy()


def run_exported(path, arrays, rows):
    session = open_session(path)
    inputs = {
        "features": np.ascontiguousarray(arrays.features[rows], np.float32),
        "mask": np.ascontiguousarray(arrays.mask[rows]),
        "receiver_index": np.ascontiguousarray(arrays.receiver_index[rows], np.int64),
    }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("moving", [(), (1, 4)])
def test_the_layer_agrees_with_the_classical_solver(small_arrays, moving):
    receivers = tuple(receiver.evolve(is_moving=index in moving) for index, receiver in enumerate(small_arrays.manifest.receivers))
    arrays = dataclasses.replace(small_arrays, manifest=small_arrays.manifest.evolve(receivers=receivers))
    train_rows, rows = np.arange(100), np.arange(100, 140)
    radio_map = RadioMap.fit(observe(arrays, train_rows), targets(arrays, train_rows))
    assert len(radio_map.moving) == len(moving)
    expected = radio_map.posterior(observe(arrays, rows))
    given = run_layer(RadioMapLayer(radio_map, arrays), arrays, rows)
    np.testing.assert_allclose(given[:, :2], expected.position_m, atol=0.5)
    factor = np.zeros((len(rows), 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = given[:, 2:5].T
    np.testing.assert_allclose(factor @ factor.transpose(0, 2, 1), expected.covariance_m2, rtol=2e-2, atol=50.0)


def test_the_search_in_the_graph_agrees_with_the_classical_one(small_arrays):
    train_rows, rows = np.arange(100), np.arange(100, 160)
    law = fit_arrival_law(small_arrays, train_rows)
    expected = law.locate(observe_arrivals(small_arrays, rows))
    given = run_layer(ArrivalLayer(law, small_arrays), small_arrays, rows)
    np.testing.assert_allclose(given[:, :2], expected.position_m, atol=0.05)
    factor = np.zeros((len(rows), 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = given[:, 2:5].T
    np.testing.assert_allclose(factor @ factor.transpose(0, 2, 1), expected.covariance_m2, rtol=1e-2, atol=0.1)
    np.testing.assert_allclose(given[:, 7], 1 / (1 + expected.misfit), atol=1e-3)


@pytest.mark.parametrize("kind", ["radio-map", "arrival"])
def test_no_row_is_estimated_by_a_map_or_law_that_has_seen_it(small_arrays, monkeypatch, kind):
    seen_by_layer = {}
    fit, estimate = physics._fit, physics._estimate

    def remember_fit(arrays, rows, kind, *, like=None):
        law = fit(arrays, rows, kind, like=like)
        seen_by_layer[id(law)] = (law, set(rows.tolist()))
        return law

    layers = {}
    make = physics._lay

    def remember_layer(law, arrays):
        layer = make(law, arrays)
        layers[id(layer)] = (layer, seen_by_layer[id(law)][1])
        return layer

    estimated = []

    def check(layer, arrays, rows, table, check_in):
        assert not layers[id(layer)][1] & set(rows.tolist())
        estimated.extend(rows.tolist())
        estimate(layer, arrays, rows, table, check_in)

    monkeypatch.setattr(physics, "_fit", remember_fit)
    monkeypatch.setattr(physics, "_lay", remember_layer)
    monkeypatch.setattr(physics, "_estimate", check)
    train_rows, val_rows = np.arange(0, 120), np.arange(120, 160)
    prepared = physics.prepare_physics(small_arrays, train_rows, val_rows, kind=kind)
    # For the network all but the groups set aside, then every training row once for calibration.
    assert sorted(estimated) == sorted([*prepared.fit_rows, *val_rows, *train_rows])
    (calibration_rows,) = prepared.calibration_sets
    assert calibration_rows.tolist() == train_rows.tolist()
    assert (prepared.calibration_NP[:120, 2] > 0).all()
    assert 90 <= len(prepared.fit_rows) < 120


def test_of_many_groups_each_is_held_out_once_with_a_fifth_of_them():
    group = np.repeat(np.arange(11), 4).astype(np.int32)
    parts = physics._cut_sets(group, (np.arange(44),))
    assert len(parts) == 5
    assert sorted(np.concatenate(parts).tolist()) == list(range(44))
    held_out = [set(group[part].tolist()) for part in parts]
    assert sorted(len(groups) for groups in held_out) == [2, 2, 2, 2, 3]
    assert sum(len(groups) for groups in held_out) == 11


def test_of_few_days_each_is_estimated_by_a_map_of_the_others(small_arrays, monkeypatch):
    arrays = dataclasses.replace(small_arrays, group=np.repeat([0, 1], [60, 140]).astype(np.int32))
    seen, fit = [], physics._fit
    monkeypatch.setattr(physics, "_fit", lambda *given, **more: (seen.append(set(given[1].tolist())), fit(*given, **more))[1])
    prepared = physics.prepare_physics(arrays, np.arange(160), np.arange(160, 200), kind="arrival")
    assert [rows.tolist() for rows in prepared.calibration_sets] == [list(range(60)), list(range(60, 160))]
    assert seen[-2:] == [set(range(60, 160)), set(range(60))]
    assert (prepared.calibration_NP[:160, 2] > 0).all()
    assert (prepared.calibration_NP[160:] == 0).all()


def test_a_day_of_a_few_rows_says_nothing_about_days(small_arrays):
    arrays = dataclasses.replace(small_arrays, group=np.repeat([0, 1, 2], [90, 100, 10]).astype(np.int32))
    prepared = physics.prepare_physics(arrays, np.arange(200), np.arange(0), kind="arrival")
    assert [len(rows) for rows in prepared.calibration_sets] == [90, 100]


def test_of_few_groups_a_smaller_one_is_kept_for_calibration():
    group = np.repeat([0, 1], [30, 70]).astype(np.int32)
    fit_rows, calibration_rows = physics._set_aside(group, np.arange(100))
    assert set(group[calibration_rows]) == {0}
    assert set(group[fit_rows]) == {1}


def test_one_group_alone_leaves_nothing_for_calibration():
    fit_rows, calibration_rows = physics._set_aside(np.zeros(50, np.int32), np.arange(50))
    assert len(calibration_rows) == 0
    assert len(fit_rows) == 50


def test_the_exported_graph_carries_map_and_calibration(lab):
    outcome = train(lab.request(model_architecture=ARCHITECTURE, epochs=2), MemorySink())
    assert outcome.model.performance.parity_max_abs_diff < 1e-4
    assert outcome.model.onnx_path.stat().st_size > 1_000_000
    assert [output.name for output in outcome.model.outputs] == ["position_enu_m", "covariance_m2", "ellipse_radii"]
    radii = run_exported(outcome.model.onnx_path, lab.arrays, np.arange(5))["ellipse_radii"]
    assert radii.shape == (5, 3)
    assert radii[:, 1] == pytest.approx(np.sqrt(-2 * np.log(1 - 0.68)))
    assert (np.diff(radii, axis=1) > 0).all()
    assert not np.allclose(radii[0], NOMINAL_RADII)


def test_the_stated_coverage_is_that_of_the_ellipses_that_leave(lab):
    """From the exported outputs alone, as a user draws them, the shares inside are those of the model's reliability."""
    model = train(lab.request(model_architecture="arrival-residual-s", epochs=2), MemorySink()).model
    evaluation = safetensors.numpy.load_file(model.evaluation_path)
    given = run_exported(model.onnx_path, lab.arrays, evaluation["row"])
    gap = given["position_enu_m"].astype(float) - evaluation["truth_enu_m"]
    radius = np.sqrt(np.einsum("ni,nij,nj->n", gap, np.linalg.inv(given["covariance_m2"].astype(float)), gap))
    stated = {point.nominal: point.observed for point in model.accuracy_breakdown.reliability}
    assert evaluation["ellipse_levels"].tolist() == [0.5, 0.68, 0.95]
    assert evaluation["ellipse_radii"] == pytest.approx(given["ellipse_radii"][0])
    for level, limit in zip((0.5, 0.68, 0.95), given["ellipse_radii"][0], strict=True):
        assert np.mean(radius <= limit) == pytest.approx(stated[level], abs=0.03)


def test_the_exported_graph_carries_the_search_and_leaves_little_to_the_network(lab):
    outcome = train(lab.request(model_architecture="arrival-residual-s", epochs=2), MemorySink())
    assert outcome.model.performance.parity_max_abs_diff < 1e-4
    search = next(line for line in outcome.model.baselines if line.id == "arrival-map")
    assert outcome.model.final_metrics.val_error_median_m < 2 * search.error_median_m + 1


def test_a_data_set_without_times_of_arrival_is_refused_in_one_sentence(small_arrays):
    features = tuple(
        feature.evolve(name="delay_us") if feature.name == "toa_offset_us" else feature for feature in small_arrays.manifest.features
    )
    arrays = dataclasses.replace(small_arrays, manifest=small_arrays.manifest.evolve(features=features))
    with pytest.raises(InvalidInputError, match="no toa_offset_us"):
        physics.prepare_physics(arrays, np.arange(100), np.arange(100, 150), kind="arrival")


def test_a_data_set_without_strengths_is_refused_in_one_sentence(small_arrays):
    features = tuple(
        feature.evolve(name="level_db") if feature.name == "rssi_dbm" else feature for feature in small_arrays.manifest.features
    )
    arrays = dataclasses.replace(small_arrays, manifest=small_arrays.manifest.evolve(features=features))
    with pytest.raises(InvalidInputError, match="no rssi_dbm"):
        physics.prepare_physics(arrays, np.arange(100), np.arange(100, 150))
