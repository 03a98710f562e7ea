"""The leak detector of the build: a network that beats the bound of its examples has seen what it must not see."""

import numpy as np
import pytest
import safetensors.numpy

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.limits import check_against_limit
from heimdall.datasets.storage import open_dataset
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.training.loop import train
from tests.unit.training.lab import Lab, MemorySink

SETS = {
    "timed": {"waveform": "flat-12k5", "min_receivers": 4, "clock_sigma_ns": 50.0},
    "voice": {"waveform": "nbfm-voice", "nlos_sigma_ns": 500.0, "min_receivers": 3},
    "untimed": {"clock_sigma_ns": 1e6, "min_receivers": 3},
}


@pytest.fixture(scope="module", params=list(SETS))
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data").mkdir()
    config = SyntheticDatasetConfig(name="s", num_examples=1500, seed=2, margin_km=0.0, **SETS[request.param])
    build_synthetic(config, folder / "data", lambda share: None)
    arrays = open_dataset(folder / "data")
    outcome = train(Lab(folder, arrays).request(epochs=6, batch_size=64, learning_rate=3e-3), MemorySink())
    return outcome.model, arrays


def test_no_network_beats_its_bound_and_its_model_says_what_the_bound_is(trained):
    draft, arrays = trained
    evaluation = safetensors.numpy.load_file(draft.evaluation_path)
    error_m = np.hypot(*(evaluation["prediction_enu_m"] - evaluation["truth_enu_m"]).T)
    bound = arrays.bound_sigma_m[evaluation["row"]]
    check = check_against_limit(error_m, bound)
    assert not check.is_leaking, f"p68 is {check.ratio:.2f} times the physical limit (error bar {check.error_bar:.2f})"
    assert draft.physical_limit.num_examples == len(error_m)
    assert draft.final_metrics.val_error_p68_m / draft.physical_limit.error_p68_m == pytest.approx(check.ratio, rel=0.02)


def test_predictions_that_had_a_look_at_the_truth_are_caught(trained):
    draft, arrays = trained
    evaluation = safetensors.numpy.load_file(draft.evaluation_path)
    peeked = 0.999 * evaluation["truth_enu_m"] + 0.001 * evaluation["prediction_enu_m"]
    error_m = np.hypot(*(peeked - evaluation["truth_enu_m"]).T)
    assert check_against_limit(error_m, arrays.bound_sigma_m[evaluation["row"]]).is_leaking
