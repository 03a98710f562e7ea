"""Events of SigMF: one collection each, our own namespace for what the core does not say.

Of the collection: ``heimdall:event``, ``heimdall:transmitter`` (a GeoJSON point), ``heimdall:common_start`` (all recordings begin at
the same instant of their own clocks), ``heimdall:max_delay_s`` and ``heimdall:max_frequency_hz`` (where pairs were searched). Of a
recording:
``heimdall:receiver_id``, ``timing_source``, ``timing_sigma_ns``, ``gain_db``, ``is_calibrated`` (``false``: strengths are in dB of full
scale all the same) and a capture's ``start_fraction_ns``.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from sigmf.error import SigMFError
from sigmf.sigmffile import dtype_info

from heimdall.datasets.importers.archives import Member, Unpacked
from heimdall.datasets.importers.events import (
    MAX_DOCUMENT_BYTES,
    MAX_FREQUENCY_HZ,
    MAX_SAMPLES,
    ComplexArray,
    RecordedEvent,
    Take,
    parse_instant,
    take_clock,
    take_gain,
    take_number,
    take_place,
    take_rate,
)
from heimdall.datasets.importers.sources import ImportLog, RowError
from heimdall.datasets.sigmf_files import NAMESPACE, read_samples

COLLECTION_SUFFIX: Final = ".sigmf-collection"
_META_SUFFIX: Final = ".sigmf-meta"
_OWN: Final = f"{NAMESPACE}:"


def read_collection(member: Member, archive: Unpacked, log: ImportLog) -> RecordedEvent:
    """Read what a collection and its recordings say; no samples yet.

    Recordings that cannot be used are left out and noted.

    Raises
    ------
    RowError
        Where the event cannot be used at all.
    """
    document = read_document(member.path)
    collection = document.get("collection")
    streams = collection.get("core:streams") if isinstance(collection, dict) else None
    if not isinstance(collection, dict) or not isinstance(streams, list) or not streams:
        raise RowError("the collection names no recordings (core:streams)")
    latitude, longitude, altitude_m = _take_point(collection.get(f"{_OWN}transmitter"), "transmitter")
    common_start = collection.get(f"{_OWN}common_start") is True
    takes: dict[str, Take] = {}
    reason = ""
    for stream in streams:
        try:
            take = _read_stream(stream, member, archive, common_start=common_start)
        except RowError as error:
            reason = str(error)
            log.note(f"recordings left out: {reason}")
            continue
        if take.receiver_id in takes:
            raise RowError("two recordings of the event are of the same receiver")
        takes[take.receiver_id] = take
    if not takes:
        raise RowError(f"not one of the event's recordings can be used: {reason}")
    starts = [take.start_ps for take in takes.values() if take.start_ps]
    search = [
        0.0 if (value := collection.get(f"{_OWN}{name}")) is None else take_number(value, name, 0.0, high)
        for name, high in (("max_delay_s", 0.1), ("max_frequency_hz", 1e5))
    ]
    return RecordedEvent(
        name=member.name.removesuffix(COLLECTION_SUFFIX),
        takes=tuple(takes.values()),
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude_m,
        time_s=max(starts) / 1e12 if starts else 0.0,
        max_delay_s=search[0],
        max_frequency_hz=search[1],
    )


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size. RowError."""
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise RowError(f"a description is larger than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise RowError("a description is not valid JSON") from None
    if not isinstance(document, dict):
        raise RowError("a description is not a JSON object")
    return document


def _read_stream(stream: Any, member: Member, archive: Unpacked, *, common_start: bool) -> Take:  # noqa: ANN401
    name = stream.get("name") if isinstance(stream, dict) else None
    if not isinstance(name, str):
        raise RowError("a stream of the collection has no name")
    meta = archive.find_beside(member, f"{name.removesuffix(_META_SUFFIX)}{_META_SUFFIX}")
    if meta is None:
        raise RowError("the archive lacks a .sigmf-meta file that a collection names")
    if meta.stat().st_size <= MAX_DOCUMENT_BYTES and stream.get("hash") not in (None, hashlib.sha512(meta.read_bytes()).hexdigest()):
        raise RowError("a .sigmf-meta file was changed after its collection was written (its hash differs)")
    document = read_document(meta)
    info, captures = document.get("global"), document.get("captures")
    if not isinstance(info, dict) or not isinstance(captures, list) or len(captures) != 1 or not isinstance(captures[0], dict):
        raise RowError("a recording does not have exactly one capture; export each as a recording of its own")
    capture = captures[0]
    if "core:dataset" in info or info.get("core:metadata_only") or capture.get("core:header_bytes") or capture.get("core:sample_start"):
        raise RowError("a recording is no plain SigMF: its samples must lie in its own .sigmf-data, from the first byte on")
    data = meta.with_suffix(".sigmf-data")
    num_samples = _count_samples(info, data)
    place = capture.get("core:geolocation") or info.get("core:geolocation")
    latitude, longitude, altitude_m = _take_point(place, "receiver")
    receiver_id = info.get(f"{_OWN}receiver_id") or Path(name.removesuffix(_META_SUFFIX)).name
    if not isinstance(receiver_id, str) or not 0 < len(receiver_id) <= 100 or not receiver_id.isprintable():
        raise RowError("a receiver's id is no text of 1 to 100 letters")
    start_ps = 0 if common_start else _take_start(capture)
    source = info.get(f"{_OWN}timing_source", "unknown")
    timing_source, sigma_ns = take_clock(source, info.get(f"{_OWN}timing_sigma_ns"), has_start=start_ps is not None)
    gain_db = take_gain(info.get(f"{_OWN}gain_db"))
    return Take(
        receiver_id=receiver_id,
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude_m,
        sample_rate_hz=take_rate(info.get("core:sample_rate")),
        frequency_hz=take_number(capture.get("core:frequency", 0.0), "the frequency in Hz", 0.0, MAX_FREQUENCY_HZ),
        num_samples=num_samples,
        start_ps=start_ps,
        gain_db=gain_db,
        is_calibrated=gain_db is not None and info.get(f"{_OWN}is_calibrated") is not False,
        clock_sigma_ns=sigma_ns,
        timing_source=timing_source,
        load=partial(_load, data, str(info["core:datatype"]), info.get("core:sha512")),
    )


def _count_samples(info: dict[str, Any], data: Path) -> int:
    if info.get("core:num_channels", 1) != 1:
        raise RowError("a recording has several channels; export each as a recording of its own")
    try:
        kind = dtype_info(str(info.get("core:datatype")))
    except (SigMFError, ValueError, KeyError, TypeError):
        raise RowError("a recording's core:datatype is unknown") from None
    if not kind["is_complex"]:
        raise RowError("a recording holds real samples; complex ones (IQ) are needed")
    if not data.is_file():
        raise RowError("the archive lacks the .sigmf-data file of a recording")
    size = data.stat().st_size
    if size == 0 or size % kind["sample_size"]:
        raise RowError("a .sigmf-data file does not hold whole samples of its datatype; it may be cut off")
    num_samples = int(size // kind["sample_size"])
    if num_samples > MAX_SAMPLES:
        raise RowError(f"a recording has more than {MAX_SAMPLES:,} samples; cut it to the transmission")
    return num_samples


def _load(data: Path, datatype: str, sha512: Any) -> ComplexArray:  # noqa: ANN401
    if sha512 is not None:
        with data.open("rb") as file:
            if hashlib.file_digest(file, "sha512").hexdigest() != sha512:
                raise RowError("a recording's samples do not fit its hash (core:sha512)")
    return read_samples(data, datatype)


def _take_start(capture: dict[str, Any]) -> int | None:
    text = capture.get("core:datetime")
    if text is None:
        return None
    if not isinstance(text, str):
        raise RowError("core:datetime is not a text")
    start_ps = parse_instant(text)
    fraction = capture.get(f"{_OWN}start_fraction_ns")
    if fraction is None:
        return start_ps
    # Our own field says what lies below the microsecond; digits there would say it twice.
    return start_ps // 10**6 * 10**6 + round(1e3 * take_number(fraction, "start_fraction_ns", 0.0, 1e3))


def _take_point(value: Any, what: str) -> tuple[float, float, float]:  # noqa: ANN401
    coordinates = value.get("coordinates") if isinstance(value, dict) else None
    if value is None:
        raise RowError(f"the {what}'s position is not given")
    if not isinstance(coordinates, list) or len(coordinates) not in (2, 3):
        raise RowError(f"the {what}'s position is no GeoJSON point")
    return take_place(coordinates[1], coordinates[0], coordinates[2] if len(coordinates) == 3 else 0.0, what)
