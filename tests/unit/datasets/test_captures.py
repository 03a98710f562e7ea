"""Data sets from captures: measured from samples, the same bytes whoever made them, samples kept on request."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from heimdall.datasets import simulation
from heimdall.datasets.build import build_synthetic, write_simulation
from heimdall.datasets.preview import preview_synthetic
from heimdall.datasets.simulation import Simulation, load_chunk, save_chunk
from heimdall.datasets.storage import DatasetArrays, open_dataset, verify_dataset
from heimdall.domain.datasets import NUM_SITES, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.network import load_default_network
from heimdall.rf.synthetic import remove_mean

GIVEN = {"name": "c", "num_examples": 100, "seed": 3, "min_receivers": 4, "margin_km": 0} | {
    "signal": "captures",
    "waveform": "flat-12k5",
    "duration_s": 0.1,
}


def configure(**changes) -> SyntheticDatasetConfig:
    return SyntheticDatasetConfig(**(GIVEN | changes))


def build(folder, config) -> DatasetArrays:
    folder.mkdir()
    build_synthetic(config, folder, lambda share: None)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> DatasetArrays:
    return build(tmp_path_factory.mktemp("captures") / "d", configure(keep_iq=True))


def column(arrays, name):
    return np.asarray(arrays.features[:, :, arrays.feature_index(name)], np.float64)


def test_what_is_measured_agrees_with_the_scene(arrays):
    heard = column(arrays, "heard") > 0
    assert 0.6 < heard.mean() < 1
    place = np.column_stack([arrays.target, arrays.target_up])
    truth_us = slant_ranges(place, np.asarray(arrays.receiver_enu[0], np.float64)[None]) * 1e6 / 299_792_458
    error_us = (column(arrays, "toa_offset_us") - remove_mean(truth_us, heard))[heard]
    stated_us = 10 ** column(arrays, "toa_log_sigma")[heard]
    assert np.median(np.abs(error_us)) < 0.3
    assert 0.4 < np.median(np.abs(error_us) / stated_us) < 2.0
    assert np.abs(column(arrays, "frequency_offset_hz")[heard]).max() < 6 * 14.5
    weak = column(arrays, "snr_db") < 20  # of a strong signal the converter's own steps lie above the noise of the air
    assert np.abs(column(arrays, "noise_dbm") + 119.7)[weak].max() < 2.0
    strong = heard & (column(arrays, "snr_db") > 10)
    difference_db = column(arrays, "rssi_dbm") - column(arrays, "noise_dbm") - column(arrays, "snr_db")
    assert np.abs(difference_db[strong]).max() < 0.5
    assert (arrays.bound_sigma_m > 0).all()
    assert "too weak to be detected are counted" in arrays.manifest.physical_limit.assumptions


def test_samples_are_those_that_were_measured(arrays):
    assert arrays.iq.shape == (100, NUM_SITES, 1600, 2)
    assert arrays.iq.dtype == np.int8
    assert (arrays.manifest.iq.sample_rate_hz, arrays.manifest.iq.bandwidth_hz) == (16_000.0, 12_500.0)
    samples = arrays.iq[:, :, :, 0] / 128.0 + 1j * (arrays.iq[:, :, :, 1] / 128.0)
    power_dbm = 10 * np.log10(np.mean(np.abs(samples) ** 2, axis=2)) - column(arrays, "gain_db")
    strong = column(arrays, "snr_db") > 15
    np.testing.assert_allclose(power_dbm[strong], column(arrays, "rssi_dbm")[strong], atol=1.5)


def test_the_bytes_do_not_depend_on_chunks_or_who_made_them(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "CAPTURE_CHUNK_EXAMPLES", 37)
    config = configure(keep_iq=True)
    num_chunks = Simulation(config, None).num_chunks
    assert num_chunks == 3
    for number in (2, 0, 1):  # each by a process of its own, in any order
        save_chunk(Simulation(config, None).make(number, lambda share: None), tmp_path / f"{number}.npz")
    (tmp_path / "d").mkdir()
    chunks = [load_chunk(tmp_path / f"{number}.npz") for number in range(num_chunks)]
    built = write_simulation(Simulation(config, None), chunks, tmp_path / "d", lambda share: None)
    assert built.content_hash == arrays.content_hash == verify_dataset(tmp_path / "d")


def test_without_samples_the_features_are_the_same_and_the_array_is_not_there(arrays, tmp_path):
    plain = build(tmp_path / "plain", configure())
    np.testing.assert_array_equal(plain.features, arrays.features)
    assert plain.iq is None
    assert plain.manifest.iq is None
    assert not (tmp_path / "plain" / "iq.npy").exists()
    assert '"iq"' not in (tmp_path / "plain" / "manifest.json").read_text()


def test_a_manifest_that_lost_the_rate_of_its_samples_is_refused(arrays, tmp_path):
    text = (arrays.directory / "manifest.json").read_text()
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in arrays.directory.glob("*.npy"):
        (folder / file.name).symlink_to(file)
    document = json.loads(text)
    del document["iq"]
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match="both samples and their rate"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"waveform": None}, "signal", "say what is sent"),
        ({"duration_s": 60}, "signal", "they last 0.032 to 4.1 s"),
        ({"duration_s": 0.001}, "signal", "they last 0.032 to 4.1 s"),
        ({"num_examples": 2_000_000}, "signal", "more than 1000000 examples"),
        ({"clock_sigma_ns": 1e6}, "signal", "not synchronized"),
        ({"crystal_sigma_ppm": 5, "frequency_mhz": 433}, "crystal_sigma_ppm", "must not be above 1.15"),
        ({"signal": "features", "keep_iq": True}, "keep_iq", "only captures have"),
        ({"num_examples": 1_000_000, "duration_s": 1, "keep_iq": True}, "keep_iq", "would take 224 GB, and at most 50 GB"),
    ],
)
def test_what_cannot_be_made_is_refused_with_a_sentence(changes, field, words):
    with pytest.raises(ValidationError) as caught:
        configure(**changes)
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    assert words in error["msg"]


def test_the_size_of_the_samples_is_said_beforehand(arrays):
    preview = preview_synthetic(configure(num_examples=20_000, keep_iq=True), 30.0)
    assert preview.iq_bytes == 20_000 * 7 * 1600 * 2
    assert preview.sentences[-1].startswith("The samples take 0.45 GB on the disk")
    assert configure(keep_iq=True).iq_bytes == arrays.iq.nbytes
    assert len(load_default_network().receivers) == NUM_SITES


def test_a_chunk_of_an_earlier_revision_is_made_again(tmp_path, monkeypatch):
    chunk = Simulation(configure(), None).make(0, lambda share: None)
    path = tmp_path / "0.npz"
    save_chunk(chunk, path)
    assert load_chunk(path) is not None
    monkeypatch.setattr(simulation, "_REVISION", simulation._REVISION + 1)
    assert load_chunk(path) is None
