"""Samples beside the search for the place: what the network is told of them, and that it all leaves in one graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heimdall.datasets.observations import fit_arrival_law, observe_arrivals
from heimdall.domain.errors import TrainingError
from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.iq_front import IqFront
from heimdall.training.architectures.iq_residual import contradict
from heimdall.training.export import open_session, run_session
from heimdall.training.loop import train
from heimdall.training.preparation import describe_samples
from tests.unit.training.lab import Lab, MemorySink, write_dataset
from tests.unit.training.test_iq_encoder import take

ARCHITECTURE = "iq-residual-s"
SCALE_M = 1000.0


def test_pairs_contradict_a_wrong_place_and_not_the_true_one(small_arrays):
    rows = np.arange(40)
    features, mask, receiver, iq = (torch.from_numpy(values) for values in take(small_arrays, rows).values())
    layer = ArrivalLayer(fit_arrival_law(small_arrays, np.arange(100, 200)), small_arrays)
    views = IqFront(describe_samples(small_arrays), SCALE_M)(iq, features, mask)
    truth = torch.from_numpy(np.array(small_arrays.target[rows]))

    def left(place):
        path = layer.path_m(features, mask, receiver, place).float() / SCALE_M
        return contradict(views, path).pairs_BRRP[..., 0][views.mask_BRR].abs().median()

    assert left(truth) < 2.0
    assert left(truth + torch.tensor([3000.0, 0.0])) > left(truth) + 0.5
    assert (contradict(views, torch.zeros(40, 7)).pairs_BRRP[~views.mask_BRR] == 0).all()
    torch.testing.assert_close(contradict(views, torch.zeros(40, 7)).pairs_BRRP[..., 1:], views.pairs_BRRP[..., 1:])


def test_it_begins_at_the_solver_and_leaves_with_samples_search_and_radii_in_one_graph(lab, small_arrays):
    outcome = train(lab.request(model_architecture=ARCHITECTURE, epochs=2), MemorySink())
    draft = outcome.model
    assert [part.name for part in draft.inputs] == ["features", "mask", "receiver_index", "iq"]
    assert "ellipse_radii" in {part.name for part in draft.outputs}
    rows = np.arange(60)
    law = fit_arrival_law(small_arrays, np.arange(60, len(small_arrays)))
    solver_m = np.hypot(*(law.locate(observe_arrivals(small_arrays, rows)).position_m - small_arrays.target[rows]).T)
    inputs = take(small_arrays, rows)
    session = open_session(draft.onnx_path)
    place, covariance = run_session(session, inputs)
    error_m = np.hypot(*(place - small_arrays.target[rows]).T)
    assert np.median(error_m) < np.median(solver_m) + 100
    silent, _ = run_session(session, inputs | {"iq": np.zeros_like(inputs["iq"])})
    assert np.abs(silent - place).max() > 0.01
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    shuffled = run_session(session, {name: np.ascontiguousarray(values[:, order]) for name, values in inputs.items()})
    np.testing.assert_allclose(shuffled[0], place, atol=1.0)
    np.testing.assert_allclose(shuffled[1], covariance, rtol=1e-3)


def test_a_data_set_without_samples_is_refused_with_a_sentence(tmp_path):
    arrays = write_dataset(tmp_path / "data", num_examples=60, has_iq=False)
    with pytest.raises(TrainingError, match="works on samples, and this data set keeps none"):
        train(Lab(tmp_path, arrays).request(model_architecture=ARCHITECTURE, epochs=1), MemorySink())
