"""Recordings of KiwiSDRs and of rtl_sdr through the real command, from files made byte by byte after their formats.

KiwiSDR: ``kiwirecorder.py --modulation iq --kiwi-wav`` of github.com/jks-prv/kiwiclient writes RIFF, a PCM format of two channels with 16
bits (the rate cut to a whole number), then for every 512 samples a chunk ``kiwi`` and a chunk ``data``.
rtl_sdr: unsigned bytes, I first, zero at 127.5.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu
from tests.instance import Heimdall
from tests.integration.test_cli import run, run_json

SITES = {"hill": (45.10, 7.60, 600.0), "roof": (45.04, 7.67, 250.0), "field": (45.00, 7.80, 240.0), "tower": (45.12, 7.75, 300.0)}
TRANSMITTER = (45.06, 7.70, 240.0)
LATE_S = dict(zip(SITES, (0.0, 3.1e-3, 417.3e-6, 13.3e-3), strict=True))
"""After the event's start each receiver began to record."""
START = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
GPS_WEEK_S = int((START - datetime(1980, 1, 6, tzinfo=UTC)).total_seconds()) + 18
KIWI_RATE_HZ, RTL_RATE_HZ = 12_001.135, 240_000.0

Files = dict[str, bytes]


def find_delays_s() -> dict[str, float]:
    places = np.array([*SITES.values(), TRANSMITTER])
    place_m = geodetic_to_enu(frame_at_centroid(places[:-1, 0], places[:-1, 1]), *places.T)
    return dict(zip(SITES, (np.linalg.norm(place_m[-1] - place_m[:-1], axis=1) / SPEED_OF_LIGHT_M_S).tolist(), strict=True))


def receive(name: str, rate_hz: float, num_samples: int, half_hz: float, shift_hz: float = 0.0) -> Any:
    """A periodic transmission of flat noise as one receiver samples it from its own start on, with noise of its own; full scale 1."""
    bins = np.fft.fftfreq(num_samples, 1 / num_samples)
    frequency_hz = bins * rate_hz / num_samples
    sent = np.zeros(num_samples, complex)
    inside = np.abs(frequency_hz) < half_hz
    sent[inside] = np.random.default_rng(7).standard_normal((inside.sum(), 2)) @ [1, 1j]
    ahead_s = LATE_S[name] - find_delays_s()[name]
    signal = np.fft.ifft(sent * np.exp(2j * np.pi * frequency_hz * ahead_s))
    noise = np.random.default_rng(list(SITES).index(name)).standard_normal((num_samples, 2)) @ [1, 1j]
    signal = signal / signal.std() + 0.05 * np.sqrt(rate_hz / (2 * half_hz)) * noise
    return 0.1 * signal * np.exp(2j * np.pi * shift_hz / rate_hz * np.arange(num_samples))


def write_kiwi(name: str, *, header_rate: int = int(KIWI_RATE_HZ), since_fix_s: int = 2) -> bytes:
    values = receive(name, KIWI_RATE_HZ, 6144, 4_500.0)
    pairs = np.rint(32_767 * np.stack([values.real, values.imag], axis=1)).astype("<i2")
    content = b"WAVE" + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, header_rate, 4 * header_rate, 4, 16)
    for first in range(0, len(pairs), 512):
        week_ns = (GPS_WEEK_S * 10**9 + round(1e9 * (LATE_S[name] + first / KIWI_RATE_HZ))) % (7 * 86_400 * 10**9)
        content += struct.pack("<4sIBBII", b"kiwi", 10, since_fix_s, 0, week_ns // 10**9, week_ns % 10**9)
        block = pairs[first : first + 512].tobytes()
        content += struct.pack("<4sI", b"data", len(block)) + block
    return struct.pack("<4sI", b"RIFF", len(content)) + content


def write_rtl(name: str) -> bytes:
    values = receive(name, RTL_RATE_HZ, 48_000, 5_500.0, shift_hz=-40_000.0)
    return np.clip(np.rint(127.5 + 127.5 * np.stack([values.real, values.imag], axis=1)), 0, 255).astype(np.uint8).tobytes()


def describe(suffix: str, **recording: Any) -> dict[str, Any]:
    receivers = {
        name: {"latitude": place[0], "longitude": place[1], "altitude_m": place[2], "timing_source": "gps"} for name, place in SITES.items()
    }
    listed = [{"receiver": name, "file": f"{name}.{suffix}", **recording} for name in SITES]
    place = dict(zip(("latitude", "longitude", "altitude_m"), TRANSMITTER, strict=True))
    event = {"frequency_hz": 145_500_000, "start": "2026-05-04T10:00:00Z", "transmitter": place, "recordings": listed}
    return {"receivers": receivers, "events": [event]}


def make_kiwi() -> tuple[dict[str, Any], Files]:
    return describe("wav"), {f"{name}.wav": write_kiwi(name) for name in SITES}


def make_rtl() -> tuple[dict[str, Any], Files]:
    listed = describe("u8", sample_rate_hz=RTL_RATE_HZ, center_hz=145_540_000)
    for recording in listed["events"][0]["recordings"]:
        late_ns = round(1e9 * LATE_S[recording["receiver"]])
        recording["start"] = f"2026-05-04T10:00:00.{late_ns:09d}Z"
    return listed, {f"{name}.u8": write_rtl(name) for name in SITES}


def pack(path: Path, listed: dict[str, Any] | None, files: Files) -> str:
    whole = files if listed is None else {"recordings.json": json.dumps(listed).encode(), **files}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in whole.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def open_arrays(instance: Heimdall, dataset_id: str) -> DatasetArrays:
    (manifest,) = instance.data_dir.rglob(f"{dataset_id}/manifest.json")
    return open_dataset(manifest.parent)


def check_arrivals(arrays: DatasetArrays) -> None:
    true_us = 1e6 * np.array(list(find_delays_s().values()))
    assert [receiver.id for receiver in arrays.receivers] == list(SITES)
    found_us = arrays.features[0, :, arrays.feature_index("toa_offset_us")]
    np.testing.assert_allclose(found_us - found_us.mean(), true_us - true_us.mean(), atol=1.0)
    assert arrays.features[0, :, arrays.feature_index("heard")].all()
    assert arrays.time[0] == pytest.approx(START.timestamp() + max(LATE_S.values()), abs=2e-4)


def test_kiwis_are_aligned_by_gps_and_leave_and_come_back_with_the_same_features(heimdall: Heimdall, tmp_path: Path) -> None:
    path = pack(tmp_path / "kiwi.tar.gz", *make_kiwi())
    made = run_json(heimdall, "dataset", "import", "recordings", path, "--name", "kiwi", "--keep-iq", "--bandwidth-hz", "10000")
    assert (made["status"], made["num_examples"], made["report"]["num_rejected"]) == ("ready", 1, 0)
    first = open_arrays(heimdall, made["id"])
    check_arrivals(first)
    written = run_json(heimdall, "dataset", "export", "kiwi", "--format", "sigmf", "-o", str(tmp_path))
    back = run_json(heimdall, "dataset", "import", "recordings", written["path"], "--name", "again", "--keep-iq", "--bandwidth-hz", "10000")
    second = open_arrays(heimdall, back["id"])
    for name in ("features", "iq", "mask", "carrier_hz", "time"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), rtol=1e-5, atol=1e-5, err_msg=name)
    assert second.carrier_hz is not None
    assert second.carrier_hz.tolist() == [145_500_000.0]


