import io
import tarfile

import numpy as np
import pytest
import sigmf

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.sigmf_export import export_sigmf
from heimdall.datasets.storage import open_dataset
from heimdall.domain.datasets import DatasetKind, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from tests.unit.datasets.importers.reading import read

SIMULATED = {"signal": "captures", "waveform": "flat-12k5", "duration_s": 0.05, "num_examples": 100, "keep_iq": True, "name": "s"}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    config = SyntheticDatasetConfig.model_validate(SIMULATED)
    build_synthetic(config, folder, lambda share: None)
    return open_dataset(folder), config.model_dump(mode="json")


@pytest.fixture(scope="module")
def exported(simulated):
    return b"".join(export_sigmf(*simulated, max_examples=20))


def test_what_was_exported_comes_back_with_the_same_features(tmp_path, simulated, exported):
    before, _ = simulated
    after, built = read(tmp_path, "recordings", exported, keep_iq=True, cell_m=5000)
    assert (built.report.num_rows, built.report.num_accepted) == (20, 20)
    assert after.manifest.kind is DatasetKind.RECORDINGS
    assert built.source == "Simulated captures, exported and imported again"
    assert after.feature_names == before.feature_names
    assert [receiver.id for receiver in after.receivers] == [receiver.id for receiver in before.receivers]
    np.testing.assert_array_equal(after.iq, before.iq[:20])
    np.testing.assert_array_equal(after.mask, before.mask[:20])
    np.testing.assert_allclose(after.target, before.target[:20], atol=1e-4)
    np.testing.assert_allclose(after.target_up, before.target_up[:20], atol=1e-4)
    for name in before.feature_names:
        now, then = after.features[:, :, after.feature_index(name)], before.features[:20, :, before.feature_index(name)]
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=2e-4, err_msg=name)


def test_an_import_exports_as_it_came(tmp_path, exported):
    first, _ = read(tmp_path, "recordings", exported, keep_iq=True)
    again, _ = read(tmp_path, "recordings", b"".join(export_sigmf(first, {"kind": "recordings"})), keep_iq=True)
    for name in ("features", "iq", "mask", "receiver_enu"):
        np.testing.assert_allclose(getattr(again, name), getattr(first, name), rtol=1e-5, atol=1e-5, err_msg=name)


def test_every_file_is_valid_for_the_library_of_the_standard_and_says_where_the_transmitter_was(tmp_path, exported):
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        archive.extractall(tmp_path, filter="data")
    collections = sorted(tmp_path.glob("*.sigmf-collection"))
    assert len(collections) == 20
    for path in collections[:3]:
        collection = sigmf.fromfile(str(path))
        collection.verify_stream_hashes()
        info = collection.get_collection_info()
        assert info["heimdall:transmitter"]["type"] == "Point"
        assert info["heimdall:common_start"] is True
    for path in sorted(tmp_path.glob("e0000000-*.sigmf-meta")):
        file = sigmf.fromfile(str(path))
        file.validate()
        assert file.get_global_info()["core:datatype"] == "ci8"
        assert file.get_captures()[0]["core:frequency"] == 145e6
        assert "core:datetime" not in file.get_captures()[0]


def test_equal_data_sets_give_equal_bytes(simulated, exported):
    assert b"".join(export_sigmf(*simulated, max_examples=20)) == exported


def test_a_data_set_without_samples_says_what_to_do(tmp_path):
    config = SyntheticDatasetConfig(name="s", num_examples=100)
    build_synthetic(config, tmp_path, lambda share: None)
    with pytest.raises(InvalidInputError, match="Make one with keep_iq"):
        export_sigmf(open_dataset(tmp_path), config.model_dump())
