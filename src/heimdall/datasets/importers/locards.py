"""Importer of LocaRDS: measured times of arrival of aircraft messages (ADS-B, 1090 MHz) at crowd-sourced receivers.

Source: Schäfer, Strohmeier, Leonardi, Lenders, "LocaRDS: A Localization Reference Data Set", Sensors 21(16) 5516, 2021.
``sensors.csv`` gives the receivers, each ``set_*.csv`` one recording: ``measurements`` is ``[[sensor, toa_ns, rssi], ...]``.
The aircraft reports its own altitude, so a network may use it as an input.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.grouping import group_by_cell
from heimdall.datasets.importers.examples import ImportedExamples, TokenBlock, refuse_wide_networks
from heimdall.datasets.importers.sources import MAX_RECEIVERS, CsvTable, ImportLog, RowError, SourceFile, check_geodetic, parse_number
from heimdall.datasets.manifest import pick_features
from heimdall.domain.datasets import DatasetKind, ImportDatasetConfig, Receiver
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu

ACCURACY_RADIUS_M: Final = 300.0
"""m; twice the 68th percentile of plain multilateration on good geometry."""

SOURCE: Final = "LocaRDS, Schäfer, Strohmeier, Leonardi, Lenders, Sensors 21(16) 5516, 2021; CC BY-SA"
MAX_MEASUREMENTS: Final = 64
_MAX_TOA_NS: Final = 1e15
_MAX_SPREAD_NS: Final = 10e6
_SENSOR_COLUMNS: Final = ("serial", "latitude", "longitude", "height")
_SET_COLUMNS: Final = ("aircraft", "latitude", "longitude", "baroAltitude", "geoAltitude", "measurements")
_ALTITUDE_LIMITS_M: Final = (-500.0, 30_000.0)


@dataclass
class _Table:
    """Accepted messages as growing columns, and their measurements one after the other."""

    latitude: array[float] = field(default_factory=lambda: array("d"))
    longitude: array[float] = field(default_factory=lambda: array("d"))
    altitude: array[float] = field(default_factory=lambda: array("d"))
    session: array[int] = field(default_factory=lambda: array("i"))
    count: array[int] = field(default_factory=lambda: array("i"))
    sensor: array[int] = field(default_factory=lambda: array("q"))
    toa_offset_us: array[float] = field(default_factory=lambda: array("d"))
    rssi: array[float] = field(default_factory=lambda: array("d"))


Measurements = list[tuple[int, float, float]]


def read_locards(
    files: list[SourceFile], config: ImportDatasetConfig, log: ImportLog, progress: Callable[[float], None]
) -> ImportedExamples:
    """Read one or more recordings with one table of sensors.

    Parameters
    ----------
    files
        ``sensors.csv`` and recordings, recognised by their headers.
    config, log, progress
        As in :func:`heimdall.datasets.importers.powder.read_powder`.

    Raises
    ------
    InvalidInputError
        Where the sensors, a column or every row is missing or unusable.
    """
    sensors_file, recordings = _sort_files(files)
    sensors = _read_sensors(sensors_file, log)
    data = _Table()
    sessions: dict[tuple[int, str], int] = {}
    for number, recording in enumerate(recordings):
        table = CsvTable(recording, log)
        table.require(*_SET_COLUMNS)
        place = [table.header.index(column) for column in _SET_COLUMNS]
        seen: set[tuple[str, ...]] = set()
        for row, fields in table.rows():
            try:
                _take_row([fields[at] for at in place], number, sensors, data, sessions, seen, log)
            except RowError as error:
                log.reject(row, str(error))
        progress((number + 1) / len(recordings))
    log.refuse_if_empty()
    log.note("the source gives no dates; a session is one aircraft of one recording")
    return _assemble(data, sensors, config)


def _sort_files(files: list[SourceFile]) -> tuple[SourceFile, list[SourceFile]]:
    sensor_files: list[SourceFile] = []
    recordings: list[SourceFile] = []
    for file in files:
        header = CsvTable(file, ImportLog()).header
        (sensor_files if "serial" in header else recordings).append(file)
    if len(sensor_files) != 1 or not recordings:
        raise InvalidInputError(
            "A LocaRDS import needs exactly one sensors.csv and at least one set_*.csv; "
            f"{len(sensor_files)} and {len(recordings)} were given."
        )
    return sensor_files[0], recordings


def _read_sensors(file: SourceFile, log: ImportLog) -> dict[int, Receiver]:
    """Return the sensors with a position. Their bad rows are notes: they are receivers, not examples."""
    own = ImportLog()
    table = CsvTable(file, own)
    table.require(*_SENSOR_COLUMNS)
    place = [table.header.index(column) for column in _SENSOR_COLUMNS]
    sensors: dict[int, Receiver] = {}
    for row, fields in table.rows():
        try:
            serial, latitude, longitude, height = (parse_number(fields[at], _SENSOR_COLUMNS[n]) for n, at in enumerate(place))
            check_geodetic(latitude, longitude, "sensor")
            if latitude == longitude == 0:
                raise RowError("the sensor's position is unknown (0, 0)")
            if serial != int(serial) or int(serial) in sensors:
                raise RowError("serial is no whole number or was used before")
        except RowError as error:
            own.reject(row, str(error))
            continue
        name = f"sensor {int(serial)}"
        sensors[int(serial)] = Receiver(id=str(int(serial)), name=name, latitude=latitude, longitude=longitude, altitude_m=height)
    for reason, count in own.report().reasons.items():
        log.note(f"sensors left out, {reason}", count)
    if not sensors:
        raise InvalidInputError(f"'{file.name}' holds no sensor with a position.")
    return sensors


def _take_row(
    fields: list[str],
    recording: int,
    sensors: dict[int, Receiver],
    data: _Table,
    sessions: dict[tuple[int, str], int],
    seen: set[tuple[str, ...]],
    log: ImportLog,
) -> None:
    aircraft, *numbers, text = fields
    latitude, longitude = (parse_number(numbers[at], _SET_COLUMNS[1 + at]) for at in (0, 1))
    check_geodetic(latitude, longitude, "aircraft")
    altitude = _find_altitude(numbers[2], numbers[3], log)
    measurements = _parse_measurements(text)
    known = [entry for entry in measurements if entry[0] in sensors]
    if len(known) < len(measurements):
        log.note("measurements left out because their sensor has no known position", len(measurements) - len(known))
    if len(known) < 2:
        raise RowError("fewer than two measurements come from sensors with a known position")
    if tuple(fields) in seen:
        raise RowError("the row repeats an earlier row")
    seen.add(tuple(fields))
    arrivals = [toa for _, toa, _ in known]
    if max(arrivals) - min(arrivals) > _MAX_SPREAD_NS:
        raise RowError("the arrival times differ by more than 10 ms, so the sensors were not synchronized")
    first = min(arrivals)
    mean = sum(toa - first for toa in arrivals) / len(arrivals)
    for sensor, toa, rssi in known:
        data.sensor.append(sensor)
        data.toa_offset_us.append((toa - first - mean) * 1e-3)
        data.rssi.append(rssi)
    data.count.append(len(known))
    data.session.append(sessions.setdefault((recording, aircraft), len(sessions)))
    for column, value in ((data.latitude, latitude), (data.longitude, longitude), (data.altitude, altitude)):
        column.append(value)


def _find_altitude(baro: str, geo: str, log: ImportLog) -> float:
    """Prefer the satellite altitude (above the ellipsoid) to the barometric one."""
    if geo.strip():
        altitude = parse_number(geo, "geoAltitude")
    else:
        altitude = parse_number(baro, "baroAltitude")
        log.note("rows with barometric altitude only, which is up to some 100 m off")
    if not _ALTITUDE_LIMITS_M[0] <= altitude <= _ALTITUDE_LIMITS_M[1]:
        raise RowError("the aircraft's altitude is out of range")
    return altitude


def _parse_measurements(text: str) -> Measurements:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("measurements is not JSON") from None
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MEASUREMENTS:
        raise RowError(f"measurements is not a list of 1 to {MAX_MEASUREMENTS}")
    result: Measurements = []
    for entry in value:
        if not (isinstance(entry, list) and len(entry) == 3 and all(type(part) in (int, float) for part in entry)):
            raise RowError("a measurement is not [sensor, toa_ns, rssi]")
        sensor, toa, rssi = entry
        if not (isinstance(sensor, int) and 0 <= toa <= _MAX_TOA_NS and -1000 <= rssi <= 1000):
            raise RowError("a measurement's sensor, time or strength is out of range")
        result.append((sensor, float(toa), float(rssi)))
    if len({sensor for sensor, _, _ in result}) < len(result):
        raise RowError("a sensor is named twice in one row")
    return result


def _assemble(data: _Table, sensors: dict[int, Receiver], config: ImportDatasetConfig) -> ImportedExamples:
    used = np.unique(np.array(data.sensor))
    if len(used) > MAX_RECEIVERS:
        raise InvalidInputError(f"The files name {len(used)} sensors; at most {MAX_RECEIVERS} can be imported.")
    receivers = tuple(sensors[int(serial)] for serial in used)
    sites = np.array([(site.latitude, site.longitude, site.altitude_m) for site in receivers], np.float64)
    frame = frame_at_centroid(sites[:, 0], sites[:, 1])
    receiver_m = geodetic_to_enu(frame, *sites.T)
    altitude = np.array(data.altitude)
    target = geodetic_to_enu(frame, np.array(data.latitude), np.array(data.longitude), altitude)
    refuse_wide_networks(target, receiver_m)
    count = np.array(data.count, np.int64)
    tokens = _Tokens(
        start=np.concatenate([[0], np.cumsum(count)]),
        num_tokens=int(count.max()),
        receiver=np.searchsorted(used, np.array(data.sensor)),
        rssi=np.array(data.rssi),
        toa_offset_us=np.array(data.toa_offset_us),
        altitude_km=altitude / 1e3,
        receiver_m=receiver_m,
    )
    return ImportedExamples(
        kind=DatasetKind.LOCARDS,
        frame=frame,
        receivers=receivers,
        features=pick_features("heard", "rssi_dbm", "toa_offset_us", "rx_east_km", "rx_north_km", "rx_up_km", "tx_up_km"),
        num_tokens=tokens.num_tokens,
        target=target[:, :2],
        target_up=target[:, 2],
        time=np.zeros(len(target)),
        groupings={
            "session": partial(np.array, data.session, np.int32),
            "cell": partial(group_by_cell, target[:, :2], config.cell_m),
        },
        tokens=tokens.block,
        accuracy_radius_m=ACCURACY_RADIUS_M,
        source=SOURCE,
    )


@dataclass(frozen=True)
class _Tokens:
    """Measurements of example n are ``start[n]`` to ``start[n + 1]``; the receivers that heard come first, the rest is padding."""

    start: npt.NDArray[np.int64]
    num_tokens: int
    receiver: npt.NDArray[np.int64]
    rssi: npt.NDArray[np.float64]
    toa_offset_us: npt.NDArray[np.float64]
    altitude_km: npt.NDArray[np.float64]
    receiver_m: npt.NDArray[np.float64]

    def block(self, rows: slice) -> TokenBlock:
        """Return the tokens of some examples."""
        begin, end = self.start[:-1][rows], self.start[1:][rows]
        place = begin[:, None] + np.arange(self.num_tokens)
        mask = place < end[:, None]
        place = np.where(mask, place, 0)
        index = np.where(mask, self.receiver[place], 0)
        site = np.where(mask[..., None], self.receiver_m[index], 0.0)
        up = np.broadcast_to(self.altitude_km[rows][:, None], mask.shape)
        columns = [mask, self.rssi[place], self.toa_offset_us[place], *(np.moveaxis(site, -1, 0) / 1e3), up]
        features = np.where(mask[..., None], np.stack(columns, axis=-1), 0.0)
        return TokenBlock(features.astype(np.float32), mask, index.astype(np.int16), site.astype(np.float32))
