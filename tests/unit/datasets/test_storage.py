import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.datasets.manifest import ARRAY_DTYPES
from heimdall.datasets.storage import DatasetWriter, open_dataset, size_of, verify_dataset
from heimdall.domain.errors import InvalidInputError, NotFoundError
from tests.unit.datasets.examples import FEATURES, RECEIVERS, cut, make_chunk, write


def test_what_was_written_is_read_back_as_read_only_memory_maps(tmp_path):
    chunk = make_chunk(50)
    manifest = write(tmp_path / "d", [chunk])
    arrays = open_dataset(tmp_path / "d")
    for name in ARRAY_DTYPES:
        stored = getattr(arrays, name)
        np.testing.assert_array_equal(stored, getattr(chunk, name))
        assert isinstance(stored, np.memmap)
        assert not stored.flags.writeable
    assert len(arrays) == 50
    assert arrays.content_hash == manifest.content_hash() == verify_dataset(tmp_path / "d")
    assert arrays.manifest.split.num_groups == 13
    assert size_of(tmp_path / "d") == sum(file.stat().st_size for file in (tmp_path / "d").iterdir())


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 60), max_size=5))
def test_chunks_do_not_change_the_content(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("chunks")
    chunk, edges = make_chunk(60), sorted({0, 60, *cuts})
    whole = write(folder / "whole", [chunk])
    parts = write(folder / "parts", [cut(chunk, slice(*edge)) for edge in itertools.pairwise(edges)])
    assert whole.content_hash() == parts.content_hash()
    for file in (folder / "whole").iterdir():
        assert file.read_bytes() == (folder / "parts" / file.name).read_bytes()


def test_another_value_is_another_hash(tmp_path):
    chunk = make_chunk(20)
    moved = dataclasses.replace(chunk, target=chunk.target + 1e-9)
    assert write(tmp_path / "a", [chunk]).content_hash() != write(tmp_path / "b", [moved]).content_hash()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "mask.npy").unlink(), "mask.npy is missing"),
        (lambda d: (d / "features.npy").write_bytes((d / "features.npy").read_bytes()[:-8]), "features.npy cannot be read"),
        (lambda d: (d / "time.npy").write_bytes(b""), "time.npy cannot be read"),
        (lambda d: np.save(d / "group.npy", np.zeros(20, np.int64)), "group.npy holds <i8"),
        (lambda d: np.save(d / "target.npy", np.zeros((19, 2))), r"target.npy holds <f8 \(19, 2\)"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda d: np.save(d / "time.npy", np.array([{}] * 20), allow_pickle=True), "time.npy cannot be read"),
    ],
)
def test_a_damaged_data_set_is_refused_and_the_file_named(tmp_path, damage, message):
    write(tmp_path / "d", [make_chunk(20)])
    damage(tmp_path / "d")
    with pytest.raises(InvalidInputError, match=message) as caught:
        open_dataset(tmp_path / "d")
    assert caught.value.code == "dataset_damaged"


def test_a_changed_manifest_is_refused(tmp_path):
    write(tmp_path / "d", [make_chunk(20)])
    path = tmp_path / "d" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["arrays"]["mask"]["shape"] = [20, 4]
    path.write_text(json.dumps(manifest))
    with pytest.raises(InvalidInputError, match="is needed"):
        open_dataset(tmp_path / "d")


def test_a_flipped_bit_is_found_by_verifying(tmp_path):
    write(tmp_path / "d", [make_chunk(20)])
    path = tmp_path / "d" / "target.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    open_dataset(tmp_path / "d")
    with pytest.raises(InvalidInputError, match=r"target.npy was changed"):
        verify_dataset(tmp_path / "d")


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path):
    with pytest.raises(NotFoundError):
        open_dataset(tmp_path)


def change(name, place, value):
    chunk = make_chunk(6)
    values = getattr(chunk, name).copy()
    values[place] = value
    return dataclasses.replace(chunk, **{name: values})


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (change("features", (0, 0, 1), np.nan), "not a finite number"),
        (change("target", (1, 0), np.inf), "not a finite number"),
        (change("features", (0, 2, 1), -80), "must carry zeros"),
        (change("receiver_index", (1, 1), 3), "outside 0 to 2"),
        (change("receiver_index", (1, 1), -1), "outside 0 to 2"),
        (dataclasses.replace(make_chunk(6), time=np.zeros(5)), "different numbers"),
        (dataclasses.replace(make_chunk(6), target=np.zeros((6, 3))), "does not continue"),
    ],
)
def test_a_chunk_that_would_poison_training_is_refused(tmp_path, chunk, message):
    with pytest.raises(InvalidInputError, match=message):
        write(tmp_path / "d", [chunk])
    assert not (tmp_path / "d" / "manifest.json").exists()


def test_a_data_set_without_examples_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="Not one usable example"):
        write(tmp_path / "d", [])


def test_a_writer_that_is_left_early_leaves_no_data_set(tmp_path):
    with DatasetWriter(tmp_path, num_tokens=3, receivers=RECEIVERS, features=FEATURES) as writer:
        writer.append(make_chunk(5))
    with pytest.raises(NotFoundError):
        open_dataset(tmp_path)


def test_an_unknown_feature_is_named(tmp_path):
    write(tmp_path / "d", [make_chunk(5)])
    arrays = open_dataset(tmp_path / "d")
    assert arrays.feature_index("rssi_dbm") == 1
    with pytest.raises(InvalidInputError, match="no feature 'snr_db'"):
        arrays.feature_index("snr_db")
