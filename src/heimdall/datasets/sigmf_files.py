"""Captures as SigMF: one recording for each receiver, one collection for an event, and our own namespace for timing and gain.

Reference: SigMF specification 1.2 (core namespace, collections, extensions), by the ``sigmf`` package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import sigmf
from sigmf.error import SigMFError
from sigmf.sigmffile import dtype_info

from heimdall.domain.errors import InvalidInputError

NAMESPACE: Final = "heimdall"
NAMESPACE_VERSION: Final = "1.0.0"
_FULL_SCALES: Final = {"ci16_le": (32_768, "<i2"), "ci8": (128, "|i1")}
_MAX_SAMPLES: Final = 500_000_000
_EXTENSION: Final = {"name": NAMESPACE, "version": NAMESPACE_VERSION, "optional": True}

ComplexArray = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Recording:
    """What one receiver recorded, and what it says of itself."""

    receiver_id: str
    iq: ComplexArray
    """[t] full scale 1."""
    sample_rate_hz: float
    frequency_hz: float | None
    """Of the middle; None where it is not known."""
    start: datetime | None
    """Of the first sample, by the receiver's clock, to the microsecond."""
    start_fraction_ns: float = 0.0
    """What is left of the start below a microsecond, ns."""
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    gain_db: float | None = None
    """dBm at the antenna = dBFS - gain; None where nobody calibrated it."""
    timing_source: str = "unknown"
    timing_sigma_ns: float | None = None
    is_calibrated: bool = True
    """False where a gain is known, but strengths are in dB of full scale all the same."""


Datatype = Literal["ci16_le", "ci8"]


def write_event(
    folder: Path, name: str, recordings: list[Recording], *, datatype: Datatype = "ci16_le", about: Mapping[str, Any] | None = None
) -> Path:
    """Write one event and return the path of its collection.

    Parameters
    ----------
    folder
        An existing folder.
    name
        First part of all file names: letters, digits, ``-`` and ``_``.
    recordings
        One of each receiver; their ids need the same letters.
    datatype
        ``ci8`` keeps samples whole that are steps of 1 / 128.
    about
        More to say of the event, in our namespace.

    Raises
    ------
    InvalidInputError
        Where a name would not be a safe file name, or two receivers have the same id.
    """
    ids = [recording.receiver_id for recording in recordings]
    if len(set(ids)) != len(ids) or not recordings:
        raise InvalidInputError("An event needs recordings, each of another receiver.")
    if not all(part and part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in (name, *ids)):
        raise InvalidInputError("Names of events and receivers may hold letters, digits, '-' and '_' only.")
    bases = [_write_recording(folder / f"{name}-{recording.receiver_id}", recording, datatype) for recording in recordings]
    streams = [{"name": base.name, "hash": _hash(base.with_name(f"{base.name}.sigmf-meta"))} for base in bases]
    collection = {
        "core:version": sigmf.__specification__,
        "core:extensions": [_EXTENSION],
        "core:streams": streams,
        f"{NAMESPACE}:event": name,
        **{f"{NAMESPACE}:{key}": value for key, value in (about or {}).items()},
    }
    path = folder / f"{name}.sigmf-collection"
    _write_json(path, {"collection": collection})
    return path


def read_event(path: Path) -> list[Recording]:
    """Read the recordings of a collection, in its order, each checked against its hash.

    Raises
    ------
    InvalidInputError
        Where a file is missing or damaged, or a stream lies outside the collection's folder.
    """
    try:
        streams = json.loads(path.read_text(encoding="utf-8"))["collection"]["core:streams"]
        names = [str(stream["name"]) for stream in streams]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"'{path.name}' is no SigMF collection.") from error
    if any(Path(name).name != name for name in names):
        raise InvalidInputError(f"'{path.name}' names a file outside its folder.")
    return [read_recording(path.parent / f"{name.removesuffix('.sigmf-meta')}.sigmf-meta") for name in names]


