"""Importer of POWDER: measured RSSI of one handheld radio on fixed software radios and on moving buses.

Source: "Wireless Device Localization Dataset", University of Utah, POWDER testbed, MIT licence. A column with a
receiver's name holds RSSI in dB (uncalibrated, ``-101`` = not heard); a bus has three, ``*_rss *_x *_y``, where x is
latitude, y longitude and -1 (or 0) says that the bus was not there. ``location_coordinates.json`` gives the fixed
sites; it is a Python dict with tuples, not JSON.
"""

from __future__ import annotations

import ast
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.grouping import group_by_cell, group_by_day, group_by_session
from heimdall.datasets.importers.examples import ImportedExamples, TokenBlock
from heimdall.datasets.importers.sources import (
    MAX_RECEIVERS,
    CsvTable,
    ImportLog,
    RowError,
    SourceFile,
    check_geodetic,
    parse_number,
)
from heimdall.datasets.manifest import pick_features
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, ImportDatasetConfig, Receiver
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import geodetic_to_enu

FRAME: Final = CoordinateFrame(latitude=40.7645, longitude=-111.8405)
"""Origin that the measured baselines of this data set are given for."""

ACCURACY_RADIUS_M: Final = 200.0
"""m; the best published-style errors here have their 68th percentile near it."""

SOURCE: Final = "Wireless Device Localization Dataset, University of Utah, POWDER testbed; MIT licence"
NOT_HEARD_DB: Final = -101.0
_ABSENT_POSITIONS: Final = (-1.0, 0.0)
_MAX_DISTANCE_DEG: Final = 0.5
_MAX_COORDINATES_BYTES: Final = 1_000_000
_POSITION_COLUMNS: Final = ("tx_x_coord", "tx_y_coord")
_MAX_RSSI_DB: Final = 100.0


@dataclass(frozen=True)
class _Column:
    """Where a receiver's numbers stand in a row."""

    receiver: int
    rssi: int
    latitude: int | None
    longitude: int | None


@dataclass
class _Table:
    """Accepted rows as growing columns; tokens of a row follow each other."""

    time: array[float]
    latitude: array[float]
    longitude: array[float]
    rssi: array[float]
    rx_latitude: array[float]
    rx_longitude: array[float]


def read_powder(
    files: list[SourceFile], config: ImportDatasetConfig, log: ImportLog, progress: Callable[[float], None]
) -> ImportedExamples:
    """Read one or more months with one coordinates file.

    Parameters
    ----------
    files
        CSV files, and the coordinates file (recognised by its content, which begins with ``{``).
    config
        Cell size and split.
    log
        Where rejected rows are written down.
    progress
        Told the share of bytes read.

    Raises
    ------
    InvalidInputError
        Where a column, the coordinates or every row is missing or unusable.
    """
    coordinates, tables = _sort_files(files)
    parsed = [CsvTable(file, log) for file in tables]
    names = _receiver_names(parsed)
    receivers = _make_receivers(names, coordinates)
    data = _Table(*(array("d") for _ in range(6)))
    seen: dict[tuple[float, float, float], int] = {}
    for number, table in enumerate(parsed):
        columns = _find_columns(table, list(names))
        for row, fields in table.rows():
            try:
                _take_row(fields, table.header, columns, receivers, data, seen, row, log)
            except RowError as error:
                log.reject(row, str(error))
        progress((number + 1) / len(parsed))
    log.refuse_if_empty()
    log.note("times carry no zone in the source and are taken as UTC")
    return _assemble(data, receivers, config)


def parse_coordinates(text: str) -> dict[str, tuple[float, float] | None]:
    """Read the coordinates file: a Python literal, name to (latitude, longitude) or None.

    Raises
    ------
    InvalidInputError
        Where the text is no such literal; nothing in it is ever run.
    """
    if len(text) > _MAX_COORDINATES_BYTES:
        raise InvalidInputError("The coordinates file is too large to be one.")
    try:
        value: Any = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InvalidInputError("The coordinates file is not a Python dict of name to (latitude, longitude) or None.") from error
    if not isinstance(value, dict) or len(value) > MAX_RECEIVERS:
        raise InvalidInputError(f"The coordinates file must be a dict of at most {MAX_RECEIVERS} receivers.")
    return {str(name): _parse_site(name, site) for name, site in value.items()}


