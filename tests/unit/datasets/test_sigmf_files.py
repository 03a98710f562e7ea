import json
import wave
from datetime import UTC, datetime

import numpy as np
import pytest
import sigmf

from heimdall.datasets.iq_files import read_rtl_sdr, scan_iq_wav
from heimdall.datasets.sigmf_files import Recording, read_event, read_recording, write_event
from heimdall.domain.errors import InvalidInputError

START = datetime(2026, 5, 4, 10, 0, 0, 123456, tzinfo=UTC)


def make_recording(receiver_id="torino", **changes):
    generator = np.random.default_rng(len(receiver_id))
    iq = 0.2 * (generator.standard_normal(500) + 1j * generator.standard_normal(500)).astype(np.complex64)
    values = {
        "receiver_id": receiver_id, "iq": iq, "sample_rate_hz": 16_000.0, "frequency_hz": 145.5e6,
        "start": START, "start_fraction_ns": 789.5, "timing_source": "gpsdo", "timing_sigma_ns": 50.0,
        "latitude_deg": 45.044, "longitude_deg": 7.672, "altitude_m": 250.0, "gain_db": 91.5,
    }  # fmt: skip
    return Recording(**(values | changes))


def test_an_event_comes_back_as_it_went(tmp_path):
    sent = [make_recording("torino"), make_recording("genova", latitude_deg=None, longitude_deg=None, altitude_m=None, gain_db=None)]
    found = read_event(write_event(tmp_path, "event-1", sent))
    for before, after in zip(sent, found, strict=True):
        np.testing.assert_allclose(after.iq, before.iq, atol=2 / 32767)
        for name in (field for field in vars(before) if field != "iq"):
            assert getattr(after, name) == getattr(before, name), name


def test_the_files_are_valid_sigmf_with_our_namespace_declared_optional(tmp_path):
    write_event(tmp_path, "e", [make_recording()])
    file = sigmf.fromfile(str(tmp_path / "e-torino.sigmf-meta"))
    file.validate()
    meta = json.loads((tmp_path / "e-torino.sigmf-meta").read_text())
    assert meta["global"]["core:datatype"] == "ci16_le"
    assert meta["global"]["core:extensions"] == [{"name": "heimdall", "version": "1.0.0", "optional": True}]
    assert meta["global"]["heimdall:timing_sigma_ns"] == 50.0
    assert meta["captures"][0]["core:geolocation"]["coordinates"] == [7.672, 45.044, 250.0]
    assert meta["captures"][0]["core:datetime"] == "2026-05-04T10:00:00.123456Z"


def test_recordings_of_others_are_read_and_what_they_do_not_say_stays_unknown(tmp_path):
    np.array([0.5, -0.25], "<f4").tofile(tmp_path / "x.sigmf-data")
    file = sigmf.SigMFFile(data_file=str(tmp_path / "x.sigmf-data"), global_info={"core:datatype": "cf32_le", "core:sample_rate": 8000})
    file.add_capture(0)
    file.tofile(str(tmp_path / "x.sigmf-meta"))
    found = read_recording(tmp_path / "x.sigmf-meta")
    np.testing.assert_allclose(found.iq, [0.5 - 0.25j])
    assert (found.start, found.gain_db, found.timing_sigma_ns, found.timing_source) == (None, None, None, "unknown")


def test_changed_samples_and_foreign_paths_are_refused(tmp_path):
    path = write_event(tmp_path, "e", [make_recording()])
    data = bytearray((tmp_path / "e-torino.sigmf-data").read_bytes())
    data[5] ^= 1
    (tmp_path / "e-torino.sigmf-data").write_bytes(data)
    with pytest.raises(InvalidInputError, match="cannot be read as SigMF"):
        read_event(path)
    path.write_text(json.dumps({"collection": {"core:streams": [{"name": "../../secret", "hash": "0"}]}}))
    with pytest.raises(InvalidInputError, match="outside its folder"):
        read_event(path)
    path.write_text("{}")
    with pytest.raises(InvalidInputError, match="no SigMF collection"):
        read_event(path)


@pytest.mark.parametrize("bad", ["../x", "", "a b", "é"])
def test_names_that_are_no_file_names_are_refused(tmp_path, bad):
    with pytest.raises(InvalidInputError):
        write_event(tmp_path, "e", [make_recording(bad)])
    with pytest.raises(InvalidInputError, match="each of another receiver"):
        write_event(tmp_path, "e", [make_recording(), make_recording()])


def test_rtl_sdr_bytes_are_centred_between_127_and_128(tmp_path):
    np.array([255, 0, 127, 128], np.uint8).tofile(tmp_path / "a.bin")
    np.testing.assert_allclose(read_rtl_sdr(tmp_path / "a.bin"), [1 - 1j, -0.5 / 127.5 + 0.5j / 127.5], atol=1e-6)
    (tmp_path / "a.bin").write_bytes(b"123")
    with pytest.raises(InvalidInputError, match="whole pairs"):
        read_rtl_sdr(tmp_path / "a.bin")


def test_iq_wav_is_left_and_right(tmp_path):
    path = tmp_path / "kiwi.wav"
    for channels in (2, 1):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(12_000)
            file.writeframes(np.array([16384, -8192], "<i2").tobytes())
        if channels == 2:
            wav = scan_iq_wav(path)
            np.testing.assert_allclose(wav.read(), [0.5 - 0.25j])
            assert wav.sample_rate_hz == 12_000
        else:
            with pytest.raises(InvalidInputError, match="two channels"):
                scan_iq_wav(path)
    path.write_bytes(b"no wave")
    with pytest.raises(InvalidInputError, match="cannot be read as WAV"):
        scan_iq_wav(path)
