from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heimdall.datasets.splits import make_split
from heimdall.training.data import Examples, cut_batches, shuffle_rows
from heimdall.training.scaling import fit_scaling


@given(num_rows=st.integers(1, 5000), batch_size=st.integers(1, 600))
def test_batches_cover_every_row_once_in_nearly_equal_parts(num_rows, batch_size):
    sizes = np.diff(cut_batches(num_rows, batch_size))
    assert sizes.sum() == num_rows
    assert sizes.max() <= batch_size
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == -(-num_rows // batch_size)


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    rows = np.arange(100, 200)
    order = shuffle_rows(rows, seed=4, epoch=2)
    assert torch.equal(order, shuffle_rows(rows, seed=4, epoch=2))
    assert not torch.equal(order, shuffle_rows(rows, seed=4, epoch=3))
    assert not torch.equal(order, shuffle_rows(rows, seed=5, epoch=2))
    assert sorted(order.tolist()) == rows.tolist()


def test_a_batch_holds_the_rows_asked_for(small_arrays):
    scaling = fit_scaling(small_arrays, np.arange(100))
    batch = Examples(small_arrays, scaling, torch.device("cpu")).take(torch.tensor([150, 3, 3]))
    np.testing.assert_array_equal(batch.features_BRF.numpy(), small_arrays.features[[150, 3, 3]])
    np.testing.assert_array_equal(batch.mask_BR.numpy(), small_arrays.mask[[150, 3, 3]])
    assert batch.receiver_BR.dtype == torch.int64
    target_m = batch.target_B2.numpy() * scaling.target_scale_m + scaling.target_mean_m
    np.testing.assert_allclose(target_m, small_arrays.target[[150, 3, 3]], atol=1e-3)


def test_scaling_sees_training_rows_only(small_arrays):
    train, val = make_split(small_arrays, 0.2, 0)
    scaling = fit_scaling(small_arrays, train)
    np.testing.assert_allclose(scaling.target_mean_m, small_arrays.target[train].mean(axis=0))
    measured = small_arrays.features[train][small_arrays.features[train][..., 0] > 0]
    np.testing.assert_allclose(scaling.feature_means[1], measured[:, 1].mean(), rtol=1e-5)
    np.testing.assert_allclose(scaling.feature_stds[1], measured[:, 1].std(), rtol=1e-5)
    assert scaling != fit_scaling(small_arrays, np.concatenate([train, val]))


def test_one_length_scales_both_axes(small_arrays):
    scaling = fit_scaling(small_arrays, np.arange(200))
    target = (np.asarray(small_arrays.target) - scaling.target_mean_m) / scaling.target_scale_m
    assert np.square(target).mean() == pytest.approx(1.0)
