"""Events of ``recordings.json``: what WAV and raw files do not say of themselves, in one small document beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from heimdall.datasets.importers.archives import Member, Unpacked
from heimdall.datasets.importers.events import (
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
from heimdall.datasets.importers.sigmf_events import read_document
from heimdall.datasets.importers.sources import ImportLog, RowError
from heimdall.datasets.iq_files import read_rtl_sdr, scan_iq_wav
from heimdall.domain.errors import InvalidInputError

LIST_NAME: Final = "recordings.json"
_TOP: Final = {"receivers", "events"}
_RECEIVER: Final = {"latitude", "longitude", "altitude_m", "gain_db", "timing_source", "timing_sigma_ns"}
_EVENT: Final = {"name", "frequency_hz", "start", "transmitter", "recordings"}
_PLACE: Final = {"latitude", "longitude", "altitude_m"}
_RECORDING: Final = {"receiver", "file", "sample_rate_hz", "center_hz", "start", "gain_db"}
_GPS_EPOCH_PS: Final = 315_964_800 * 10**12
_LEAP_PS: Final = 18 * 10**12
"""GPS is 18 s ahead of UTC since 2017."""
_WEEK_PS: Final = 7 * 86_400 * 10**12


def read_list(member: Member, archive: Unpacked, log: ImportLog) -> list[RecordedEvent | RowError]:
    """Read what the document says of every event, and the headers of its files; an event that cannot be used is its error.

    Raises
    ------
    InvalidInputError
        Where the document itself is of no use.
    """
    try:
        document = _take_object(read_document(member.path), _TOP, "recordings.json")
        receivers, events = document.get("receivers"), document.get("events")
        if not isinstance(receivers, dict) or not isinstance(events, list) or not events:
            raise RowError("it needs 'receivers' (an object) and 'events' (a list)")
    except RowError as error:
        raise InvalidInputError(f"'{LIST_NAME}' cannot be used: {error}. See docs/howto/use-your-recordings.md.") from error
    found: list[RecordedEvent | RowError] = []
    for event in events:
        try:
            found.append(_read_event(event, receivers, member, archive, log))
        except RowError as error:
            found.append(error)
    return found


def _read_event(value: Any, receivers: dict[str, Any], member: Member, archive: Unpacked, log: ImportLog) -> RecordedEvent:  # noqa: ANN401
    event = _take_object(value, _EVENT, "an event")
    if event.get("transmitter") is None:
        raise RowError("the transmitter's position is not given")
    transmitter = _take_object(event["transmitter"], _PLACE, "a transmitter")
    place = take_place(transmitter.get("latitude"), transmitter.get("longitude"), transmitter.get("altitude_m"), "transmitter")
    frequency_hz = take_number(event.get("frequency_hz"), "the event's frequency_hz", 1.0, MAX_FREQUENCY_HZ)
    recordings = event.get("recordings")
    if not isinstance(recordings, list):
        raise RowError("the event has no list of recordings")
    takes: dict[str, Take] = {}
    reason = "it names none"
    for recording in recordings:
        try:
            take = _read_recording(recording, event, receivers, member, archive, log)
        except (RowError, InvalidInputError) as error:
            reason = _say(error)
            log.note(f"recordings left out: {reason}")
            continue
        if take.receiver_id in takes:
            raise RowError("two recordings of the event are of the same receiver")
        takes[take.receiver_id] = take
    if not takes:
        raise RowError(f"not one of the event's recordings can be used: {reason}")
    starts = [take.start_ps for take in takes.values() if take.start_ps is not None and take.start_ps > 2 * _WEEK_PS]
    return RecordedEvent(
        name=str(event.get("name", ""))[:100],
        takes=tuple(takes.values()),
        latitude=place[0],
        longitude=place[1],
        altitude_m=place[2],
        time_s=max(starts) / 1e12 if starts else 0.0,
        frequency_hz=frequency_hz,
    )


def _read_recording(
    value: Any,  # noqa: ANN401
    event: dict[str, Any],
    receivers: dict[str, Any],
    member: Member,
    archive: Unpacked,
    log: ImportLog,
) -> Take:
    recording = _take_object(value, _RECORDING, "a recording")
    name, file_name = recording.get("receiver"), recording.get("file")
    if not isinstance(name, str) or name not in receivers:
        raise RowError("a recording's receiver is not among the receivers; add it there with its latitude and longitude")
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise RowError("a receiver's name is no text of 1 to 100 letters")
    receiver = _take_object(receivers[name], _RECEIVER, "a receiver")
    if receiver.get("latitude") is None or receiver.get("longitude") is None:
        raise RowError("a receiver has no position; give its latitude and longitude in 'receivers'")
    latitude, longitude, altitude_m = take_place(
        receiver.get("latitude"), receiver.get("longitude"), receiver.get("altitude_m"), "receiver"
    )
    path = archive.find_beside(member, file_name) if isinstance(file_name, str) else None
    if path is None:
        raise RowError("the archive lacks a file that recordings.json names")
    has_clock = "start" in recording
    text = recording.get("start", event.get("start"))
    start_ps = parse_instant(text) if isinstance(text, str) else None
    if path.suffix == ".wav":
        wav = scan_iq_wav(path)
        rate_hz, num_samples = wav.sample_rate_hz, wav.num_samples
        load = partial(_load_wav, path)
        if wav.gps is not None:
            has_clock = True
            rate_hz, start_ps = wav.gps.sample_rate_hz, _place_in_week(wav.gps.week_ns, start_ps)
        elif wav.has_no_fix and receiver.get("timing_source") in ("gps", None):
            has_clock = False
            log.note("recordings of a Kiwi without a GPS fix, which have no clock that counts; wait for the fix before you record")
    else:
        if recording.get("sample_rate_hz") is None:
            raise RowError("a raw file does not say its sample rate; give sample_rate_hz beside it in recordings.json")
        rate_hz, num_samples, load = take_rate(recording.get("sample_rate_hz")), path.stat().st_size // 2, partial(read_rtl_sdr, path)
        if path.stat().st_size % 2 or num_samples == 0:
            raise RowError("a raw file does not hold whole pairs of bytes, as rtl_sdr writes them; copy it again, whole")
    if num_samples > MAX_SAMPLES:
        raise RowError(f"a recording has more than {MAX_SAMPLES:,} samples; cut it to the transmission")
    timing_source, sigma_ns = take_clock(
        receiver.get("timing_source", "unknown"), receiver.get("timing_sigma_ns"), has_start=has_clock and start_ps is not None
    )
    gain_db = take_gain(recording.get("gain_db", receiver.get("gain_db")))
    return Take(
        receiver_id=name,
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude_m,
        sample_rate_hz=take_rate(rate_hz),
        frequency_hz=take_number(recording.get("center_hz", event.get("frequency_hz")), "center_hz", 0.0, MAX_FREQUENCY_HZ),
        num_samples=num_samples,
        # A start that the event alone gives is when somebody pressed a button, not when this receiver's first sample was taken.
        start_ps=start_ps if has_clock else None,
        gain_db=gain_db,
        is_calibrated=gain_db is not None,
        clock_sigma_ns=sigma_ns,
        timing_source=timing_source,
        load=load,
    )


def _load_wav(path: Path) -> ComplexArray:
    return scan_iq_wav(path).read()


def _place_in_week(week_ns: int, near_ps: int | None) -> int:
    """Return a time within the GPS week as ps since 1970 (UTC): in the week next to ``near_ps``, or in the first of all."""
    start_ps = _GPS_EPOCH_PS + week_ns * 1000 - _LEAP_PS
    if near_ps is None:
        return week_ns * 1000
    return start_ps + round((near_ps - start_ps) / _WEEK_PS) * _WEEK_PS


def _take_object(value: Any, known: set[str], what: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise RowError(f"{what} is not a JSON object")
    strange = sorted(str(key) for key in value if key not in known)
    if strange:
        raise RowError(f"{what} has the unknown field '{strange[0][:40]}'; known are {', '.join(sorted(known))}")
    return value


def _say(error: RowError | InvalidInputError) -> str:
    """Return a reason without the name of one file, so that equal faults count together."""
    text = str(error) if isinstance(error, RowError) else error.detail
    head, quote, rest = text.partition("' ")
    return (f"a file {rest}" if quote and head.startswith("'") else text).rstrip(".")
