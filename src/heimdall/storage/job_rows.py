"""A job as a row and back, and what is said of a job that is not as expected."""

from __future__ import annotations

import math
from typing import Any, Final

from sqlalchemy import Column, Row

from heimdall.domain.errors import ConflictError, LeaseLostError, NotFoundError
from heimdall.domain.jobs import Claim, Job, JobStatus
from heimdall.storage.column_types import clean_text
from heimdall.storage.job_paging import searched_text
from heimdall.storage.tables import jobs

JOB_COLUMNS: Final[list[Column[Any]]] = [jobs.c[name] for name in Job.model_fields]
"""The columns that make up the entity, in its order."""

FINAL_STATUSES: Final = tuple(status.value for status in JobStatus if status.is_final)

_DOCUMENTS: Final = ("config", "checkpoint", "device")


def finite_or_none(value: float | None) -> float | None:
    """Return None for a value that is not a finite number: such a loss is never the best one."""
    return value if value is not None and math.isfinite(value) else None


def clamp_percent(value: float) -> float:
    """Return ``value`` within 0 to 100 (rounding may step over); 0 for no number."""
    return min(100.0, max(0.0, value)) if math.isfinite(value) else 0.0


def job_to_row(job: Job) -> dict[str, Any]:
    """Return every stored column of the entity and what is derived from it."""
    row: dict[str, Any] = {column.name: getattr(job, column.name) for column in JOB_COLUMNS}
    for name in _DOCUMENTS:
        if row[name] is not None:
            row[name] = row[name].model_dump(mode="json")
    row["status"] = job.status.value
    row["pending_action"] = job.pending_action.value if job.pending_action else None
    row["best_val_loss"] = finite_or_none(job.best_val_loss)
    row["best_val_error_median_m"] = finite_or_none(job.best_val_error_median_m)
    row["name_folded"] = clean_text(job.name).casefold()
    row["search_text"] = searched_text(job)
    return row


def job_from_row(row: Row[*tuple[Any, ...]]) -> Job:
    """Return the entity from a row that begins with JOB_COLUMNS."""
    return Job.model_validate(dict(zip(Job.model_fields, row, strict=False)))


def check_job_version(job: Job, expected_version: int) -> None:
    """Raise ValueError, a bug of the caller, where a save would not raise the version."""
    if job.version <= expected_version:
        raise ValueError("A saved job carries a higher version than the one it replaces.")


def job_changed(current: Job) -> ConflictError:
    """Return the error of a compare-and-set that came too late."""
    return ConflictError(f"Job {current.id} was changed meanwhile (now {current.status}); read it again, then repeat the change.")


def key_taken() -> ConflictError:
    """Return the error of an idempotency key used before."""
    return ConflictError("A job was already created under this Idempotency-Key.", field="Idempotency-Key", code="idempotency_key")


def lease_lost(claim: Claim) -> LeaseLostError:
    """Return the error of a claim that no longer holds."""
    return LeaseLostError(f"Attempt {claim.attempt} no longer owns job {claim.job_id}: another attempt does, or the job has ended.")


def no_such_job(job_id: str) -> NotFoundError:
    """Return the error of an unknown job."""
    return NotFoundError(f"There is no job '{clean_text(job_id)}'. It may have been deleted; look at the list of jobs.")
