import numpy as np
import pytest

from heimdall.datasets.observations import SOLVER_NAMES, SOLVERS, observe, predict_baseline, targets
from heimdall.datasets.splits import make_split
from heimdall.datasets.storage import open_dataset
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.accuracy import horizontal_errors, summarize_errors
from tests.unit.datasets.examples import make_chunk, write
from tests.unit.datasets.importers.reading import read


def test_rows_become_tables_by_receiver(tmp_path):
    chunk = make_chunk(30)
    write(tmp_path / "d", [chunk])
    arrays = open_dataset(tmp_path / "d")
    rows = np.array([4, 5, 9])
    seen = observe(arrays, rows)
    np.testing.assert_array_equal(seen.present, chunk.mask[rows])
    np.testing.assert_array_equal(seen.heard, chunk.features[rows, :, 0] > 0)
    np.testing.assert_array_equal(seen.rssi_dbm, chunk.features[rows, :, 1])
    assert targets(arrays, rows).shape == (3, 3)


def test_every_baseline_has_a_name_and_answers_for_every_row(tmp_path):
    write(tmp_path / "d", [make_chunk(120)])
    arrays = open_dataset(tmp_path / "d")
    train, validation = make_split(arrays, 0.25, 1)
    for solver in SOLVERS:
        assert SOLVER_NAMES[solver]
        if solver == "arrival-map":
            continue
        found = predict_baseline(solver, arrays, train, validation)
        assert found.shape == (len(validation), 2)
        assert np.isfinite(found).all()


def test_a_solver_of_times_of_arrival_says_so_where_there_are_none(tmp_path):
    write(tmp_path / "d", [make_chunk(120)])
    arrays = open_dataset(tmp_path / "d")
    with pytest.raises(InvalidInputError, match="no toa_offset_us"):
        predict_baseline("arrival-map", arrays, *make_split(arrays, 0.25, 1))


@pytest.mark.shared_data
def test_on_measured_times_of_arrival_the_search_reaches_the_stated_errors(tmp_path, data_root):
    """LocaRDS sets 1-5, aircraft of one recording held out together (fold 0 of 5); plain least squares: 56 / 84 / 204 m over all rows."""
    folder = data_root / "locards"
    files = (folder / "sensors.csv", *sorted(folder.glob("set_*.csv")))
    arrays, _ = read(tmp_path, "locards", *files, split_column="session")
    train, validation = make_split(arrays, 0.2, 0)
    error = horizontal_errors(predict_baseline("arrival-map", arrays, train, validation), arrays.target[validation])
    assert np.median(error) < 50
    assert np.quantile(error, 0.68) < 80
    assert np.quantile(error, 0.9) < 300


@pytest.mark.shared_data
def test_on_measured_data_the_baselines_reach_what_was_measured_beforehand(tmp_path, data_root):
    """July, five folds over 200 m cells, errors pooled; figures of the project's own notes: median and 68th percentile, m."""
    folder = data_root / "powder"
    arrays, _ = read(tmp_path, "powder", folder / "single_tx_july.csv", folder / "location_coordinates.json")
    for solver, median_m, p68_m in (("knn", 133, 186), ("log-distance-ml", 149, 227), ("radio-map", 108, 166)):
        errors = []
        for fold in range(5):
            train, validation = make_split(arrays, 0.2, fold)
            errors.append(horizontal_errors(predict_baseline(solver, arrays, train, validation), arrays.target[validation]))
        summary = summarize_errors(np.concatenate(errors))
        assert summary.num_examples == 3844
        assert 0.8 * median_m < summary.median_m <= median_m
        assert 0.8 * p68_m < summary.p68_m <= p68_m
