"""Importer of plain RSSI tables, CSV or Parquet: one row for each example and receiver.

The columns are documented in ``docs/reference/dataset-formats.md``.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.grouping import Groups, group_by_cell, group_by_day, group_by_session
from heimdall.datasets.importers.examples import ImportedExamples, TokenBlock, refuse_wide_networks
from heimdall.datasets.importers.sources import (
    MAX_RECEIVERS,
    MAX_ROWS,
    CsvTable,
    ImportLog,
    RowError,
    SourceFile,
    check_geodetic,
    parse_number,
)
from heimdall.datasets.manifest import pick_features
from heimdall.domain.datasets import DatasetKind, ImportDatasetConfig, Receiver
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu

REQUIRED_COLUMNS: Final = (
    "example_id",
    "receiver_id",
    "receiver_latitude",
    "receiver_longitude",
    "rssi_dbm",
    "tx_latitude",
    "tx_longitude",
)
OPTIONAL_COLUMNS: Final = ("timestamp", "receiver_altitude_m", "tx_altitude_m", "group")
COLUMNS: Final = REQUIRED_COLUMNS + OPTIONAL_COLUMNS

ACCURACY_RADIUS_M: Final = 500.0
"""m; between street-level and wide-area networks: better set it in the import."""

MAX_FIXED_ORDER_RECEIVERS: Final = 64
"""Up to here every example holds every receiver in fixed order; beyond, only those it names."""

_MAX_ID_CHARS: Final = 200
_RSSI_LIMITS_DBM: Final = (-250.0, 100.0)
_ALTITUDE_LIMITS_M: Final = (-1_000.0, 100_000.0)
_MAX_PATH_DEG: Final = 15.0
_MOVING_DEG: Final = 1e-5
_MAX_ROW_GROUP_BYTES: Final = 1 << 30
_BATCH_ROWS: Final = 8192


@dataclass
class _Table:
    """Accepted rows as growing columns; examples and receivers by number."""

    example: array[int] = field(default_factory=lambda: array("i"))
    receiver: array[int] = field(default_factory=lambda: array("i"))
    rssi: array[float] = field(default_factory=lambda: array("d"))
    rx: tuple[array[float], ...] = field(default_factory=lambda: tuple(array("d") for _ in range(3)))
    example_ids: dict[str, int] = field(default_factory=dict)
    receiver_ids: dict[str, int] = field(default_factory=dict)
    tx: list[tuple[float, float, float]] = field(default_factory=list)
    time: array[float] = field(default_factory=lambda: array("d"))
    group: list[str] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """For each example the receivers it has, one bit each."""


@dataclass(frozen=True)
class _Row:
    """One parsed row."""

    example_id: str
    receiver_id: str
    rx: tuple[float, float, float]
    rssi: float
    """dBm; NaN where not heard."""
    tx: tuple[float, float, float]
    time: float
    group: str


def read_rssi_csv(
    files: list[SourceFile], config: ImportDatasetConfig, log: ImportLog, progress: Callable[[float], None]
) -> ImportedExamples:
    """Read CSV tables; parameters and errors as in :func:`heimdall.datasets.importers.powder.read_powder`."""
    return _read(files, _iterate_csv, config, log, progress, DatasetKind.RSSI_CSV)


def read_rssi_parquet(
    files: list[SourceFile], config: ImportDatasetConfig, log: ImportLog, progress: Callable[[float], None]
) -> ImportedExamples:
    """Read Parquet tables; parameters and errors as in :func:`heimdall.datasets.importers.powder.read_powder`."""
    return _read(files, _iterate_parquet, config, log, progress, DatasetKind.RSSI_PARQUET)


RowIterator = Callable[[SourceFile, ImportLog, Callable[[float], None]], Iterator[tuple[int, dict[str, str]]]]


def _read(
    files: list[SourceFile],
    iterate: RowIterator,
    config: ImportDatasetConfig,
    log: ImportLog,
    progress: Callable[[float], None],
    kind: DatasetKind,
) -> ImportedExamples:
    if not files:
        raise InvalidInputError("No file was given to import.")
    data = _Table()
    for number, file in enumerate(files):
        for row, fields in iterate(file, log, lambda share, done=number: progress((done + share) / len(files))):  # type: ignore[misc]
            try:
                _add_row(_parse_row(fields), data)
            except RowError as error:
                log.reject(row, str(error))
    log.refuse_if_empty()
    return _assemble(data, config, kind, [file.name for file in files])


def _iterate_csv(file: SourceFile, log: ImportLog, progress: Callable[[float], None]) -> Iterator[tuple[int, dict[str, str]]]:
    size = max(1, file.path.stat().st_size)
    table = CsvTable(file, log, lambda num_bytes: progress(min(1.0, num_bytes / size)))
    table.require(*REQUIRED_COLUMNS)
    place = {column: table.header.index(column) for column in COLUMNS if column in table.header}
    for row, fields in table.rows():
        yield row, {column: fields[at] for column, at in place.items()}


def _iterate_parquet(file: SourceFile, log: ImportLog, progress: Callable[[float], None]) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as table:
            columns = _check_parquet(file, table)
            done = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                values = {column: batch.column(column).to_pylist() for column in columns}
                for at in range(batch.num_rows):
                    yield log.start_row(), {column: _as_text(values[column][at]) for column in columns}
                done += batch.num_rows
                progress(done / max(1, table.metadata.num_rows))
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"'{file.name}' cannot be read as Parquet; it may be damaged.") from error


def _check_parquet(file: SourceFile, table: Any) -> list[str]:  # noqa: ANN401
    """Return the columns to read, after a look at what the file declares."""
    import pyarrow as pa

    schema = table.schema_arrow
    missing = [column for column in REQUIRED_COLUMNS if column not in schema.names]
    if missing:
        raise InvalidInputError(f"'{file.name}' lacks the column(s) {', '.join(missing)}.")
    columns = [column for column in COLUMNS if column in schema.names]
    nested = [column for column in columns if schema.get_field_index(column) < 0 or pa.types.is_nested(schema.field(column).type)]
    if nested:
        raise InvalidInputError(f"The column '{nested[0]}' of '{file.name}' is nested or doubled; it must hold one plain value a row.")
    meta = table.metadata
    if meta.num_rows > MAX_ROWS:
        raise InvalidInputError(f"'{file.name}' holds more than {MAX_ROWS:,} rows; import it in parts.")
    if any(meta.row_group(number).total_byte_size > _MAX_ROW_GROUP_BYTES for number in range(meta.num_row_groups)):
        raise InvalidInputError(f"'{file.name}' has a row group of more than 1 GiB; write it with smaller ones.")
    return columns


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _parse_row(fields: dict[str, str]) -> _Row:
    example_id, receiver_id = (_parse_id(fields[column], column) for column in ("example_id", "receiver_id"))
    rx = _parse_position(fields, "receiver_latitude", "receiver_longitude", "receiver_altitude_m", "receiver")
    tx = _parse_position(fields, "tx_latitude", "tx_longitude", "tx_altitude_m", "transmitter")
    if _separation_deg(rx, tx) > _MAX_PATH_DEG:
        raise RowError(f"receiver and transmitter are more than {_MAX_PATH_DEG:.0f} degrees apart")
    rssi = math.nan
    if fields["rssi_dbm"].strip():
        rssi = parse_number(fields["rssi_dbm"], "rssi_dbm")
        if not _RSSI_LIMITS_DBM[0] <= rssi <= _RSSI_LIMITS_DBM[1]:
            raise RowError(f"rssi_dbm is out of range ({_RSSI_LIMITS_DBM[0]:g} to {_RSSI_LIMITS_DBM[1]:g} dBm)")
    return _Row(
        example_id, receiver_id, rx, rssi, tx, _parse_time(fields.get("timestamp", "")), fields.get("group", "").strip()[:_MAX_ID_CHARS]
    )


def _parse_id(text: str, column: str) -> str:
    name = text.strip()
    if not name:
        raise RowError(f"{column} is empty")
    if len(name) > _MAX_ID_CHARS or not name.isprintable():
        raise RowError(f"{column} is longer than {_MAX_ID_CHARS} characters or not printable")
    return name


def _parse_position(fields: dict[str, str], latitude: str, longitude: str, altitude: str, what: str) -> tuple[float, float, float]:
    position = (parse_number(fields[latitude], latitude), parse_number(fields[longitude], longitude))
    check_geodetic(*position, what)
    height = parse_number(fields[altitude], altitude) if fields.get(altitude, "").strip() else 0.0
    if not _ALTITUDE_LIMITS_M[0] <= height <= _ALTITUDE_LIMITS_M[1]:
        raise RowError(f"{altitude} is out of range")
    return *position, height


def _parse_time(text: str) -> float:
    """Return unix s of ISO 8601 (UTC where it says no zone) or of a number; NaN where empty."""
    text = text.strip()
    if not text:
        return math.nan
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        seconds = parse_number(text, "timestamp")
        if not 0 <= seconds < 2**40:
            raise RowError("timestamp is out of range") from None
        return seconds
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp()


def _separation_deg(a: tuple[float, float, float], b: tuple[float, float, float]) -> float:
    """Return the angle between two places seen from the Earth's centre, deg."""
    latitude_a, latitude_b = math.radians(a[0]), math.radians(b[0])
    cosine = math.sin(latitude_a) * math.sin(latitude_b)
    cosine += math.cos(latitude_a) * math.cos(latitude_b) * math.cos(math.radians(a[1] - b[1]))
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _add_row(row: _Row, data: _Table) -> None:
    """Take a row, all of it or nothing."""
    example = data.example_ids.get(row.example_id, len(data.tx))
    receiver = data.receiver_ids.get(row.receiver_id, len(data.receiver_ids))
    if receiver >= MAX_RECEIVERS:
        raise RowError(f"there are more than {MAX_RECEIVERS} receivers")
    if example < len(data.tx):
        if data.seen[example] >> receiver & 1:
            raise RowError("the same receiver stands twice in one example")
        if data.tx[example] != row.tx:
            raise RowError("the transmitter's position differs from the example's first row")
    if example == len(data.tx):
        data.seen.append(0)
        data.example_ids[row.example_id] = example
        data.tx.append(row.tx)
        data.time.append(row.time)
        data.group.append(row.group)
    data.receiver_ids[row.receiver_id] = receiver
    data.seen[example] |= 1 << receiver
    data.example.append(example)
    data.receiver.append(receiver)
    data.rssi.append(row.rssi)
    for column, value in zip(data.rx, row.rx, strict=True):
        column.append(value)


