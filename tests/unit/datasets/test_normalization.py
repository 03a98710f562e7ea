import numpy as np
import pytest

from heimdall.datasets.normalization import fit_normalization
from heimdall.datasets.storage import open_dataset
from heimdall.domain.errors import InvalidInputError
from tests.unit.datasets.examples import make_chunk, write


@pytest.fixture
def arrays(tmp_path):
    write(tmp_path / "d", [make_chunk(300)])
    return open_dataset(tmp_path / "d")


def test_strength_is_measured_only_where_it_was_heard(arrays):
    rows = np.arange(0, 200)
    heard = arrays.features[rows, :, 0] > 0
    strength = arrays.features[rows, :, 1][heard].astype(np.float64)
    fitted = fit_normalization(arrays, rows)
    assert fitted.feature_names == ("heard", "rssi_dbm", "rx_east_km")
    assert fitted.feature_means[1] == pytest.approx(strength.mean())
    assert fitted.feature_stds[1] == pytest.approx(strength.std())


def test_positions_count_wherever_the_receiver_is_present(arrays):
    rows = np.arange(300)
    position = arrays.features[..., 2][np.asarray(arrays.mask)].astype(np.float64)
    assert fit_normalization(arrays, rows).feature_means[2] == pytest.approx(position.mean())


def test_rows_outside_the_training_split_change_nothing(arrays, tmp_path):
    rows = np.arange(150)
    chunk = make_chunk(300)
    chunk.features[150:, 0, 1] = 55.0
    write(tmp_path / "e", [chunk])
    assert fit_normalization(open_dataset(tmp_path / "e"), rows) == fit_normalization(arrays, rows)


def test_a_flag_and_a_feature_that_never_varies_are_not_scaled_up(arrays, tmp_path):
    chunk = make_chunk(30)
    chunk.features[..., 2] = np.where(chunk.mask, 5.0, 0.0)
    write(tmp_path / "e", [chunk])
    fitted = fit_normalization(open_dataset(tmp_path / "e"), np.arange(30))
    assert (fitted.feature_means[0], fitted.feature_stds[0]) == (0.0, 1.0)
    assert (fitted.feature_means[2], fitted.feature_stds[2]) == (5.0, 1.0)


def test_no_training_rows_are_refused(arrays):
    with pytest.raises(InvalidInputError, match="no training examples"):
        fit_normalization(arrays, np.array([], np.int64))
