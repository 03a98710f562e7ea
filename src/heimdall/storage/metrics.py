"""Metric rows in SQL, clustered by job and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Select, Text, delete, insert, literal, select, type_coerce

from heimdall.domain.metrics import VALUE_FIELDS, RawColumns, TrainingMetric
from heimdall.domain.summaries import Overview
from heimdall.storage.column_types import encode_json
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, format_instants, instant_value
from heimdall.storage.events import MAX_INTEGER, bounded
from heimdall.storage.metric_summaries import SqlMetricSummaries
from heimdall.storage.tables import metrics

_NAMES: Final = [column.name for column in metrics.c]
_PUT: Final = DriverStatement(
    f"INSERT INTO metrics ({', '.join(_NAMES)}) VALUES ({', '.join(f':{name}' for name in _NAMES)})"
    f" ON CONFLICT (job_id, epoch) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[2:])}"
    " WHERE metrics.attempt <= excluded.attempt"
)
_FIELDS: Final = tuple(TrainingMetric.model_fields)
_FIELD_SET: Final = set(_FIELDS)
_RANGE: Final = "job_id = :job AND epoch > :since AND epoch <= :until"
_FIND: Final = DriverStatement(f"SELECT {', '.join(_FIELDS)} FROM metrics WHERE {_RANGE} ORDER BY epoch")
_BOUNDS: Final = DriverStatement(
    f"SELECT (SELECT epoch FROM metrics WHERE {_RANGE} ORDER BY epoch LIMIT 1),"
    f" (SELECT epoch FROM metrics WHERE {_RANGE} ORDER BY epoch DESC LIMIT 1)"
)
_ROWS_PER_CHUNK: Final = 2000
_DENSE: Final = 2
"""Where a range has no more rows than so many for each that is named, PostgreSQL reads it whole: a search costs four steps to the next."""
# Plain text, as the driver gives it.
_ENTITY: Final = select(*(type_coerce(metrics.c[name], Text) if name == "non_finite" else metrics.c[name] for name in _FIELDS))


class SqlMetrics:
    """``MetricRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect
        self._summaries = SqlMetricSummaries(connection, dialect)

    def put(self, *metrics: TrainingMetric) -> None:
        """Insert rows of one job in their order, or replace those of the same epochs: the later attempt wins."""
        rows = [
            {
                **metric.__dict__,
                "timestamp": instant_value(self._dialect, metric.timestamp),
                "non_finite": encode_json(metric.non_finite) if metric.non_finite else None,
            }
            for metric in metrics
        ]
        _PUT.run_many(self._connection, self._dialect, rows)
        self._summaries.note(metrics[0].job_id, [metric.epoch for metric in metrics])

    def find(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> list[TrainingMetric]:
        """Return rows with ``since_epoch < epoch <= until_epoch`` in order."""
        return [_metric(row) for row in _FIND.fetch_all(self._connection, self._dialect, _range(job_id, since_epoch, until_epoch))]

    def list_epochs(self, job_id: str, epochs: Sequence[int]) -> list[TrainingMetric]:
        """Return the named epochs in order."""
        statement = _ENTITY.where(
            metrics.c.job_id == job_id, metrics.c.epoch.in_([epoch for epoch in epochs if 0 < epoch <= MAX_INTEGER])
        ).order_by(metrics.c.epoch)
        return [_metric(row) for row in self._connection.execute(statement)]

    def iterate_columns(
        self, job_id: str, *, series: Sequence[str] = VALUE_FIELDS, since_epoch: int = 0, until_epoch: int | None = None
    ) -> Iterator[RawColumns]:
        """Yield the range in order, a few thousand rows at a time."""
        statement, values = _raw(tuple(series)), _range(job_id, since_epoch, until_epoch)
        for rows in statement.fetch_chunks(self._connection, self._dialect, values, size=_ROWS_PER_CHUNK):
            yield self._to_columns(rows)

    def list_columns(self, job_id: str, epochs: Sequence[int], *, series: Sequence[str] = VALUE_FIELDS) -> RawColumns:
        """Return the named epochs in order."""
        if epochs and not self._dialect.is_sqlite and max(epochs) - min(epochs) < _DENSE * len(epochs):
            wanted = set(epochs)
            values = _range(job_id, min(epochs) - 1, max(epochs))
            found = _raw(tuple(series)).fetch_all(self._connection, self._dialect, values)
            return self._to_columns([row for row in found if row[0] in wanted])
        # As text: the driver takes longer over a list of numbers than the server over their digits.
        digits = orjson.dumps(list(epochs)).decode()
        values = {"job": job_id, "epochs": digits if self._dialect.is_sqlite else f"{{{digits[1:-1]}}}"}
        rows = _raw_among(tuple(series)).fetch_all(self._connection, self._dialect, values)
        rows.sort(key=itemgetter(0))
        return self._to_columns(rows)

    def _to_columns(self, rows: list[tuple[Any, ...]]) -> RawColumns:
        columns: RawColumns = list(zip(*rows, strict=True))
        if columns:
            columns[1] = format_instants(self._dialect, columns[1])
        return columns

    def find_bounds(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> tuple[int, int] | None:
        """Return the first and the last epoch of the range, None where it has no row."""
        found = _BOUNDS.fetch(self._connection, self._dialect, _range(job_id, since_epoch, until_epoch))
        return None if found is None or found[0] is None else (found[0], found[1])

    def overview(self, job_id: str, *, series: Sequence[str], since_epoch: int, until_epoch: int, max_width: int) -> Overview:
        """Return the range as summaries no wider than ``max_width`` epochs, and as rows where no summary is there."""
        return self._summaries.read(job_id, tuple(series), since_epoch, until_epoch, max_width)

    def summarize(self, job_id: str, *, since_epoch: int, until_epoch: int) -> None:
        """Write the summaries of a range whose rows came without them."""
        self._summaries.rebuild(job_id, since_epoch, until_epoch)

    def copy(self, source_job_id: str, target_job_id: str, *, until_epoch: int) -> int:
        """Copy rows to another job (continue); returns how many."""
        source: Select[Any] = select(literal(target_job_id), *(metrics.c[name] for name in _NAMES[1:])).where(
            metrics.c.job_id == source_job_id, metrics.c.epoch <= bounded(until_epoch, MAX_INTEGER)
        )
        statement = insert(metrics).from_select(_NAMES, source).execution_options(preserve_rowcount=True)
        num_rows = self._connection.execute(statement).rowcount
        self._summaries.copy(source_job_id, target_job_id, until_epoch=bounded(until_epoch, MAX_INTEGER))
        return num_rows

    def delete_after(self, job_id: str, epoch: int) -> int:
        """Remove rows beyond ``epoch`` (never needed by resume, which overwrites; for repair)."""
        self._summaries.delete_after(job_id, epoch)
        return self._connection.execute(delete(metrics).where(metrics.c.job_id == job_id, metrics.c.epoch > epoch)).rowcount


_UTC_INSTANT: Final = "timestamp AT TIME ZONE 'UTC'"
"""As ``format_instants`` takes it; ``to_char`` costs PostgreSQL more than all else of a row."""


@cache
def _raw(series: tuple[str, ...]) -> DriverStatement:
    """Return the query for a range of rows, in the order of :data:`RawColumns`."""
    columns = ", ".join(("attempt", *series, "non_finite"))
    return DriverStatement(
        f"SELECT epoch, timestamp, {columns} FROM metrics WHERE {_RANGE} ORDER BY epoch",
        postgresql=f"SELECT epoch, {_UTC_INSTANT}, {columns} FROM metrics WHERE {_RANGE} ORDER BY epoch",
    )


@cache
def _raw_among(series: tuple[str, ...]) -> DriverStatement:
    """Return the query for named epochs, in any order.

    On PostgreSQL OFFSET keeps the planner from joining: without statistics of a young table it read the whole run.
    """
    columns = ", ".join(("attempt", *series, "non_finite"))
    found = f"SELECT epoch, {_UTC_INSTANT}, {columns} FROM metrics WHERE job_id = :job AND epoch = wanted.number OFFSET 0"
    among = "SELECT value FROM json_each(:epochs)"
    wanted = "unnest(CAST(:epochs AS int[])) AS wanted(number)"
    return DriverStatement(
        f"SELECT epoch, timestamp, {columns} FROM metrics WHERE job_id = :job AND epoch IN ({among})",
        postgresql=f"SELECT found.* FROM {wanted} CROSS JOIN LATERAL ({found}) AS found",
    )


def _range(job_id: str, since_epoch: int, until_epoch: int | None) -> dict[str, Any]:
    until = MAX_INTEGER if until_epoch is None else bounded(until_epoch, MAX_INTEGER)
    return {"job": job_id, "since": bounded(since_epoch, MAX_INTEGER), "until": until}


def _metric(row: Sequence[Any]) -> TrainingMetric:
    """Build from a row that passed validation on its way in: what ``model_construct`` does, without its loop over fields."""
    values = dict(zip(_FIELDS, row, strict=True))
    if isinstance(values["timestamp"], str):
        values["timestamp"] = datetime.fromisoformat(values["timestamp"])
    non_finite = values["non_finite"]
    values["non_finite"] = orjson.loads(non_finite) if non_finite else {}
    metric = TrainingMetric.__new__(TrainingMetric)
    object.__setattr__(metric, "__dict__", values)
    object.__setattr__(metric, "__pydantic_fields_set__", _FIELD_SET)
    object.__setattr__(metric, "__pydantic_extra__", None)
    object.__setattr__(metric, "__pydantic_private__", None)
    return metric