def _assemble(data: _Table, config: ImportDatasetConfig, kind: DatasetKind, names: list[str]) -> ImportedExamples:
    data.seen.clear()
    example, receiver = np.array(data.example, np.int64), np.array(data.receiver, np.int64)
    order = np.lexsort((receiver, example))
    example, receiver, rssi = example[order], receiver[order], np.array(data.rssi)[order]
    sites = np.stack([np.array(column) for column in data.rx], axis=1)[order]
    receivers = _describe_receivers(list(data.receiver_ids), receiver, sites)
    frame = frame_at_centroid(sites[:, 0], sites[:, 1])
    receiver_m = geodetic_to_enu(frame, *sites.T)
    target = geodetic_to_enu(frame, *np.array(data.tx, np.float64).T)
    refuse_wide_networks(target, receiver_m)
    is_fixed_order = len(receivers) <= MAX_FIXED_ORDER_RECEIVERS
    start = np.searchsorted(example, np.arange(len(data.tx) + 1))
    tokens = _Tokens(
        start=start,
        num_tokens=len(receivers) if is_fixed_order else int(np.diff(start).max()),
        is_fixed_order=is_fixed_order,
        receiver=receiver,
        rssi=rssi,
        receiver_m=receiver_m,
    )
    time = np.array(data.time)
    return ImportedExamples(
        kind=kind,
        frame=frame,
        receivers=receivers,
        features=pick_features("heard", "rssi_dbm", "rx_east_km", "rx_north_km", "rx_up_km"),
        num_tokens=tokens.num_tokens,
        target=target[:, :2],
        target_up=target[:, 2],
        time=np.nan_to_num(time, nan=0.0),
        groupings=_find_groupings(target, time, data.group, config),
        tokens=tokens.block,
        accuracy_radius_m=ACCURACY_RADIUS_M,
        source=f"Imported from {', '.join(names)[:500]}; licence not stated",
    )


