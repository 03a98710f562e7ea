import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall.datasets.splits import make_split, split_groups
from heimdall.datasets.storage import open_dataset
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.jobs import count_folds
from tests.unit.datasets.examples import make_chunk, write


@given(group=st.lists(st.integers(0, 40), min_size=1, max_size=200), share=st.floats(0.05, 0.5), seed=st.integers(0, 9))
def test_folds_are_a_partition_and_no_group_is_divided(group, share, seed):
    groups = np.array(group, np.int32)
    folds = count_folds(share)
    if len(np.unique(groups)) < folds:
        with pytest.raises(InvalidInputError, match="too few for"):
            split_groups(groups, seed=seed, validation_split=share, fold=0)
        return
    held_out = []
    for fold in range(folds):
        train, validation = split_groups(groups, seed=seed, validation_split=share, fold=fold)
        assert len(train) > 0
        assert len(validation) > 0
        assert sorted([*train, *validation]) == list(range(len(groups)))
        assert not set(groups[train]) & set(groups[validation])
        held_out.extend(validation)
    assert sorted(held_out) == list(range(len(groups)))


@pytest.mark.parametrize(("share", "folds"), [(0.5, 2), (0.3, 3), (0.2, 5), (0.1, 10), (0.05, 20)])
def test_the_number_of_folds_is_the_inverse_of_the_share(share, folds):
    assert count_folds(share) == folds


def test_the_shuffle_is_the_agreed_one():
    group = np.repeat(np.arange(10, dtype=np.int32), 3)
    expected = np.array_split(np.random.default_rng(0).permutation(10), 5)[2]
    _, validation = split_groups(group, seed=0, validation_split=0.2, fold=2)
    assert set(group[validation]) == set(expected)


def test_a_stored_data_set_splits_by_its_own_seed(tmp_path):
    write(tmp_path / "d", [make_chunk(80)])
    arrays = open_dataset(tmp_path / "d")
    for fold in range(5):
        stored = make_split(arrays, 0.2, fold)
        np.testing.assert_array_equal(stored[1], split_groups(arrays.group, seed=3, validation_split=0.2, fold=fold)[1])


@pytest.mark.parametrize(
    ("share", "fold", "message"), [(0.2, 5, "makes 5 folds, 0 to 4"), (0.2, -1, "does not exist"), (0.6, 0, "at most at 0.5")]
)
def test_a_fold_that_does_not_exist_is_named(share, fold, message):
    with pytest.raises(InvalidInputError, match=message):
        split_groups(np.arange(20, dtype=np.int32), seed=0, validation_split=share, fold=fold)
