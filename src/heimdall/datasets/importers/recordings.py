"""Importer of recordings: an archive of SigMF collections, or of WAV and raw files with ``recordings.json``.

Every event becomes one example of the capture kind: cut to one length, brought to one rate, quantized to 8 bits as simulated captures are
(ADR 0013) and measured by the same code. A receiver without a clock worth a search counts by its strength alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.grouping import group_by_cell, group_by_day, group_by_session
from heimdall.datasets.importers.archives import unpack
from heimdall.datasets.importers.events import RecordedEvent, Take
from heimdall.datasets.importers.examples import ImportedExamples, TokenBlock, refuse_wide_networks
from heimdall.datasets.importers.recording_list import LIST_NAME, read_list
from heimdall.datasets.importers.sigmf_events import COLLECTION_SUFFIX, read_collection
from heimdall.datasets.importers.sources import ImportLog, RowError, SourceFile
from heimdall.datasets.manifest import CAPTURE_FEATURES, RECEIVER_FEATURES, IqFormat, pick_features
from heimdall.domain.datasets import (
    MAX_CAPTURE_CLOCK_NS,
    MAX_CAPTURE_SAMPLES,
    MAX_IQ_BYTES,
    MIN_CAPTURE_SAMPLES,
    DatasetKind,
    ImportDatasetConfig,
    Receiver,
)
from heimdall.domain.errors import HeimdallError, InvalidInputError, StorageFullError
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu
from heimdall.rf.measurements import FULL_SCALE, Measured, Search, measure_event, reach_of
from heimdall.rf.resampling import decimate, read_at, tune

MAX_RECORDING_RECEIVERS: Final = 64
ACCURACY_RADIUS_M: Final = 1000.0
SOURCE: Final = "Recordings of your own, measured by Heimdall; their licence is yours to know"

SIMULATED_SOURCE: Final = "Simulated captures, exported and imported again"
HALF_SIMULATED_SOURCE: Final = "Recordings and simulated captures together, measured by Heimdall; the recordings' licence is yours to know"

_SIMULATED: Final = "simulated"
_RATE_SHARE: Final = 1.28
"""Sample rate over channel, as simulated captures have it: the edges show the noise."""
_LEAST_RATE_SHARE: Final = 1.06
_MAX_SIGMAS: Final = 6.0
_MOVED_M: Final = 50.0
"""m; a receiver that stood farther apart in two events moves."""
_LEVEL: Final = 10 ** (-12 / 20)
"""RMS of the loudest tenth, as the simulated gain control sets it."""
_TINY: Final = 1e-6

ComplexArray = npt.NDArray[np.complex64]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class _Plan:
    """What all events of the data set have in common."""

    rate_hz: float
    num_samples: int
    search: Search
    receiver_ids: tuple[str, ...]


def read_recordings(
    files: list[SourceFile], config: ImportDatasetConfig, log: ImportLog, progress: Progress, *, scratch: Path
) -> ImportedExamples:
    """Read archives of recordings.

    Parameters
    ----------
    files, config, log, progress
        As in :func:`heimdall.datasets.importers.powder.read_powder`; rows are events.
    scratch
        An existing, empty folder to unpack into, which must stay until the examples are written.

    Raises
    ------
    InvalidInputError
        Where an archive or every event is unusable, or the samples would take too much room.
    """
    events = _find_events(files, log, scratch, lambda share: progress(0.3 * share))
    plan, chosen = _plan(events, config, log)
    log.refuse_if_empty()
    stored = scratch / "samples"
    taken: list[RecordedEvent] = []
    parts: list[Measured] = []
    with stored.open("wb") as samples:
        for number, (row, event) in enumerate(chosen):
            try:
                measured, iq, later_s = _measure(event, plan)
            except (RowError, HeimdallError) as error:
                log.reject(row, str(error))
                continue
            taken.append(replace(event, time_s=event.time_s + later_s) if event.time_s > 0 else event)
            parts.append(measured)
            if config.keep_iq:
                _write(samples, iq)
            progress(0.3 + 0.7 * (number + 1) / len(chosen))
    log.refuse_if_empty()
    return _arrange(taken, Measured.join(parts), plan, config, stored if config.keep_iq else None)


def _write(target: BinaryIO, iq: npt.NDArray[np.int8]) -> None:
    try:
        target.write(iq.tobytes())
        target.flush()
    except OSError as error:
        raise StorageFullError(
            f"The samples could not be written ({error.strerror}). Free some disk space and import them again."
        ) from error


def _find_events(files: list[SourceFile], log: ImportLog, scratch: Path, progress: Progress) -> list[tuple[int, RecordedEvent]]:
    found: list[tuple[int, RecordedEvent]] = []
    for number, file in enumerate(files):
        folder = scratch / f"archive-{number}"
        folder.mkdir()
        archive = unpack(file, folder, lambda share, number=number: progress((number + share) / len(files)))  # type: ignore[misc]
        if archive.num_skipped:
            log.note("files passed over that are no recordings", archive.num_skipped)
        collections = archive.list_suffix(COLLECTION_SUFFIX)
        lists = [member for member in archive.list_suffix(".json") if member.name.rsplit("/", 1)[-1] == LIST_NAME]
        if not collections and not lists:
            raise InvalidInputError(
                f"'{file.name}' holds neither a .sigmf-collection nor {LIST_NAME}, which say what belongs together and where the "
                "transmitter was. See docs/howto/use-your-recordings.md."
            )
        for member in collections:
            row = log.start_row()
            try:
                found.append((row, read_collection(member, archive, log)))
            except RowError as error:
                log.reject(row, str(error))
        for member in lists:
            for event in read_list(member, archive, log):
                row = log.start_row()
                if isinstance(event, RowError):
                    log.reject(row, str(event))
                else:
                    found.append((row, event))
        if unasked := archive.count_unasked():
            log.note("recordings left out that no collection or list names", unasked)
    return found


def _plan(
    events: list[tuple[int, RecordedEvent]], config: ImportDatasetConfig, log: ImportLog
) -> tuple[_Plan, list[tuple[int, RecordedEvent]]]:
    """Choose rate, length and search; events that do not allow them are rejected."""
    bandwidth_hz = config.bandwidth_hz
    fitting = []
    for row, event in events:
        try:
            _check_channel(event, bandwidth_hz)
            fitting.append((row, event))
        except RowError as error:
            log.reject(row, str(error))
    log.refuse_if_empty()
    rates = [take.sample_rate_hz for _, event in fitting for take in event.takes]
    wanted_hz, lowest_hz = _RATE_SHARE * bandwidth_hz, min(rates)
    rate_hz = lowest_hz if lowest_hz == max(rates) and lowest_hz <= 2 * wanted_hz else min(wanted_hz, lowest_hz)
    lengths = {row: math.floor(_span_s(event) * rate_hz + _TINY) for row, event in fitting}
    wanted = max(MIN_CAPTURE_SAMPLES, round(config.duration_s * rate_hz)) if config.duration_s else MIN_CAPTURE_SAMPLES
    chosen = []
    for row, event in fitting:
        if lengths[row] < wanted:
            log.reject(row, f"the recordings have less than {wanted / rate_hz:.3g} s in common")
        else:
            chosen.append((row, event))
    log.refuse_if_empty()
    num_samples = min(wanted if config.duration_s else min(lengths[row] for row, _ in chosen), MAX_CAPTURE_SAMPLES)
    log.note(f"of each event {num_samples / rate_hz:.4g} s at {rate_hz:.6g} samples/s, where it is loudest")
    if uncalibrated := sum(not take.is_calibrated for _, event in chosen for take in event.takes):
        log.note("recordings without gain_db, whose strength is in dB of full scale", uncalibrated)
    if untimed := sum(not _is_timed(take) for _, event in chosen for take in event.takes):
        log.note("recordings whose clock tells no time of arrival, used for their strength alone", untimed)
    # As they first appear: what was exported comes back in its order.
    ids = tuple(dict.fromkeys(take.receiver_id for _, event in chosen for take in event.takes))
    if len(ids) > MAX_RECORDING_RECEIVERS:
        raise InvalidInputError(
            f"The recordings are of {len(ids)} receivers; at most {MAX_RECORDING_RECEIVERS} are allowed. Import by region."
        )
    size = 2 * len(chosen) * len(ids) * num_samples
    if config.keep_iq and size > MAX_IQ_BYTES:
        raise InvalidInputError(
            f"The samples would take {size / 1e9:.0f} GB; at most {MAX_IQ_BYTES / 1e9:.0f} GB are allowed: give a shorter duration_s, or "
            "keep features only.",
            field="duration_s",
        )
    return _Plan(rate_hz, num_samples, _search(chosen, config), ids), chosen


def _check_channel(event: RecordedEvent, bandwidth_hz: float) -> None:
    if event.frequency_hz is None and len({take.frequency_hz for take in event.takes}) > 1:
        raise RowError("the recordings are of different frequencies, and the channel is not named; record one frequency an event")
    for take in event.takes:
        if take.sample_rate_hz < _LEAST_RATE_SHARE * bandwidth_hz:
            raise RowError(
                "a recording is not wider than the channel, so there is no noise to measure beside it; give a smaller bandwidth_hz"
            )
        if abs(_offset_hz(event, take)) + _LEAST_RATE_SHARE * bandwidth_hz / 2 > take.sample_rate_hz / 2:
            raise RowError("the channel does not lie within a recording: frequency, center_hz and sample rate do not fit; correct them")


def _offset_hz(event: RecordedEvent, take: Take) -> float:
    return 0.0 if event.frequency_hz is None else event.frequency_hz - take.frequency_hz


def _is_timed(take: Take) -> bool:
    return take.start_ps is not None and take.clock_sigma_ns <= MAX_CAPTURE_CLOCK_NS


def _span_s(event: RecordedEvent) -> float:
    """Return how long all recordings of an event ran together."""
    return max(0.0, min(begin + take.num_samples / take.sample_rate_hz for begin, take in zip(_begins_s(event), event.takes, strict=True)))


def _begins_s(event: RecordedEvent) -> list[float]:
    """Return when each recording begins after the last one of them did: zero or less, s. Without a clock, it began then."""
    starts = [take.start_ps for take in event.takes if _is_timed(take)]
    last = max((start for start in starts if start is not None), default=0)
    return [(take.start_ps - last) / 1e12 if _is_timed(take) and take.start_ps is not None else 0.0 for take in event.takes]


def _search(chosen: list[tuple[int, RecordedEvent]], config: ImportDatasetConfig) -> Search:
    takes = {take.receiver_id: take for _, event in chosen for take in event.takes}.values()
    latitude, longitude, altitude = np.array([(take.latitude, take.longitude, take.altitude_m) for take in takes]).T
    place_m = geodetic_to_enu(frame_at_centroid(latitude, longitude), latitude, longitude, altitude)
    sigma_ns = max((take.clock_sigma_ns for _, event in chosen for take in event.takes if _is_timed(take)), default=0.0)
    own_s = reach_of(place_m, _MAX_SIGMAS * sigma_ns * 1e-9, SPEED_OF_LIGHT_M_S)
    return Search(
        bandwidth_hz=config.bandwidth_hz,
        max_delay_s=max(event.max_delay_s for _, event in chosen) or max(own_s, _TINY),
        max_frequency_hz=max(event.max_frequency_hz for _, event in chosen) or config.max_frequency_hz,
    )


def _measure(event: RecordedEvent, plan: _Plan) -> tuple[Measured, npt.NDArray[np.int8], float]:
    """Return one event over all receivers of the data set, [1, R], absent ones zeros, and how long after the last start it begins, s."""
    spans, count = _read_common(event, plan), plan.num_samples
    first = _loudest(spans, count)
    place = np.array([plan.receiver_ids.index(take.receiver_id) for take in event.takes])
    quantized = [_quantize(span[first : first + count]) for span in spans]
    gain_db = np.array([(take.gain_db or 0.0) + extra for take, (_, extra) in zip(event.takes, quantized, strict=True)])
    timed = np.array([_is_timed(take) for take in event.takes])
    iq = np.stack([samples for samples, _ in quantized])
    found = measure_event(iq, plan.rate_hz, gain_db, plan.search, is_timed=timed, keep_iq=True)
    if not all(np.isfinite(values).all() for values in found.features):
        raise RowError("a recording holds no noise beside the signal, so nothing can be measured against it")
    laid_out = found.lay_out(place, len(plan.receiver_ids))
    assert laid_out.iq is not None
    return replace(laid_out, iq=None), laid_out.iq, first / plan.rate_hz


def _read_common(event: RecordedEvent, plan: _Plan) -> list[ComplexArray]:
    """Return what all receivers recorded together, at the common rate, from one instant of their clocks on."""
    count = max(plan.num_samples, min(math.floor(_span_s(event) * plan.rate_hz + _TINY), 64 * MAX_CAPTURE_SAMPLES))
    spans = []
    for begin_s, take in zip(_begins_s(event), event.takes, strict=True):
        samples = take.load()
        if len(samples) != take.num_samples or not np.isfinite(samples.view(np.float32)).all():
            raise RowError("a recording's samples are not all there, or not finite numbers")
        if not samples.any():
            raise RowError("a recording holds zeros only")
        factor = max(1, int(take.sample_rate_hz // (2 * plan.rate_hz)))
        channel = decimate(tune(samples, _offset_hz(event, take), take.sample_rate_hz), factor)
        rate_hz = take.sample_rate_hz / factor
        spans.append(read_at(channel, -begin_s * rate_hz, rate_hz / plan.rate_hz, count))
    return spans


def _loudest(spans: list[ComplexArray], count: int) -> int:
    """Return where a window of ``count`` samples is loudest, every receiver's power counted by its own mean."""
    total = np.zeros(len(spans[0]) + 1)
    for span in spans:
        power = np.square(np.abs(span)).astype(np.float64)
        total[1:] += np.cumsum(power / max(float(power.mean()), 1e-30))
    return int(np.argmax(total[count:] - total[: len(total) - count] > (1 - _TINY) * (total[count:] - total[: len(total) - count]).max()))