def _find_groupings(
    target: npt.NDArray[np.float64], time: npt.NDArray[np.float64], groups: list[str], config: ImportDatasetConfig
) -> dict[str, Callable[[], Groups]]:
    """Offer days and sessions only where the source says what they are."""
    groupings: dict[str, Callable[[], Groups]] = {"cell": partial(group_by_cell, target[:, :2], config.cell_m)}
    is_timed = bool(np.isfinite(time).all())
    if is_timed:
        groupings["day"] = partial(group_by_day, time)
    if all(groups):
        groupings["session"] = partial(_number_labels, groups)
    elif is_timed:
        groupings["session"] = partial(group_by_session, time)
    return groupings


def _number_labels(labels: list[str]) -> Groups:
    _, inverse = np.unique(np.array(labels), return_inverse=True)
    return inverse.astype(np.int32)


def _describe_receivers(ids: list[str], receiver: npt.NDArray[np.int64], sites: npt.NDArray[np.float64]) -> tuple[Receiver, ...]:
    """Call a receiver moving where its coordinates change by more than about a metre."""
    low = np.full((len(ids), 3), np.inf)
    high = np.full((len(ids), 3), -np.inf)
    np.minimum.at(low, receiver, sites)
    np.maximum.at(high, receiver, sites)
    is_moving = (high - low)[:, :2].max(axis=1) > _MOVING_DEG
    middle = (low + high) / 2
    return tuple(
        Receiver(id=name, name=name, is_moving=True)
        if is_moving[number]
        else Receiver(id=name, name=name, latitude=middle[number, 0], longitude=middle[number, 1], altitude_m=middle[number, 2])
        for number, name in enumerate(ids)
    )


