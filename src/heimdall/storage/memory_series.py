"""Metrics, events, logs and the audit log in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from heimdall.domain.audit import AuditEntry, AuditQuery
from heimdall.domain.base import format_instant
from heimdall.domain.event_log import LogPage
from heimdall.domain.events import EventType, StoredEvent
from heimdall.domain.metrics import VALUE_FIELDS, RawColumns, TrainingMetric
from heimdall.domain.ports import LogLine
from heimdall.domain.summaries import Overview
from heimdall.storage.column_types import clean_text, encode_json
from heimdall.storage.events import MAX_INTEGER, event_taken
from heimdall.storage.logs import MAX_LINE
from heimdall.storage.memory_state import MemoryState


class MemoryMetrics:
    """``MetricRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def put(self, *metrics: TrainingMetric) -> None:
        """Insert rows of one job in their order, or replace those of the same epochs: the later attempt wins."""
        for metric in metrics:
            self._state.require_job(metric.job_id)
            rows = self._state.metrics.get(metric.job_id, {})
            present = rows.get(metric.epoch)
            if present is None or present.attempt <= metric.attempt:
                self._state.metrics[metric.job_id] = {**rows, metric.epoch: metric}

    def find(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> list[TrainingMetric]:
        """Return rows with ``since_epoch < epoch <= until_epoch`` in order."""
        until = MAX_INTEGER if until_epoch is None else until_epoch
        rows = self._state.metrics.get(job_id, {})
        return [rows[epoch] for epoch in sorted(rows) if since_epoch < epoch <= until]

    def list_epochs(self, job_id: str, epochs: Sequence[int]) -> list[TrainingMetric]:
        """Return the named epochs in order."""
        rows = self._state.metrics.get(job_id, {})
        return [rows[epoch] for epoch in sorted(set(epochs)) if epoch in rows]

    def iterate_columns(
        self, job_id: str, *, series: Sequence[str] = VALUE_FIELDS, since_epoch: int = 0, until_epoch: int | None = None
    ) -> Iterator[RawColumns]:
        """Yield the range in order."""
        yield _raw(self.find(job_id, since_epoch=since_epoch, until_epoch=until_epoch), series)

    def list_columns(self, job_id: str, epochs: Sequence[int], *, series: Sequence[str] = VALUE_FIELDS) -> RawColumns:
        """Return the named epochs in order."""
        return _raw(self.list_epochs(job_id, epochs), series)

    def find_bounds(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> tuple[int, int] | None:
        """Return the first and the last epoch of the range, None where it has no row."""
        rows = self.find(job_id, since_epoch=since_epoch, until_epoch=until_epoch)
        return (rows[0].epoch, rows[-1].epoch) if rows else None

    def overview(self, job_id: str, *, series: Sequence[str], since_epoch: int, until_epoch: int, max_width: int) -> Overview:
        """Return the range as rows: nothing here is slow enough to be summarized."""
        rows = self.find(job_id, since_epoch=since_epoch, until_epoch=until_epoch)
        return Overview([], [], [(epoch, *rest) for epoch, _, _, *rest in zip(*_raw(rows, series), strict=True)])

    def summarize(self, job_id: str, *, since_epoch: int, until_epoch: int) -> None:
        """Do nothing: there are no summaries to be missing."""

    def copy(self, source_job_id: str, target_job_id: str, *, until_epoch: int) -> int:
        """Copy rows to another job (continue); returns how many."""
        self._state.require_job(target_job_id)
        rows = self.find(source_job_id, until_epoch=until_epoch)
        for row in rows:
            self.put(row.evolve(job_id=target_job_id))
        return len(rows)

    def delete_after(self, job_id: str, epoch: int) -> int:
        """Remove rows beyond ``epoch``."""
        rows = self._state.metrics.get(job_id, {})
        kept = {number: row for number, row in rows.items() if number <= epoch}
        self._state.metrics[job_id] = kept
        return len(rows) - len(kept)


def _raw(rows: Sequence[TrainingMetric], series: Sequence[str]) -> RawColumns:
    if not rows:
        return []
    kinds = [encode_json(row.non_finite) if row.non_finite else None for row in rows]
    values = [[getattr(row, name) for row in rows] for name in series]
    return [[row.epoch for row in rows], [format_instant(row.timestamp) for row in rows], [row.attempt for row in rows], *values, kinds]


class MemoryEvents:
    """``EventRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def append(self, job_id: str, *, seq: int, type: EventType, payload: dict[str, Any], now: datetime) -> None:
        """Append in the transaction that changed the job; ``seq`` is the job's ``last_seq`` after that change."""
        if any(event.job_id == job_id and event.seq == seq for event in self._state.events):
            raise event_taken(job_id, seq)
        self._state.last_position += 1
        # Through JSON and back, as a database would: what a reader gets is what was stored.
        stored = orjson.loads(encode_json(payload))
        event = StoredEvent(position=self._state.last_position, seq=seq, job_id=job_id, type=type, payload=stored, created_at=now)
        self._state.events.append(event)

    def list_of_job(self, job_id: str, *, since: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Return the job's events with ``seq > since`` in order."""
        found = [event for event in self._state.events if event.job_id == job_id and event.seq > since]
        return sorted(found, key=lambda event: event.seq)[:limit]

    def read_page(self, *, since: int = 0, limit: int = 1000) -> LogPage:
        """Return events with ``position > since`` in order."""
        return LogPage([event for event in self._state.events if event.position > since][:limit], is_held_back=False)

    def last_position(self, *, known: int = 0) -> int:
        """Return the newest position, 0 for an empty log: all are settled, since writers take turns."""
        return self._state.events[-1].position if self._state.events else 0


class MemoryAudit:
    """``AuditRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def append(self, entry: AuditEntry) -> None:
        """Add a line; its position is given here."""
        self._state.audit = (*self._state.audit, entry.evolve(position=len(self._state.audit) + 1))

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries that match, newest first."""
        found = [
            entry
            for entry in reversed(self._state.audit)
            if (query.before is None or entry.position < query.before)
            and query.who in (None, entry.who)
            and query.action in (None, entry.action)
            and query.subject_id in (None, entry.subject_id)
        ]
        return found[: query.limit]


class MemoryLogs:
    """``LogRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def append(self, job_id: str, lines: Sequence[str], *, now: datetime) -> int:
        """Append lines (each cut at 4 000 characters); returns the newest number."""
        present = self._state.logs.get(job_id, ())
        last = present[-1].number if present else 0
        if lines:
            self._state.require_job(job_id)
            numbered = enumerate(lines, start=last + 1)
            added = tuple(LogLine(number, now, clean_text(line[:MAX_LINE])) for number, line in numbered)
            self._state.logs[job_id] = present + added
        return last + len(lines)

    def find(self, job_id: str, *, since: int = 0, limit: int = 5000) -> list[LogLine]:
        """Return lines with ``number > since`` in order."""
        return [line for line in self._state.logs.get(job_id, ()) if line.number > since][:limit]

    def cut(self, job_id: str, *, num_kept: int) -> int:
        """Remove all but the newest ``num_kept`` lines; returns how many went. Numbers of those that stay do not change."""
        present = self._state.logs.get(job_id, ())
        num_cut = max(0, len(present) - num_kept)
        if num_cut:
            self._state.logs[job_id] = present[num_cut:]
        return num_cut