def _quantize(samples: ComplexArray) -> tuple[ComplexArray, float]:
    """Return the samples in steps of 1 / 128 and the gain that this took, dB; what has 8 bits already stays as it is."""
    steps = samples.view(np.float32) * np.float32(FULL_SCALE)
    if np.array_equal(steps, np.rint(steps)) and steps.min() >= -FULL_SCALE and steps.max() < FULL_SCALE:
        return samples, 0.0
    block = max(1, len(samples) // 10)
    power = np.square(np.abs(samples[: len(samples) // block * block])).reshape(-1, block).mean(axis=1).max()
    if power <= 0:
        raise RowError("a recording holds zeros only where the others are loudest")
    gain = _LEVEL / math.sqrt(float(power))
    scaled = np.clip(np.rint(steps * np.float32(gain)), -FULL_SCALE, FULL_SCALE - 1) / np.float32(FULL_SCALE)
    return scaled.astype(np.float32).view(np.complex64), 20 * math.log10(gain)


def _arrange(
    events: list[RecordedEvent], measured: Measured, plan: _Plan, config: ImportDatasetConfig, stored: Path | None
) -> ImportedExamples:
    num_examples, num_receivers = len(events), len(plan.receiver_ids)
    mask, sigma_us = np.zeros((num_examples, num_receivers), bool), np.zeros((num_examples, num_receivers))
    where = np.zeros((num_examples, num_receivers, 3))
    for row, event in enumerate(events):
        for take in event.takes:
            column = plan.receiver_ids.index(take.receiver_id)
            mask[row, column], sigma_us[row, column] = True, take.clock_sigma_ns * 1e-3
            where[row, column] = take.latitude, take.longitude, take.altitude_m
    # Of each receiver the place of its first event; the frame stands in their middle.
    first = np.array([where[int(np.argmax(mask[:, column])), column] for column in range(num_receivers)])
    frame = frame_at_centroid(first[:, 0], first[:, 1])
    home_m = geodetic_to_enu(frame, *first.T)
    place_m = geodetic_to_enu(frame, *np.moveaxis(where, -1, 0))
    is_moving = np.asarray((np.where(mask, np.linalg.norm(place_m - home_m, axis=2), 0.0) > _MOVED_M).any(axis=0), bool)
    place_m = np.where(mask[..., None], np.where(is_moving[:, None], place_m, home_m), 0.0)
    target = geodetic_to_enu(frame, *np.array([(event.latitude, event.longitude, event.altitude_m) for event in events]).T)
    refuse_wide_networks(target, place_m)
    time_s = np.array([event.time_s for event in events])
    columns = [*measured.features, sigma_us, *(np.moveaxis(place_m, -1, 0) / 1e3)]
    features = np.where(mask[..., None], np.stack(columns, axis=-1), 0.0).astype(np.float32)
    index = np.where(mask, np.arange(num_receivers), 0).astype(np.int16)
    samples = None
    if stored is not None:
        samples = np.memmap(stored, np.int8, "r", shape=(num_examples, num_receivers, plan.num_samples, 2))
    groupings = {"cell": lambda: group_by_cell(target[:, :2], config.cell_m)}
    if (time_s > 0).all():
        groupings |= {"day": lambda: group_by_day(time_s), "session": lambda: group_by_session(time_s)}
    return ImportedExamples(
        kind=DatasetKind.RECORDINGS,
        frame=frame,
        receivers=tuple(_describe(name, first[column], moves=bool(is_moving[column])) for column, name in enumerate(plan.receiver_ids)),
        features=pick_features(*CAPTURE_FEATURES, *RECEIVER_FEATURES),
        num_tokens=num_receivers,
        target=target[:, :2],
        target_up=target[:, 2],
        time=time_s,
        groupings=groupings,
        tokens=lambda rows: TokenBlock(
            features[rows], mask[rows], index[rows], place_m[rows].astype(np.float32), None if samples is None else np.array(samples[rows])
        ),
        accuracy_radius_m=ACCURACY_RADIUS_M,
        source=_describe_source([take.timing_source == _SIMULATED for event in events for take in event.takes]),
        iq=IqFormat(
            sample_rate_hz=plan.rate_hz,
            bandwidth_hz=plan.search.bandwidth_hz,
            max_delay_s=plan.search.max_delay_s,
            max_frequency_hz=plan.search.max_frequency_hz,
            timing_sources=tuple(_join_sources(events, name) for name in plan.receiver_ids),
            uncalibrated=tuple(sorted({take.receiver_id for event in events for take in event.takes if not take.is_calibrated})),
        )
        if stored is not None
        else None,
        num_samples=plan.num_samples if stored is not None else 0,
        carrier_hz=None if stored is None else np.array([_carrier_hz(event) for event in events]),
    )


def _carrier_hz(event: RecordedEvent) -> float:
    return event.takes[0].frequency_hz if event.frequency_hz is None else event.frequency_hz


def _join_sources(events: list[RecordedEvent], receiver_id: str) -> str:
    """Return what a receiver's clock is called in all its recordings; what is simulated in part is not passed on as recorded."""
    names = {take.timing_source for event in events for take in event.takes if take.receiver_id == receiver_id}
    return _SIMULATED if _SIMULATED in names else names.pop() if len(names) == 1 else "recorded"


def _describe_source(is_simulated: list[bool]) -> str:
    return SIMULATED_SOURCE if all(is_simulated) else HALF_SIMULATED_SOURCE if any(is_simulated) else SOURCE


def _describe(name: str, place: npt.NDArray[np.float64], *, moves: bool) -> Receiver:
    if moves:
        return Receiver(id=name, name=name, is_moving=True)
    return Receiver(id=name, name=name, latitude=float(place[0]), longitude=float(place[1]), altitude_m=float(place[2]))