def read_recording(path: Path) -> Recording:
    """Read one recording of any SigMF sample type; what it does not say stays unknown.

    Raises
    ------
    InvalidInputError
        Where meta and data do not fit together or are not valid.
    """
    try:
        file = sigmf.fromfile(str(path))
        file.validate()
        info = file.get_global_info()
        capture = file.get_captures()[0]
        if file.sample_count > _MAX_SAMPLES:
            raise InvalidInputError(f"'{path.name}' is too long; cut it to the transmissions first.")
        samples = np.asarray(file.read_samples()).reshape(-1)
    except (SigMFError, OSError, ValueError, KeyError, IndexError) as error:
        raise InvalidInputError(f"'{path.name}' cannot be read as SigMF: {error}") from error
    where = capture.get("core:geolocation") or info.get("core:geolocation") or {}
    longitude, latitude, *altitude = where.get("coordinates") or (None, None)
    start = capture.get("core:datetime")
    return Recording(
        receiver_id=str(info.get(f"{NAMESPACE}:receiver_id") or path.name.removesuffix(".sigmf-meta")),
        iq=samples.astype(np.complex64),
        sample_rate_hz=float(info["core:sample_rate"]),
        frequency_hz=capture.get("core:frequency"),
        start=None if start is None else datetime.fromisoformat(_cut_to_microseconds(str(start))),
        start_fraction_ns=float(capture.get(f"{NAMESPACE}:start_fraction_ns", 0.0)),
        latitude_deg=latitude,
        longitude_deg=longitude,
        altitude_m=altitude[0] if altitude else None,
        gain_db=info.get(f"{NAMESPACE}:gain_db"),
        is_calibrated=info.get(f"{NAMESPACE}:is_calibrated", True),
        timing_source=str(info.get(f"{NAMESPACE}:timing_source", "unknown")),
        timing_sigma_ns=info.get(f"{NAMESPACE}:timing_sigma_ns"),
    )


def _write_recording(base: Path, recording: Recording, datatype: Datatype) -> Path:
    pairs = np.ascontiguousarray(recording.iq, np.complex64).view(np.float32)
    data = base.with_name(base.name + ".sigmf-data")
    full_scale, dtype = _FULL_SCALES[datatype]
    np.clip(np.rint(pairs * full_scale), -full_scale, full_scale - 1).astype(dtype).tofile(data)
    info: dict[str, Any] = {
        "core:datatype": datatype,
        "core:sample_rate": recording.sample_rate_hz,
        "core:extensions": [_EXTENSION],
        f"{NAMESPACE}:receiver_id": recording.receiver_id,
        f"{NAMESPACE}:timing_source": recording.timing_source,
    }
    for name in ("timing_sigma_ns", "gain_db"):
        if (value := getattr(recording, name)) is not None:
            info[f"{NAMESPACE}:{name}"] = value
    if not recording.is_calibrated:
        info[f"{NAMESPACE}:is_calibrated"] = False
    capture: dict[str, Any] = {} if recording.frequency_hz is None else {"core:frequency": recording.frequency_hz}
    if recording.start is not None:
        capture["core:datetime"] = recording.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        capture[f"{NAMESPACE}:start_fraction_ns"] = recording.start_fraction_ns
    if recording.latitude_deg is not None and recording.longitude_deg is not None:
        coordinates = [recording.longitude_deg, recording.latitude_deg, *([] if recording.altitude_m is None else [recording.altitude_m])]
        capture["core:geolocation"] = {"type": "Point", "coordinates": coordinates}
    # Written by hand: the library's checks of every file take fifty times as long as the rest, and the tests do them.
    info |= {"core:version": sigmf.__specification__, "core:sha512": _hash(data)}
    capture = {"core:sample_start": 0, **capture}
    _write_json(base.with_name(base.name + ".sigmf-meta"), {"global": info, "captures": [capture], "annotations": []})
    return base


def read_samples(data: Path, datatype: str) -> ComplexArray:
    """Read the samples of a ``.sigmf-data`` file of any complex type, full scale 1; SigMFError where there is no such type."""
    kind = dtype_info(datatype)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large for a sample is infinite, and refused as such
        values = np.fromfile(data, kind["component_dtype"]).astype(np.float32)
    if kind["is_fixedpoint"]:
        half = np.float32(2.0 ** (8 * kind["component_size"] - 1))
        values = (values - half if kind["is_unsigned"] else values) / half
    return values.view(np.complex64)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _cut_to_microseconds(text: str) -> str:
    """Return an instant with at most six digits of a second, as ``datetime`` takes it."""
    head, dot, tail = text.removesuffix("Z").partition(".")
    return f"{head}{dot}{tail[:6].ljust(6, '0') if dot else ''}+00:00"