@dataclass(frozen=True)
class _Tokens:
    """Rows of example n are ``start[n]`` to ``start[n + 1]``, ordered by receiver."""

    start: npt.NDArray[np.int64]
    num_tokens: int
    is_fixed_order: bool
    receiver: npt.NDArray[np.int64]
    rssi: npt.NDArray[np.float64]
    receiver_m: npt.NDArray[np.float64]

    def block(self, rows: slice) -> TokenBlock:
        """Return the tokens of some examples."""
        begin, end = self.start[:-1][rows], self.start[1:][rows]
        source = slice(int(begin[0]), int(end[-1]))
        count = end - begin
        row = np.repeat(np.arange(len(begin)), count)
        token = self.receiver[source] if self.is_fixed_order else np.arange(len(row)) - np.repeat(begin - begin[0], count)
        heard = np.isfinite(self.rssi[source])
        site = self.receiver_m[source]
        shape = (len(begin), self.num_tokens)
        features = np.zeros((*shape, 5), np.float32)
        features[row, token] = np.column_stack([heard, np.where(heard, self.rssi[source], 0.0), site / 1e3])
        mask, index, receiver_enu = np.zeros(shape, bool), np.zeros(shape, np.int16), np.zeros((*shape, 3), np.float32)
        mask[row, token] = True
        index[row, token] = self.receiver[source]
        receiver_enu[row, token] = site
        return TokenBlock(features, mask, index, receiver_enu)
