import io
import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import sigmf

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.sigmf_export import export_sigmf
from heimdall.datasets.sigmf_files import Recording, write_event
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


def describe(folder, archive):
    """What every SigMF file of an archive says, by its name; hashes left out, since they follow from the rest."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    said = {path.name: json.loads(path.read_text()) for path in folder.glob("*.sigmf-*") if path.suffix != ".sigmf-data"}
    for document in said.values():
        for stream in document.get("collection", {}).get("core:streams", []):
            stream.pop("hash")
    return said


PLACES = {"hill": (45.10, 7.60, 600.0), "roof": (45.04, 7.67, 250.0), "field": (45.00, 7.80, 240.0), "tower": (45.12, 7.75, 300.0)}
SAID = {
    "hill": {"gain_db": 81.25, "timing_source": "gpsdo", "timing_sigma_ns": 50.0},
    "roof": {"gain_db": None, "timing_source": "gps", "timing_sigma_ns": 1000.0},
    "field": {"gain_db": 77.5, "timing_source": "reference", "timing_sigma_ns": 321.5},
    "tower": {"gain_db": 70.0, "timing_source": "gpsdo", "timing_sigma_ns": 50.0, "start": None},
}
CHANNELS_HZ = (145.5e6, 433.4375e6)
STARTS = (datetime(2026, 5, 4, 10, 0, 0, 123456, tzinfo=UTC), datetime(2026, 5, 4, 10, 1, 0, 7, tzinfo=UTC))


@pytest.fixture
def measured(tmp_path):
    """Two events as others record them: on two channels, one receiver without a clock, one that nobody calibrated."""
    folder = tmp_path / "sent"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for number, (frequency_hz, start) in enumerate(zip(CHANNELS_HZ, STARTS, strict=True)):
        takes = []
        for name, (latitude_deg, longitude_deg, altitude_m) in PLACES.items():
            noise = generator.standard_normal((4000, 2))
            values = {"start": start, "start_fraction_ns": 789.0, **SAID[name]}
            iq = 0.2 * (noise[:, 0] + 1j * noise[:, 1]).astype(np.complex64)
            place = {"latitude_deg": latitude_deg, "longitude_deg": longitude_deg, "altitude_m": altitude_m}
            takes.append(Recording(receiver_id=name, iq=iq, sample_rate_hz=16_000.0, frequency_hz=frequency_hz, **place, **values))
        about = {"transmitter": {"type": "Point", "coordinates": [7.70, 45.06, 240.0]}}
        write_event(folder, f"e{number}", takes, datatype="ci8", about=about)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return stream.getvalue()


def test_carrier_rate_time_place_gain_and_clock_survive_import_and_export_again_and_again(tmp_path, measured):
    first, _ = read(tmp_path, "recordings", measured, keep_iq=True)
    gone = b"".join(export_sigmf(first, {"kind": "recordings"}))
    said = describe(tmp_path / "said", gone)
    for number, (frequency_hz, start) in enumerate(zip(CHANNELS_HZ, STARTS, strict=True)):
        for name, place in PLACES.items():
            document = said[f"e{number:07d}-{name}.sigmf-meta"]
            info, capture = document["global"], document["captures"][0]
            assert capture["core:frequency"] == frequency_hz
            assert info["core:sample_rate"] == 16_000
            begin = datetime.fromisoformat(capture["core:datetime"]).timestamp() + 1e-9 * capture["heimdall:start_fraction_ns"]
            assert begin == pytest.approx(start.timestamp() + 789e-9, abs=3e-7)
            assert capture["core:geolocation"]["coordinates"] == pytest.approx([place[1], place[0], place[2]], abs=1e-6)
            assert info["heimdall:timing_source"] == ("unknown" if name == "tower" else SAID[name]["timing_source"])
            assert info["heimdall:timing_sigma_ns"] == (1e9 if name == "tower" else pytest.approx(SAID[name]["timing_sigma_ns"], rel=1e-6))
            assert info.get("heimdall:is_calibrated", True) == (name != "roof")
    second, built = read(tmp_path, "recordings", gone, keep_iq=True)
    assert any("without gain_db" in note and note.endswith(": 2") for note in built.report.notes)
    assert any("strength alone" in note and note.endswith(": 2") for note in built.report.notes)
    for name in ("features", "iq", "mask", "time", "target", "carrier_hz"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), rtol=1e-6, atol=1e-5, err_msg=name)
    again = describe(tmp_path / "again", b"".join(export_sigmf(second, {"kind": "recordings"})))
    for document in (said, again):
        for about in document.values():
            about.pop("collection", None)  # the transmitter's place is within a tenth of a millimetre, not equal
    assert again == said


def test_the_time_that_leaves_is_that_of_the_samples_that_leave(tmp_path, measured):
    whole, _ = read(tmp_path, "recordings", measured, keep_iq=True)
    part, _ = read(tmp_path, "recordings", measured, keep_iq=True, duration_s=0.1)
    for row in range(2):
        cut = next(first for first in range(4000 - 1600 + 1) if (whole.iq[row, 0, first : first + 8] == part.iq[row, 0, :8]).all())
        assert part.time[row] - whole.time[row] == pytest.approx(cut / 16_000, abs=1e-6)


def test_what_was_simulated_is_said_to_be_so_however_often_it_is_passed_on(tmp_path, exported):
    first, _ = read(tmp_path, "recordings", exported, keep_iq=True)
    _, built = read(tmp_path, "recordings", b"".join(export_sigmf(first, {"kind": "recordings"})), keep_iq=True)
    assert built.source == "Simulated captures, exported and imported again"


def test_a_set_that_was_imported_before_carriers_were_kept_leaves_without_one(tmp_path, exported):
    first, _ = read(tmp_path, "recordings", exported, keep_iq=True)
    said = describe(tmp_path / "said", b"".join(export_sigmf(replace(first, carrier_hz=None), {"kind": "recordings"})))
    captures = [document["captures"][0] for name, document in said.items() if name.endswith("-meta")]
    assert not any("core:frequency" in capture for capture in captures)