def _parse_site(name: object, site: object) -> tuple[float, float] | None:
    if site is None:
        return None
    if isinstance(site, tuple | list) and len(site) == 2 and all(isinstance(part, int | float) for part in site):
        latitude, longitude = float(site[0]), float(site[1])
        if -90 <= latitude <= 90 and -180 <= longitude <= 180:
            return latitude, longitude
    raise InvalidInputError(f"The coordinates of '{str(name)[:100]}' are not (latitude, longitude) in degrees.")


def _sort_files(files: list[SourceFile]) -> tuple[dict[str, tuple[float, float] | None], list[SourceFile]]:
    coordinate_files: list[SourceFile] = []
    tables: list[SourceFile] = []
    for file in files:
        with file.path.open("rb") as stream:
            is_literal = stream.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        (coordinate_files if is_literal else tables).append(file)
    if not tables:
        raise InvalidInputError("No CSV file was given; a POWDER import needs one or more, and location_coordinates.json.")
    if len(coordinate_files) != 1:
        raise InvalidInputError(f"A POWDER import needs exactly one location_coordinates.json; {len(coordinate_files)} were given.")
    with coordinate_files[0].path.open(encoding="utf-8-sig", errors="replace") as text:
        return parse_coordinates(text.read(_MAX_COORDINATES_BYTES + 1)), tables


def _receiver_names(tables: list[CsvTable]) -> dict[str, bool]:
    """Return receiver names in order of appearance, and whether each moves."""
    names: dict[str, bool] = {}
    for table in tables:
        table.require("timestamp", *_POSITION_COLUMNS)
        header = set(table.header)
        for column in table.header:
            stem = column.removesuffix("_rss")
            if column.endswith("_rss"):
                table.require(f"{stem}_x", f"{stem}_y")
                names[stem] = True
            elif column not in ("timestamp", *_POSITION_COLUMNS) and f"{column[:-2]}_rss" not in header:
                names.setdefault(column, False)
    if not 1 <= len(names) <= MAX_RECEIVERS:
        raise InvalidInputError(f"The files name {len(names)} receivers; 1 to {MAX_RECEIVERS} can be imported.")
    return names


def _make_receivers(names: dict[str, bool], coordinates: dict[str, tuple[float, float] | None]) -> tuple[Receiver, ...]:
    receivers = []
    for name, is_moving in names.items():
        site = coordinates.get(name)
        if not is_moving and site is None:
            raise InvalidInputError(f"The coordinates file gives no position of the fixed receiver '{name[:100]}'.")
        if is_moving:
            receivers.append(Receiver(id=name, name=name, is_moving=True))
        elif site is not None:
            receivers.append(Receiver(id=name, name=name, latitude=site[0], longitude=site[1]))
    return tuple(receivers)


def _find_columns(table: CsvTable, names: list[str]) -> list[_Column]:
    place = {column: number for number, column in enumerate(table.header)}
    return [
        _Column(number, place[f"{name}_rss"], place[f"{name}_x"], place[f"{name}_y"])
        if f"{name}_rss" in place
        else _Column(number, place[name], None, None)
        for number, name in enumerate(names)
        if f"{name}_rss" in place or name in place
    ]


