from __future__ import annotations

import pytest
import torch

from heimdall.datasets.storage import DatasetArrays
from tests.unit.training.lab import Lab, write_dataset


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_arrays(tmp_path_factory) -> DatasetArrays:
    return write_dataset(tmp_path_factory.mktemp("data") / "small", num_examples=200)


@pytest.fixture
def lab(tmp_path, small_arrays) -> Lab:
    return Lab(tmp_path, small_arrays)
