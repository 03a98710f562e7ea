import copy
import io
import json
import re
import struct
import tarfile
import wave
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heimdall.datasets.iq_files import scan_iq_wav
from heimdall.datasets.sigmf_files import Recording, write_event
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.capture import FrontEnd, Scene, simulate_capture
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu
from heimdall.rf.waveforms import make_flat
from tests.unit.datasets.importers.reading import read

SITES = {"hill": (45.10, 7.60, 600.0), "roof": (45.04, 7.67, 250.0), "field": (45.00, 7.80, 240.0), "tower": (45.12, 7.75, 300.0)}
TRANSMITTER = (45.06, 7.70, 240.0)
RATE_HZ = 16_000.0
START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
POSITIONS = np.array([*SITES.values(), TRANSMITTER])
PLACES_M = geodetic_to_enu(frame_at_centroid(POSITIONS[:-1, 0], POSITIONS[:-1, 1]), *POSITIONS.T)
TRUE_US = np.linalg.norm(PLACES_M[-1] - PLACES_M[:-1], axis=1) / SPEED_OF_LIGHT_M_S * 1e6


def record(seed=0, num_samples=3200, rate_hz=RATE_HZ, num_bits=12):
    """What the four receivers made of one strong transmission, as their converters gave it."""
    generator = np.random.default_rng(seed)
    scene = Scene(PLACES_M[-1], np.zeros(3), PLACES_M[:-1], np.full(4, -80.0), np.zeros(4), 145.0)
    waveform = make_flat(generator, num_samples + 256, rate_hz, bandwidth_hz=11_000.0)
    front_end = FrontEnd(sample_rate_hz=rate_hz, num_bits=num_bits, crystal_sigma_ppm=0.05)
    return simulate_capture(waveform, scene, generator, num_samples=num_samples, front_end=front_end)


def recordings_of(capture, **changes):
    return [
        Recording(
            name,
            capture.iq[number],
            RATE_HZ,
            145e6,
            START,
            250.0 * number,
            *SITES[name],
            float(capture.gain_db[number]),
            "gpsdo",
            **changes,
        )
        for number, name in enumerate(SITES)
    ]


def about(place=TRANSMITTER):
    return {"transmitter": {"type": "Point", "coordinates": [place[1], place[0], place[2]]}}


