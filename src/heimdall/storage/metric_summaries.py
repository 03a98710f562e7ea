"""Summaries of metric rows in SQL, kept with the rows in the same transaction.

A summary is there or it is missing, but never wrong: a row that is written again takes the summaries over it away, and
they come back as the run goes on. A summary exists only while all below it do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from sqlalchemy import Connection, and_, delete, insert, literal, or_, select

from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.summaries import BODY_BYTES, FAN_OUT, FINEST_EPOCHS, NUM_LEVELS, Overview, level_width, merge_summaries, summarize_rows
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement
from heimdall.storage.tables import metric_summaries

_RANGE: Final = "WHERE job_id = :job AND level = :level AND bucket >= :first AND bucket < :stop"
_FIND: Final = DriverStatement(f"SELECT bucket, body FROM metric_summaries {_RANGE} ORDER BY bucket")
_PUT: Final = DriverStatement(
    "INSERT INTO metric_summaries (job_id, level, bucket, body) VALUES (:job, :level, :bucket, :body)"
    " ON CONFLICT (job_id, level, bucket) DO UPDATE SET body = excluded.body"
)
# One place at a time, by its key: SQLite answers several joined by OR with a walk over all summaries of the run.
_DROP: Final = DriverStatement("DELETE FROM metric_summaries WHERE job_id = :job AND level = :level AND bucket = :bucket")
_columns: Final = metric_summaries.c

_Stretch = tuple[int, int]
"""Epochs after the first number up to and with the second."""


@cache
def _find_rows(series: tuple[str, ...]) -> DriverStatement:
    columns = ", ".join(("epoch", *series, "non_finite"))
    return DriverStatement(f"SELECT {columns} FROM metrics WHERE job_id = :job AND epoch > :since AND epoch <= :until ORDER BY epoch")


class SqlMetricSummaries:
    """The summaries of runs on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def note(self, job_id: str, epochs: Sequence[int]) -> None:
        """Make the summaries true again after the rows of these epochs were written."""
        for bucket in dict.fromkeys((epoch - 1) // FINEST_EPOCHS for epoch in epochs):
            if _DROP.run(self._connection, self._dialect, {"job": job_id, "level": 0, "bucket": bucket}):
                first = bucket * FINEST_EPOCHS
                above = [{"job": job_id, "level": level, "bucket": first // level_width(level)} for level in range(1, NUM_LEVELS)]
                _DROP.run_many(self._connection, self._dialect, above)
        for epoch in epochs:
            if epoch % FINEST_EPOCHS == 0:
                self._write(job_id, epoch)

    def rebuild(self, job_id: str, since_epoch: int, until_epoch: int) -> None:
        """Write every summary that ends within the range, from rows that may have come without them."""
        for epoch in range(since_epoch - since_epoch % FINEST_EPOCHS + FINEST_EPOCHS, until_epoch + 1, FINEST_EPOCHS):
            self._write(job_id, epoch)

    def read(self, job_id: str, series: tuple[str, ...], since_epoch: int, until_epoch: int, max_width: int) -> Overview:
        """Return the range as summaries no wider than ``max_width`` epochs, and rows where there are none."""
        overview = Overview([], [], [])
        missing = [(since_epoch, until_epoch)]
        for level in reversed(range(NUM_LEVELS)):
            if level_width(level) <= max_width:
                missing = [rest for stretch in missing for rest in self._take(overview, job_id, level, stretch)]
        for since, until in missing:
            values = {"job": job_id, "since": since, "until": until}
            overview.rows.extend(_find_rows(series).fetch_all(self._connection, self._dialect, values))
        return overview

    def copy(self, source_job_id: str, target_job_id: str, *, until_epoch: int) -> None:
        """Copy the summaries that end at ``until_epoch`` or before; they name no job."""
        is_within = or_(
            *(and_(_columns.level == level, _columns.bucket < until_epoch // level_width(level)) for level in range(NUM_LEVELS))
        )
        source = select(literal(target_job_id), _columns.level, _columns.bucket, _columns.body)
        statement = source.where(_columns.job_id == source_job_id, is_within)
        self._connection.execute(insert(metric_summaries).from_select(["job_id", "level", "bucket", "body"], statement))

    def delete_after(self, job_id: str, epoch: int) -> None:
        """Remove the summaries that reach beyond ``epoch``."""
        reaches_beyond = or_(
            *(and_(_columns.level == level, _columns.bucket >= epoch // level_width(level)) for level in range(NUM_LEVELS))
        )
        self._connection.execute(delete(metric_summaries).where(_columns.job_id == job_id, reaches_beyond))

    def _write(self, job_id: str, last_epoch: int) -> None:
        """Write the summaries of all levels that end at ``last_epoch``, as far as what they merge is there."""
        values = {"job": job_id, "since": last_epoch - FINEST_EPOCHS, "until": last_epoch}
        rows = _find_rows(VALUE_FIELDS).fetch_all(self._connection, self._dialect, values)
        if not rows:
            return
        self._put(job_id, 0, last_epoch // FINEST_EPOCHS - 1, summarize_rows(rows))
        for level in range(1, NUM_LEVELS):
            if last_epoch % level_width(level):
                return
            bucket = last_epoch // level_width(level) - 1
            parts = self._find(job_id, level - 1, FAN_OUT * bucket, FAN_OUT * (bucket + 1))
            if len(parts) < FAN_OUT:
                return
            self._put(job_id, level, bucket, merge_summaries([body for _, body in parts]))

    def _put(self, job_id: str, level: int, bucket: int, body: bytes) -> None:
        _PUT.run(self._connection, self._dialect, {"job": job_id, "level": level, "bucket": bucket, "body": body})

    def _find(self, job_id: str, level: int, first: int, stop: int) -> list[tuple[int, bytes]]:
        """Return the summaries of a level in order; a body of another version, with other series, counts as missing."""
        values = {"job": job_id, "level": level, "first": first, "stop": stop}
        found = _FIND.fetch_all(self._connection, self._dialect, values)
        return [(bucket, body) for bucket, body in found if len(body) == BODY_BYTES]

    def _take(self, overview: Overview, job_id: str, level: int, stretch: _Stretch) -> Iterator[_Stretch]:
        """Move the summaries within ``stretch`` to the overview and yield what they leave open."""
        width = level_width(level)
        since, until = stretch
        first, stop = -(-since // width), until // width
        for bucket, body in self._find(job_id, level, first, stop) if first < stop else ():
            overview.first_epochs.append(bucket * width + 1)
            overview.bodies.append(body)
            if bucket * width > since:
                yield since, bucket * width
            since = (bucket + 1) * width
        if since < until:
            yield since, until