def test_bytes_of_rtl_sdr_tell_the_same_place_by_starts_of_their_own(heimdall: Heimdall, tmp_path: Path) -> None:
    made = run_json(heimdall, "dataset", "import", "recordings", pack(tmp_path / "rtl.tar.gz", *make_rtl()), "--name", "rtl", "--keep-iq")
    arrays = open_arrays(heimdall, made["id"])
    check_arrivals(arrays)
    assert arrays.manifest.iq is not None
    assert arrays.manifest.iq.sample_rate_hz == 16_000


def test_kiwis_without_a_fix_count_by_their_strength_and_say_what_to_do(heimdall: Heimdall, tmp_path: Path) -> None:
    files = {f"{name}.wav": write_kiwi(name, since_fix_s=255) for name in SITES}
    listed = describe("wav", start="2026-05-04T10:00:00Z")  # typed in by hand: no GPS time, whatever the receiver is called
    path = pack(tmp_path / "k.tar.gz", listed, files)
    found = run(heimdall, "dataset", "import", "recordings", path, "--name", "no fix", "--bandwidth-hz", "10000")
    assert "recordings of a Kiwi without a GPS fix, which have no clock that counts; wait for the fix before you record: 4" in found.stdout
    made = run_json(heimdall, "dataset", "show", "no fix")
    arrays = open_arrays(heimdall, made["id"])
    assert not arrays.features[0, :, arrays.feature_index("toa_offset_us")].any()
    assert arrays.features[0, :, arrays.feature_index("heard")].all()


def spoil_nothing(listed: dict[str, Any]) -> None:
    """Leave the list as it is."""


@pytest.mark.parametrize(
    ("make", "spoil_list", "spoil_file", "sentence"),
    [
        (make_kiwi, spoil_nothing, lambda content: content[:-700], "it was cut off. Copy it again, whole."),
        (
            make_kiwi,
            spoil_nothing,
            lambda content: content[:24] + struct.pack("<I", 20_250) + content[28:],
            "its header says 20250 samples/s, its GPS times 12001. Correct the header, or record it again.",
        ),
        (make_kiwi, None, lambda content: content, "holds neither a .sigmf-collection nor recordings.json"),
        (
            make_kiwi,
            lambda listed: [place.pop("latitude") for place in listed["receivers"].values()],
            lambda content: content,
            "a receiver has no position; give its latitude and longitude in 'receivers'.",
        ),
        (make_rtl, spoil_nothing, lambda content: content[:-1], "as rtl_sdr writes them; copy it again, whole."),
        (
            make_rtl,
            lambda listed: [one.pop("sample_rate_hz") for one in listed["events"][0]["recordings"]],
            lambda content: content,
            "give sample_rate_hz beside it in recordings.json.",
        ),
        (
            make_rtl,
            lambda listed: [one.update(sample_rate_hz=48_000) for one in listed["events"][0]["recordings"]],
            lambda content: content,
            "frequency, center_hz and sample rate do not fit; correct them.",
        ),
    ],
    ids=["cut wav", "wrong rate in the header", "no list", "no positions", "cut bytes", "no rate", "wrong rate in the list"],
)
def test_what_is_wrong_is_said_in_one_sentence_that_says_what_to_do(
    heimdall: Heimdall, tmp_path: Path, make: Any, spoil_list: Any, spoil_file: Any, sentence: str
) -> None:
    listed, files = make()
    if spoil_list is not None:
        spoil_list(listed)
    path = pack(
        tmp_path / "x.tar.gz", None if spoil_list is None else listed, {name: spoil_file(content) for name, content in files.items()}
    )
    refused = run(heimdall, "dataset", "import", "recordings", path, "--name", "wrong", "--bandwidth-hz", "10000", code=1)
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