def pack(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def sigmf(tmp_path):
    """Two events as files by name, to be spoilt."""
    folder = tmp_path / "sigmf"
    folder.mkdir()
    for seed in range(2):
        write_event(folder, f"e{seed}", recordings_of(record(seed)), about=about())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def change_json(files, name, change):
    document = json.loads(files[name])
    change(document)
    files[name] = json.dumps(document).encode()


def forget_hashes(files):
    for name in files:
        if name.endswith(".sigmf-collection"):
            change_json(files, name, lambda document: [stream.pop("hash") for stream in document["collection"]["core:streams"]])


def offsets_us(arrays, row=0):
    names = [receiver.id for receiver in arrays.receivers]
    found = arrays.features[row, [names.index(name) for name in SITES if name in names], arrays.feature_index("toa_offset_us")]
    return found - found.mean()


def test_recordings_of_several_receivers_become_times_of_arrival_and_strengths(tmp_path, sigmf):
    arrays, built = read(tmp_path, "recordings", pack(sigmf), keep_iq=True)
    assert (built.manifest.kind.value, built.manifest.num_examples, built.report.num_rejected) == ("recordings", 2, 0)
    assert arrays.iq.shape == (2, 4, 3199, 2)
    # Each clock's start stands in its file: what is left is the geometry.
    late_us = 0.25 * np.arange(4)
    np.testing.assert_allclose(offsets_us(arrays), TRUE_US + late_us - (TRUE_US + late_us).mean(), atol=0.4)
    assert arrays.features[..., arrays.feature_index("heard")].all()
    np.testing.assert_allclose(arrays.features[..., arrays.feature_index("rssi_dbm")], -80, atol=1)
    np.testing.assert_allclose(arrays.features[..., arrays.feature_index("clock_sigma_us")], 0.05)
    assert arrays.time[0] == pytest.approx(START.timestamp(), abs=1e-5)
    assert built.manifest.groups == ("cell", "day", "session")


def test_without_samples_features_are_the_same_and_nothing_else_is_stored(tmp_path, sigmf):
    kept, _ = read(tmp_path, "recordings", pack(sigmf), keep_iq=True)
    bare, _ = read(tmp_path, "recordings", pack(sigmf))
    np.testing.assert_array_equal(kept.features, bare.features)
    assert bare.iq is None
    assert not list(tmp_path.glob("unpacked-*"))


def test_a_receiver_that_is_missing_from_an_event_is_absent_and_said(tmp_path, sigmf):
    del sigmf["e1-roof.sigmf-data"]
    arrays, built = read(tmp_path, "recordings", pack(sigmf), keep_iq=True)
    assert arrays.mask.sum(axis=1).tolist() == [4, 3]
    assert any("lacks the .sigmf-data file" in note for note in built.report.notes)


def test_a_receiver_without_a_clock_counts_by_its_strength_alone(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    takes = recordings_of(record())
    takes[0] = Recording(**{**vars(takes[0]), "start": None, "timing_source": "unknown"})
    write_event(folder, "e", takes, about=about())
    arrays, built = read(tmp_path, "recordings", pack({path.name: path.read_bytes() for path in folder.iterdir()}))
    hill = [receiver.id for receiver in arrays.receivers].index("hill")
    assert arrays.features[0, hill, arrays.feature_index("toa_offset_us")] == 0
    assert arrays.features[0, hill, arrays.feature_index("toa_log_sigma")] == 3
    assert arrays.features[0, hill, arrays.feature_index("heard")] == 1
    assert any("strength alone" in note for note in built.report.notes)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: m["global"].update({"core:datatype": "rf32_le"}), "real samples"),
        (lambda m: m["global"].update({"core:datatype": "cq99"}), "core:datatype is unknown"),
        (lambda m: m["global"].update({"core:datatype": None}), "core:datatype is unknown"),
        (lambda m: m["global"].update({"core:datatype": "cf64_le"}), "hash|whole samples|not all there"),
        (lambda m: m["global"].update({"core:num_channels": 2}), "several channels"),
        (lambda m: m["global"].update({"core:sample_rate": float("nan")}), "sample rate in Hz is not a number"),
        (lambda m: m["global"].update({"core:sample_rate": 0}), "sample rate in Hz is not within"),
        (lambda m: m["global"].update({"core:dataset": "/etc/passwd"}), "no plain SigMF"),
        (lambda m: m["global"].update({"heimdall:gain_db": "loud"}), "gain in dB is not a number"),
        (lambda m: m["global"].update({"heimdall:timing_source": "sundial"}), "timing source is none of"),
        (lambda m: m["global"].update({"heimdall:receiver_id": 7}), "id is no text"),
        (lambda m: m["captures"].append({"core:sample_start": 9}), "exactly one capture"),
        (lambda m: m["captures"][0].update({"core:datetime": "yesterday"}), "start is not written like"),
        (lambda m: m["captures"][0]["core:geolocation"].update({"coordinates": [float("nan"), 45.0]}), "position is not a number"),
        (lambda m: m["captures"][0]["core:geolocation"].update({"coordinates": [7.0, 145.0]}), "out of range"),
        (lambda m: m["captures"][0].pop("core:geolocation"), "receiver's position is not given"),
        (lambda m: m.clear(), "exactly one capture"),
    ],
)
def test_a_recording_that_is_wrong_is_left_out_with_its_reason(tmp_path, sigmf, spoil, reason):
    forget_hashes(sigmf)
    for name in SITES:
        change_json(sigmf, f"e0-{name}.sigmf-meta", spoil)
    arrays, built = read(tmp_path, "recordings", pack(sigmf))
    said = " ".join([*built.report.notes, *built.report.reasons])
    assert re.search(reason, said), said
    assert len(arrays) == 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda c: c.pop("heimdall:transmitter"), "transmitter's position is not given"),
        (lambda c: c["heimdall:transmitter"].update({"coordinates": [float("nan"), 45.0]}), "position is not a number"),
        (lambda c: c.update({"core:streams": []}), "names no recordings"),
        (lambda c: c["core:streams"].append(copy.deepcopy(c["core:streams"][0])), "of the same receiver"),
        (lambda c: [stream.update(name="../../e1-hill") for stream in c["core:streams"]], "not one of the event's recordings"),
        (lambda c: c.update({"heimdall:max_delay_s": "long"}), "max_delay_s is not a number"),
    ],
)
def test_an_event_that_is_wrong_is_rejected_with_its_reason(tmp_path, sigmf, spoil, reason):
    change_json(sigmf, "e0.sigmf-collection", lambda document: spoil(document["collection"]))
    _, built = read(tmp_path, "recordings", pack(sigmf))
    assert built.report.num_rejected == 1
    assert reason in next(iter(built.report.reasons))


