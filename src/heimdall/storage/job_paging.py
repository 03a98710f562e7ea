"""Order and cursors of the job list, the same for every store.

A cursor is the last row's sort values (keyset paging): jobs added meanwhile neither repeat nor hide a row.
"""

from __future__ import annotations

import base64
import binascii
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from heimdall.domain.errors import InvalidInputError
from heimdall.domain.jobs import Job, JobStatus
from heimdall.domain.ports import JobQuery, JobSort

STATUS_RANKS: Final = {
    JobStatus.RUNNING: 0,
    JobStatus.PENDING: 1,
    JobStatus.PAUSED: 2,
    JobStatus.FAILED: 3,
    JobStatus.COMPLETED: 4,
    JobStatus.CANCELLED: 5,
}
"""What needs attention first."""

NO_LOSS: Final = sys.float_info.max
"""Where a job without a best loss sorts: last."""

MAX_PAGE: Final = 1000

SortValue = str | int | float | datetime


@dataclass(frozen=True)
class SortKey:
    """One part of an order."""

    name: str
    is_descending: bool = False


_NEWEST_FIRST: Final = (SortKey("created_at", is_descending=True), SortKey("id", is_descending=True))

SORTS: Final[dict[JobSort, tuple[SortKey, ...]]] = {
    "newest": _NEWEST_FIRST,
    "oldest": (SortKey("created_at"), SortKey("id")),
    "name": (SortKey("name"), SortKey("id")),
    "status": (SortKey("status"), *_NEWEST_FIRST),
    "progress": (SortKey("progress", is_descending=True), *_NEWEST_FIRST),
    "best_val_loss": (SortKey("best_val_loss"), *_NEWEST_FIRST),
}


def sort_value(job: Job, name: str) -> SortValue:
    """Return what ``job`` is ordered by under the key ``name``."""
    if name == "created_at":
        return job.created_at
    if name == "name":
        return job.name.casefold()
    if name == "status":
        return STATUS_RANKS[job.status]
    if name == "progress":
        return job.progress_percent
    if name == "best_val_loss":
        return NO_LOSS if job.best_val_loss is None else job.best_val_loss
    return job.id


def check_limit(limit: int) -> int:
    """Return ``limit``. InvalidInputError outside 1 to MAX_PAGE."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInputError(f"A page holds 1 to {MAX_PAGE} jobs, not {limit}.", field="limit")
    return limit


def encode_cursor(sort: JobSort, job: Job) -> str:
    """Return an opaque text that marks the place just after ``job``."""
    values = [value.isoformat() if isinstance(value := sort_value(job, key.name), datetime) else value for key in SORTS[sort]]
    return base64.urlsafe_b64encode(orjson.dumps([sort, *values])).decode().rstrip("=")


def decode_cursor(query: JobQuery) -> tuple[SortValue, ...] | None:
    """Return the sort values that the query's cursor stands for, None without one.

    Raises
    ------
    InvalidInputError
        Where the cursor was not made here, or for another order.
    """
    if query.cursor is None:
        return None
    try:
        padding = "=" * (-len(query.cursor) % 4)
        sort, *values = orjson.loads(base64.b64decode(query.cursor + padding, altchars=b"-_", validate=True))
        keys = SORTS[query.sort]
        if sort != query.sort or len(values) != len(keys):
            raise ValueError("made for another order")
        return tuple(_parse(key.name, value) for key, value in zip(keys, values, strict=True))
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidInputError("This cursor is not from this list and order; ask for the first page again.", field="cursor") from error


def _parse(name: str, value: object) -> SortValue:
    if name == "created_at" and isinstance(value, str):
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ValueError("an instant without a time zone")
        return instant
    if name in {"id", "name"} and isinstance(value, str):
        return value
    if name == "status" and type(value) is int and 0 <= value < len(STATUS_RANKS):
        return value
    if name in {"progress", "best_val_loss"} and isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"not a value of {name}")


def is_after(sort: JobSort, job: Job, place: tuple[SortValue, ...]) -> bool:
    """Say whether ``job`` stands behind ``place`` in the order."""
    for key, other in zip(SORTS[sort], place, strict=True):
        own = sort_value(job, key.name)
        if own != other:
            return (own < other) == key.is_descending  # type: ignore[operator]
    return False


def ordered(sort: JobSort, jobs: list[Job]) -> list[Job]:
    """Return ``jobs`` in order."""
    for key in reversed(SORTS[sort]):
        jobs = sorted(jobs, key=lambda job, name=key.name: sort_value(job, name), reverse=key.is_descending)  # type: ignore[misc]
    return jobs


def searched_text(job: Job) -> str:
    """Return, folded, the job's own text that a search looks in (the data set's name comes on top)."""
    return "\n".join((job.name, job.id, job.config.model_architecture, job.dataset_id)).casefold()