def _take_row(
    fields: list[str],
    header: tuple[str, ...],
    columns: list[_Column],
    receivers: tuple[Receiver, ...],
    data: _Table,
    seen: dict[tuple[float, float, float], int],
    row: int,
    log: ImportLog,
) -> None:
    time = _parse_time(fields[header.index("timestamp")])
    latitude, longitude = (parse_number(fields[header.index(column)], column) for column in _POSITION_COLUMNS)
    check_geodetic(latitude, longitude, "transmitter")
    if max(abs(latitude - FRAME.latitude), abs(longitude - FRAME.longitude)) > _MAX_DISTANCE_DEG:
        raise RowError(f"the transmitter is more than {_MAX_DISTANCE_DEG} degrees from the POWDER site")
    rssi, rx_latitude, rx_longitude = ([float("nan")] * len(receivers) for _ in range(3))
    for column in columns:
        site = _find_site(fields, column, receivers[column.receiver], header)
        strength = parse_number(fields[column.rssi], header[column.rssi])
        if not NOT_HEARD_DB <= strength <= _MAX_RSSI_DB:
            raise RowError(f"{header[column.rssi]} is out of range ({NOT_HEARD_DB:g} to {_MAX_RSSI_DB:g} dB)")
        if site is None:
            if strength > NOT_HEARD_DB:
                log.note("readings of moving receivers left out because their position is missing")
            continue
        rssi[column.receiver] = strength
        rx_latitude[column.receiver], rx_longitude[column.receiver] = site
    first = seen.setdefault((time, latitude, longitude), row)
    if first != row:
        raise RowError("the row repeats the time and position of an earlier row")
    if all(value != value for value in rssi):
        raise RowError("no receiver is present")
    for values, column_array in ((rssi, data.rssi), (rx_latitude, data.rx_latitude), (rx_longitude, data.rx_longitude)):
        column_array.extend(values)
    for value, column_array in ((time, data.time), (latitude, data.latitude), (longitude, data.longitude)):
        column_array.append(value)


def _find_site(fields: list[str], column: _Column, receiver: Receiver, header: tuple[str, ...]) -> tuple[float, float] | None:
    if column.latitude is None or column.longitude is None:
        return (receiver.latitude, receiver.longitude) if receiver.latitude is not None and receiver.longitude is not None else None
    latitude = parse_number(fields[column.latitude], header[column.latitude])
    longitude = parse_number(fields[column.longitude], header[column.longitude])
    if latitude in _ABSENT_POSITIONS or longitude in _ABSENT_POSITIONS:
        return None
    check_geodetic(latitude, longitude, "moving receiver")
    return latitude, longitude


def _parse_time(text: str) -> float:
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RowError("timestamp is not a date and time") from None
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp()


def _assemble(data: _Table, receivers: tuple[Receiver, ...], config: ImportDatasetConfig) -> ImportedExamples:
    time = np.array(data.time)
    ground = np.zeros(len(time))
    target = geodetic_to_enu(FRAME, np.array(data.latitude), np.array(data.longitude), ground)
    rssi, rx_latitude, rx_longitude = (
        np.array(values).reshape(len(time), len(receivers)) for values in (data.rssi, data.rx_latitude, data.rx_longitude)
    )
    return ImportedExamples(
        kind=DatasetKind.POWDER,
        frame=FRAME,
        receivers=receivers,
        features=pick_features("heard", "rssi_dbm", "rx_east_km", "rx_north_km"),
        num_tokens=len(receivers),
        target=target[:, :2],
        target_up=target[:, 2],
        time=time,
        groupings={
            "cell": partial(group_by_cell, target[:, :2], config.cell_m),
            "day": partial(group_by_day, time),
            "session": partial(group_by_session, time),
        },
        tokens=partial(_make_tokens, rssi, rx_latitude, rx_longitude),
        accuracy_radius_m=ACCURACY_RADIUS_M,
        source=SOURCE,
    )


def _make_tokens(
    rssi: npt.NDArray[np.float64], rx_latitude: npt.NDArray[np.float64], rx_longitude: npt.NDArray[np.float64], rows: slice
) -> TokenBlock:
    strength = rssi[rows]
    mask = np.isfinite(strength)
    latitude = np.where(mask, rx_latitude[rows], FRAME.latitude)
    longitude = np.where(mask, rx_longitude[rows], FRAME.longitude)
    site = geodetic_to_enu(FRAME, latitude, longitude, np.zeros(mask.shape))
    site = np.where(mask[..., None], site, 0.0)
    heard = mask & (strength > NOT_HEARD_DB)
    features = np.stack([heard, np.where(heard, strength, 0.0), site[..., 0] / 1e3, site[..., 1] / 1e3], axis=-1)
    index = np.broadcast_to(np.arange(mask.shape[1], dtype=np.int16), mask.shape)
    return TokenBlock(
        features=features.astype(np.float32),
        mask=mask,
        receiver_index=np.where(mask, index, 0).astype(np.int16),
        receiver_enu=site.astype(np.float32),
    )