def test_changed_samples_and_changed_descriptions_do_not_fit_their_hashes(tmp_path, sigmf):
    sigmf["e0-hill.sigmf-data"] = bytes([1]) + sigmf["e0-hill.sigmf-data"][1:]
    change_json(sigmf, "e1-hill.sigmf-meta", lambda meta: meta["global"].update({"core:author": "somebody"}))
    _, built = read(
        tmp_path, "recordings", pack({**sigmf, **{f"ok/{name}": content for name, content in sigmf.items() if name[:2] == "e1"}})
    )
    assert any("hash" in reason for reason in built.report.reasons)
    assert any("its hash differs" in note for note in built.report.notes)


def test_deep_and_huge_descriptions_are_rejected(tmp_path, sigmf):
    sigmf["a.sigmf-collection"] = b"[" * 200_000
    sigmf["b.sigmf-collection"] = b" " * 2_000_000
    _, built = read(tmp_path, "recordings", pack(sigmf))
    assert {"a description is not valid JSON", "a description is larger than 1,000,000 bytes"} <= set(built.report.reasons)


def test_samples_that_are_no_numbers_or_all_zero_reject_the_event(tmp_path, sigmf):
    forget_hashes(sigmf)
    for event, content in (("e0", np.full(3200, np.nan + 0j, np.complex64)), ("e1", np.zeros(3200, np.complex64))):
        sigmf[f"{event}-hill.sigmf-data"] = content.tobytes()
        change_json(
            sigmf, f"{event}-hill.sigmf-meta", lambda meta: meta["global"].update({"core:datatype": "cf32_le", "core:sha512": None})
        )
    with pytest.raises(InvalidInputError, match="None of the 2 rows can be used"):
        read(tmp_path, "recordings", pack(sigmf))


def test_a_recording_of_one_level_spoils_no_other_event(tmp_path, sigmf):
    forget_hashes(sigmf)
    sigmf["e0-hill.sigmf-data"] = np.full(3200, 0.5 + 0j, np.complex64).tobytes()
    change_json(sigmf, "e0-hill.sigmf-meta", lambda meta: meta["global"].update({"core:datatype": "cf32_le", "core:sha512": None}))
    arrays, built = read(tmp_path, "recordings", pack(sigmf))
    assert len(arrays) + built.report.num_rejected == 2
    assert np.isfinite(arrays.features).all()


