from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.manifest import ARRAY_DTYPES, Manifest
from heimdall.datasets.storage import DatasetArrays, DatasetWriter, ExampleChunk, open_dataset
from heimdall.domain.catalogue import REFERENCE_NUM_FEATURES, REFERENCE_NUM_RECEIVERS
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.rf.network import load_default_network
from heimdall.rf.synthetic import BLOCK_EXAMPLES, SyntheticGenerator

GOLDEN_TARGET_M = [[-60509.641, -3436.116], [18909.256, -69549.843]]
GOLDEN_RSSI_DBM = [-80.66, -99.732, -96.608, -73.822, 0.0, 0.0, -114.6]
GOLDEN_TOA_OFFSET_US = [-123.772, -4.69, -85.318, -113.323, 0.0, 0.0, 327.103]


def build(folder, **changes) -> DatasetArrays:
    folder.mkdir()
    build_synthetic(SyntheticDatasetConfig(name="s", **{"num_examples": 2500, "seed": 11, **changes}), folder, lambda share: None)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> DatasetArrays:
    return build(tmp_path_factory.mktemp("synthetic") / "d")


def rewrite(arrays: DatasetArrays, folder, chunk_rows: int) -> Manifest:
    """Store the same examples in chunks of another size."""
    folder.mkdir()
    manifest = arrays.manifest
    tokens = arrays.mask.shape[1]
    with DatasetWriter(folder, num_tokens=tokens, receivers=arrays.receivers, features=manifest.features, has_bounds=True) as writer:
        for start in range(0, len(arrays), chunk_rows):
            rows = slice(start, start + chunk_rows)
            writer.append(ExampleChunk(**{name: getattr(arrays, name)[rows] for name in [*ARRAY_DTYPES, "bound_sigma_m"]}))
        return writer.finish(
            kind=manifest.kind,
            frame=manifest.frame,
            split=manifest.split,
            groups=manifest.groups,
            accuracy_radius_m=manifest.accuracy_radius_m,
            physical_limit=manifest.physical_limit,
        )


def test_the_shape_is_the_reference_that_networks_are_counted_at(arrays):
    assert arrays.features.shape == (2500, REFERENCE_NUM_RECEIVERS, REFERENCE_NUM_FEATURES)
    assert arrays.mask.all()
    assert (np.asarray(arrays.receiver_index) == np.arange(7)).all()


def test_the_same_seed_gives_the_same_bytes(arrays, tmp_path):
    assert build(tmp_path / "again").content_hash == arrays.content_hash
    assert build(tmp_path / "other", seed=12).content_hash != arrays.content_hash


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000, 100_000])
def test_the_size_of_the_chunks_changes_no_byte(arrays, tmp_path, chunk_rows):
    assert rewrite(arrays, tmp_path / "d", chunk_rows).content_hash() == arrays.content_hash
    for file in arrays.directory.iterdir():
        assert file.read_bytes() == (tmp_path / "d" / file.name).read_bytes()


def test_the_number_of_workers_and_their_order_changes_no_byte(arrays):
    config = SyntheticDatasetConfig(name="s", num_examples=2500, seed=11)
    with ThreadPoolExecutor(3) as pool:
        blocks = list(pool.map(lambda number: SyntheticGenerator(config, load_default_network()).block(number), [2, 1, 0]))[::-1]
    toa = np.concatenate([block.toa_offset_us for block in blocks]).astype(np.float32)
    np.testing.assert_array_equal(toa, arrays.features[..., arrays.feature_index("toa_offset_us")])


def test_a_longer_data_set_begins_with_the_shorter_one(arrays, tmp_path):
    longer = build(tmp_path / "longer", num_examples=3 * BLOCK_EXAMPLES)
    for name in ARRAY_DTYPES:
        np.testing.assert_array_equal(getattr(longer, name)[:2500], getattr(arrays, name))


def test_the_first_examples_are_the_golden_ones(arrays):
    """A change here changes what every seed means: say so in the change log, and why."""
    np.testing.assert_allclose(arrays.target[:2], GOLDEN_TARGET_M, atol=1e-3)
    np.testing.assert_allclose(arrays.features[0, :, 1], GOLDEN_RSSI_DBM, atol=1e-3)
    np.testing.assert_allclose(arrays.features[0, :, 3], GOLDEN_TOA_OFFSET_US, atol=1e-3)


def test_what_was_not_heard_carries_no_strength(arrays):
    silent = arrays.features[..., 0] == 0
    assert silent.any()
    assert not arrays.features[..., 1:4][silent].any()


def test_groups_are_the_cells_of_the_region(arrays):
    first = np.flatnonzero(arrays.group == arrays.group[0])
    assert np.ptp(arrays.target[first], axis=0).max() <= 5000
    assert arrays.manifest.split.num_groups == len(np.unique(arrays.group))
