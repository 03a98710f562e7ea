import json

import numpy as np
import pytest

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.limits import check_against_limit, limit_of_rows
from heimdall.datasets.storage import MANIFEST_NAME, open_dataset
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.bounds import radial_quantiles
from tests.unit.datasets.examples import make_chunk, write

TIMED = {"waveform": "flat-12k5", "min_receivers": 5, "clock_sigma_ns": 50.0, "shadowing_sigma_db": 4.0, "margin_km": 0.0}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    build_synthetic(SyntheticDatasetConfig(name="s", num_examples=3000, seed=3, **TIMED), folder, lambda share: None)
    return open_dataset(folder)


def draw_on_the_bound(arrays, seed=0):
    """Errors of an estimator that is exactly as good as physics allows."""
    drawn = np.random.default_rng(seed).standard_normal((len(arrays), 2)) * arrays.bound_sigma_m
    return np.hypot(*drawn.T)


def test_every_example_carries_its_bound_and_the_data_set_its_limit(arrays):
    assert arrays.bound_sigma_m.shape == (3000, 2)
    assert (arrays.bound_sigma_m[:, 0] >= arrays.bound_sigma_m[:, 1]).all()
    assert (arrays.bound_sigma_m > 0).all()
    limit = arrays.manifest.physical_limit
    error_m = draw_on_the_bound(arrays)
    np.testing.assert_allclose(
        np.quantile(error_m, [0.5, 0.68, 0.95]), [limit.error_median_m, limit.error_p68_m, limit.error_p95_m], rtol=0.1
    )
    assert "0.2 s of flat-12k5" in limit.assumptions
    assert "clocks of 50 ns" in limit.assumptions


def test_the_limit_of_some_rows_is_their_own(arrays):
    near = np.argsort(radial_quantiles(arrays.bound_sigma_m))[:1000]
    limit = limit_of_rows(arrays, np.sort(near))
    assert limit.num_examples == 1000
    assert limit.error_p68_m < arrays.manifest.physical_limit.error_p68_m
    assert limit_of_rows(arrays, near[:0]) is None


def test_an_estimator_on_the_bound_is_no_alarm_and_one_that_peeks_is(arrays):
    honest = check_against_limit(draw_on_the_bound(arrays), arrays.bound_sigma_m)
    assert honest.ratio == pytest.approx(1, abs=4 * honest.error_bar)
    assert not honest.is_leaking
    assert check_against_limit(0.8 * draw_on_the_bound(arrays), arrays.bound_sigma_m).is_leaking
    assert not check_against_limit(1.3 * draw_on_the_bound(arrays), arrays.bound_sigma_m).is_leaking


def test_the_alarm_stays_silent_where_few_examples_say_little(arrays):
    assert not check_against_limit(0.9 * draw_on_the_bound(arrays)[:20], arrays.bound_sigma_m[:20]).is_leaking
    with pytest.raises(ValueError, match="no error"):
        check_against_limit(np.zeros(0), np.zeros((0, 2)))


def test_measured_data_have_no_limit_and_the_manifest_they_always_had(tmp_path):
    write(tmp_path / "d", [make_chunk(20)])
    opened = open_dataset(tmp_path / "d")
    assert opened.bound_sigma_m is None
    assert limit_of_rows(opened, np.arange(5)) is None
    stored = json.loads((tmp_path / "d" / MANIFEST_NAME).read_text())
    assert "physical_limit" not in stored
    assert "bound_sigma_m" not in stored["arrays"]


def test_bounds_in_some_chunks_only_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="Either every chunk"):
        write(tmp_path / "d", [_with_bounds(make_chunk(20))])


def _with_bounds(chunk):
    return type(chunk)(**(vars(chunk) | {"bound_sigma_m": np.ones((len(chunk.mask), 2), np.float32)}))