def test_a_network_that_is_asked_for_too_much_says_what_to_change(tmp_path, sigmf):
    with pytest.raises(InvalidInputError, match="smaller bandwidth_hz"):
        read(tmp_path, "recordings", pack(sigmf), bandwidth_hz=16_000)
    with pytest.raises(InvalidInputError, match="less than 1 s in common"):
        read(tmp_path, "recordings", pack(sigmf), duration_s=1.0)
    with pytest.raises(InvalidInputError, match=r"neither a \.sigmf-collection nor recordings\.json"):
        read(tmp_path, "recordings", pack({"a.wav": b"x"}))


def kiwi_wav(iq, start_ns, rate_hz, *, header_rate=None, last=1, skip=None):
    """A WAV as kiwirecorder writes it: a GPS time before every 512 samples."""
    body = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, header_rate or round(rate_hz), 4 * round(rate_hz), 4, 16)
    values = np.rint(np.ascontiguousarray(iq).view(np.float32) * 32767).astype("<i2").reshape(-1, 2)
    for first in range(0, len(values), 512):
        if skip is not None and first == skip * 512:
            continue
        at = (start_ns + round(first * 1e9 / rate_hz)) % (7 * 86400 * 10**9)
        block = values[first : first + 512].tobytes()
        body += struct.pack("<4sIBBII", b"kiwi", 10, last, 0, at // 10**9, at % 10**9) + struct.pack("<4sI", b"data", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def gps_ns(instant):
    return (
        int((instant - datetime(1980, 1, 6, tzinfo=UTC) + timedelta(seconds=18)) / timedelta(microseconds=1)) * 1000 % (7 * 86400 * 10**9)
    )


def document(files, **recording):
    return {
        "receivers": {
            name: {"latitude": lat, "longitude": lon, "altitude_m": alt, "timing_source": "gps"} for name, (lat, lon, alt) in SITES.items()
        },
        "events": [
            {
                "name": "one",
                "frequency_hz": 145e6,
                "start": "2026-05-04T10:00:00Z",
                "transmitter": dict(zip(("latitude", "longitude", "altitude_m"), TRANSMITTER, strict=True)),
                "recordings": [{"receiver": name, "file": file, **recording} for name, file in files.items()],
            }
        ],
    }


def test_kiwi_recordings_are_aligned_by_the_gps_times_in_them(tmp_path):
    capture = record(num_bits=14)
    names = {name: f"{name}.wav" for name in SITES}
    # Each begins some samples later than the others, as receivers do.
    begin = dict(zip(SITES, (0, 37, 5, 160), strict=True))
    files = {
        f"{name}.wav": kiwi_wav(capture.iq[number, begin[name] :], gps_ns(START) + round(begin[name] * 1e9 / RATE_HZ), RATE_HZ)
        for number, name in enumerate(SITES)
    }
    arrays, built = read(tmp_path, "recordings", pack({"recordings.json": json.dumps(document(names)).encode(), **files}))
    np.testing.assert_allclose(offsets_us(arrays), TRUE_US - TRUE_US.mean(), atol=0.5)
    assert arrays.time[0] == pytest.approx(START.timestamp() + 0.01, abs=1e-4)
    assert any("without gain_db" in note for note in built.report.notes)


def test_the_rate_and_the_week_come_from_gps_and_not_from_the_header(tmp_path):
    (tmp_path / "k.wav").write_bytes(kiwi_wav(record().iq[0], 7 * 86400 * 10**9 - 40_000_000, 11_998.93, header_rate=12_000))
    wav = scan_iq_wav(tmp_path / "k.wav")
    assert wav.gps.sample_rate_hz == pytest.approx(11_998.93, rel=1e-7)
    assert wav.gps.week_ns == pytest.approx(7 * 86400 * 10**9 - 40_000_000, abs=2)
    assert (wav.num_samples, len(wav.read())) == (3200, 3200)
    (tmp_path / "k.wav").write_bytes(kiwi_wav(record().iq[0], 0, 12_000, last=255))
    assert scan_iq_wav(tmp_path / "k.wav").gps is None
    (tmp_path / "k.wav").write_bytes(kiwi_wav(record().iq[0], 0, 12_000, skip=3))
    with pytest.raises(InvalidInputError, match="has gaps"):
        scan_iq_wav(tmp_path / "k.wav")


def test_bytes_of_rtl_sdr_are_tuned_and_brought_to_the_channel(tmp_path):
    rate_hz, shift_hz = 240_000.0, 40_000.0
    capture = record(num_samples=48_000, rate_hz=rate_hz, num_bits=12)
    turn = np.exp(-2j * np.pi * shift_hz / rate_hz * np.arange(48_000))
    files = {}
    for number, name in enumerate(SITES):
        values = np.ascontiguousarray((capture.iq[number] * turn).astype(np.complex64)).view(np.float32)
        files[f"{name}.u8"] = np.clip(np.rint(values * 127.5 + 127.5), 0, 255).astype(np.uint8).tobytes()
    names = {name: f"{name}.u8" for name in SITES}
    listed = document(names, sample_rate_hz=rate_hz, center_hz=145e6 + shift_hz, start="2026-05-04T10:00:00Z")
    arrays, _ = read(tmp_path, "recordings", pack({"recordings.json": json.dumps(listed).encode(), **files}), keep_iq=True)
    np.testing.assert_allclose(offsets_us(arrays), TRUE_US - TRUE_US.mean(), atol=1.0)
    assert arrays.manifest.iq.sample_rate_hz == 16_000
    assert arrays.features[..., arrays.feature_index("heard")].all()


def change_first(**changes):
    return lambda d: d["events"][0]["recordings"][0].update(changes)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda d: d.update(color="red"), "unknown field 'color'"),
        (lambda d: d.update(events=[]), "it needs 'receivers'"),
        (lambda d: d["events"][0].pop("transmitter"), "transmitter's position is not given"),
        (lambda d: d["events"][0]["transmitter"].update(latitude=float("nan")), "position is not a number"),
        (lambda d: d["events"][0].update(frequency_hz=-1), "frequency_hz is not within"),
        (change_first(receiver="roof"), "of the same receiver"),
        (
            lambda d: d["events"][0].update(recordings=[{"receiver": "hill", "file": "../../etc/passwd"}]),
            "not one of the event's recordings",
        ),
        (lambda d: d["events"][0].update(recordings=[{"receiver": "moon", "file": "hill.wav"}]), "not one of the event's recordings"),
    ],
)
def test_a_list_of_recordings_that_is_wrong_says_where(tmp_path, spoil, reason):
    capture = record()
    files = {f"{name}.wav": kiwi_wav(capture.iq[number], 0, RATE_HZ) for number, name in enumerate(SITES)}
    listed = document({name: f"{name}.wav" for name in SITES})
    spoil(listed)
    with pytest.raises(InvalidInputError, match=reason):
        read(tmp_path, "recordings", pack({"recordings.json": json.dumps(listed).encode(), **files}))


@pytest.mark.parametrize("spoil", [lambda c: c[:-7], lambda c: c[:40], lambda c: b"RIFX" + c[4:], lambda c: b""])
def test_a_wav_that_is_cut_off_leaves_its_receiver_out(tmp_path, spoil):
    capture = record()
    files = {f"{name}.wav": kiwi_wav(capture.iq[number], 0, RATE_HZ) for number, name in enumerate(SITES)}
    files["roof.wav"] = spoil(files["roof.wav"])
    listed = json.dumps(document({name: f"{name}.wav" for name in SITES})).encode()
    arrays, built = read(tmp_path, "recordings", pack({"recordings.json": listed, **files}))
    assert len(arrays.receivers) == 3
    assert any(note.startswith("recordings left out: a file cannot be read as WAV") for note in built.report.notes), built.report.notes


def test_a_wav_whose_header_lies_about_its_length_is_refused(tmp_path):
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(400))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="it was cut off"):
        scan_iq_wav(path)
