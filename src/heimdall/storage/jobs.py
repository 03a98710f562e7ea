"""Jobs in SQL: compare-and-set, claims with a fencing token, one page of the list at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, func, literal, or_, select, update

from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, Claim, Job, JobStatus, PendingAction
from heimdall.domain.ports import HeldLease, JobQuery, Page, ProgressUpdate, Stamp
from heimdall.storage.column_types import clean_text
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, instant_value
from heimdall.storage.events import SqlEvents
from heimdall.storage.job_paging import NO_LOSS, SORTS, STATUS_RANKS, SortValue, check_limit, decode_cursor, encode_cursor
from heimdall.storage.job_rows import (
    JOB_COLUMNS,
    check_job_version,
    clamp_percent,
    finite_or_none,
    job_changed,
    job_from_row,
    job_to_row,
    key_taken,
    lease_lost,
    no_such_job,
)
from heimdall.storage.tables import datasets, events, jobs

_JOB_ENTITY: Final = select(*JOB_COLUMNS)

# The running row that a claim still owns. Built once: SQLAlchemy compiles each statement a single time.
_CLAIMED: Final = and_(
    jobs.c.id == bindparam("claim_job"),
    jobs.c.worker_id == bindparam("claim_worker"),
    jobs.c.attempt == bindparam("claim_attempt"),
    jobs.c.status == literal(JobStatus.RUNNING.value),
)
_HEARTBEAT: Final = (
    update(jobs)
    .where(_CLAIMED)
    .values(lease_expires_at=bindparam("lease_until"), worker_seen_at=bindparam("now"))
    .returning(jobs.c.pending_action)
)
_CONTROL: Final = select(jobs.c.pending_action).where(_CLAIMED)
_HELD_CONTROL: Final = _CONTROL.with_for_update()
_VERSION: Final = DriverStatement("SELECT version FROM jobs WHERE id = :job")
# No set of positions comes back: each change adds one, and folding leaves a new one. SQLite's single writer numbers them in order.
_FINGERPRINT: Final = DriverStatement(
    "SELECT (SELECT max(position) FROM job_changes), (SELECT coalesce(max(position), 0) FROM events), NULL",
    postgresql="SELECT (SELECT md5(string_agg(CAST(position AS text), ',' ORDER BY position)) FROM job_changes),"
    # A late commit can have a lower position than one that was seen: what is not settled yet is named one by one.
    " (SELECT coalesce(max(position), 0) FROM events WHERE position <= :horizon),"
    " (SELECT md5(string_agg(CAST(position AS text), ',' ORDER BY position)) FROM events WHERE position > :horizon)",
)
_COUNTS: Final = DriverStatement("SELECT status, CAST(sum(num_jobs) AS integer) FROM job_changes GROUP BY status")
_OF_CLAIM: Final = " WHERE id = :claim_job AND worker_id = :claim_worker AND attempt = :claim_attempt AND status = 'running'"
_CHECKPOINT: Final = DriverStatement(
    f"SELECT checkpoint FROM jobs{_OF_CLAIM}", postgresql=f"SELECT checkpoint FROM jobs{_OF_CLAIM} FOR UPDATE"
)
_POINT_TO: Final = DriverStatement(f"UPDATE jobs SET checkpoint = :checkpoint, version = version + 1{_OF_CLAIM}")
_PROGRESS: Final = DriverStatement(
    "UPDATE jobs SET current_epoch = :current_epoch, progress_percent = :progress_percent, estimated_completion = :estimated_completion,"
    " best_epoch = :best_epoch, best_val_loss = :best_val_loss, best_val_error_median_m = :best_val_error_median_m,"
    " device = coalesce(:device, device), last_seq = last_seq + :num_events, version = version + :num_events, losses = 0"
    f"{_OF_CLAIM} RETURNING last_seq, version, pending_action"
)


class SqlJobs:
    """``JobRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect, events: SqlEvents) -> None:
        self._connection = connection
        self._dialect = dialect
        self._events = events

    def add(self, job: Job, *, idempotency_key: str | None = None, fingerprint: str | None = None) -> None:
        """Store a new job. ConflictError where the idempotency key is taken."""
        row = job_to_row(job) | {"idempotency_key": idempotency_key, "fingerprint": fingerprint}
        # DO NOTHING keeps the transaction usable on PostgreSQL, so that the caller can look the first job up.
        statement = self._dialect.insert(jobs).on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(jobs.c.id)
        if self._connection.execute(statement, row).first() is None:
            raise key_taken()

    def get(self, job_id: str, *, lock: bool = False) -> Job:
        """Return the job; ``lock`` holds its row until the transaction ends. NotFoundError."""
        statement = _JOB_ENTITY.where(jobs.c.id == job_id)
        if lock:
            statement = statement.with_for_update()
        row = self._connection.execute(statement).first()
        if row is None:
            raise no_such_job(job_id)
        return job_from_row(row)

    def read_version(self, job_id: str) -> int:
        """Return the job's version alone: cheap. NotFoundError."""
        row = _VERSION.fetch(self._connection, self._dialect, {"job": job_id})
        if row is None:
            raise no_such_job(job_id)
        version: int = row[0]
        return version

    def find_idempotent(self, key: str) -> tuple[Job, str | None] | None:
        """Return the job created under ``key`` and its fingerprint."""
        statement = select(*JOB_COLUMNS, jobs.c.fingerprint).where(jobs.c.idempotency_key == key)
        row = self._connection.execute(statement).first()
        return None if row is None else (job_from_row(row), row.fingerprint)

    def save(self, job: Job, *, expected_version: int) -> None:
        """Compare-and-set on ``version``. ConflictError where someone else changed it first."""
        check_job_version(job, expected_version)
        row = job_to_row(job)
        del row["id"]
        statement = update(jobs).where(jobs.c.id == job.id, jobs.c.version == expected_version).values(row)
        if self._connection.execute(statement).rowcount != 1:
            raise job_changed(self.get(job.id))

    def delete(self, job_id: str) -> None:
        """Remove the job, its metrics, logs and events; the record of its deletion stays."""
        self._events.flush()
        kept = EventType.DELETED.value
        self._connection.execute(delete(events).where(events.c.job_id == job_id, events.c.type != kept))
        if self._connection.execute(delete(jobs).where(jobs.c.id == job_id)).rowcount != 1:
            raise no_such_job(job_id)

    def find(self, query: JobQuery) -> Page[Job]:
        """Return one page; never touches metrics. InvalidInputError for a cursor it did not make."""
        limit = check_limit(query.limit)
        place = decode_cursor(query)
        filters = _filters(query)
        total = self._count(query, filters)
        statement = _JOB_ENTITY.where(*filters).order_by(*_order(query)).limit(limit + 1)
        if place is not None:
            statement = statement.where(_is_after(query, place))
        found = [job_from_row(row) for row in self._connection.execute(statement)]
        items = tuple(found[:limit])
        return Page(items, total, encode_cursor(query.sort, items[-1]) if len(found) > limit else None)

    def count_by_status(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each of the six states."""
        counts = dict.fromkeys(JobStatus, 0)
        for status, count in _COUNTS.fetch_all(self._connection, self._dialect, {}):
            counts[JobStatus(status)] = count
        return counts

    def _count(self, query: JobQuery, filters: list[ColumnElement[bool]]) -> int:
        """Return how many jobs match, from the kept counts where those are enough."""
        if query.dataset_id is None and not (query.text and query.text.strip()):
            counts = self.count_by_status()
            return sum(counts[status] for status in query.statuses or JobStatus)
        return int(self._connection.execute(select(func.count()).select_from(jobs).where(*filters)).scalar_one())

    def fingerprint(self) -> str:
        """Return a short text that changes whenever any job is added, changed or removed (for ETags)."""
        found = _FINGERPRINT.fetch(self._connection, self._dialect, {"horizon": self._events.horizon})
        assert found is not None
        changes, position, unsettled = found
        return f"{changes or 0}-{position}-{unsettled}" if unsettled else f"{changes or 0}-{position}"

    def claim(self, job_id: str, *, worker_id: str, lease_until: datetime, now: datetime) -> Job | None:
        """Take a pending job without a pending action: running, attempt + 1, last_seq + 1, version + 1. None where it is not pending."""
        statement = (
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == JobStatus.PENDING.value, jobs.c.pending_action.is_(None))
            .values(
                status=JobStatus.RUNNING.value,
                attempt=jobs.c.attempt + 1,
                last_seq=jobs.c.last_seq + 1,
                version=jobs.c.version + 1,
                started_at=func.coalesce(jobs.c.started_at, bindparam("now", now, type_=jobs.c.started_at.type)),
                status_changed_at=now,
                worker_id=worker_id,
                worker_seen_at=now,
                notice=None,
                silent_since=None,
                lease_expires_at=lease_until,
                next_enqueue_at=None,
            )
            .returning(*JOB_COLUMNS)
        )
        row = self._connection.execute(statement).first()
        return None if row is None else job_from_row(row)

    def heartbeat(self, claim: Claim, *, lease_until: datetime, now: datetime) -> PendingAction | None:
        """Prolong the lease and return what was asked for; does not change the version. LeaseLostError."""
        row = self._connection.execute(_HEARTBEAT, {**_token(claim), "lease_until": lease_until, "now": now}).first()
        return _action(claim, row)

    def read_control(self, claim: Claim) -> PendingAction | None:
        """Return what was asked for. LeaseLostError where the claim no longer holds."""
        return _action(claim, self._connection.execute(_CONTROL, _token(claim)).first())

    def check_claim(self, claim: Claim) -> None:
        """Hold the job's row and prove the claim, for other writes of this transaction. LeaseLostError."""
        _action(claim, self._connection.execute(_HELD_CONTROL, _token(claim)).first())

    def record_progress(self, claim: Claim, update: ProgressUpdate, *, num_events: int = 1) -> Stamp:
        """One fenced UPDATE: progress, last_seq and version + ``num_events``, losses back to 0. LeaseLostError."""
        values = {
            **_token(claim),
            "num_events": num_events,
            "current_epoch": update.current_epoch,
            "progress_percent": clamp_percent(update.progress_percent),
            "estimated_completion": instant_value(self._dialect, update.estimated_completion),
            "best_epoch": update.best_epoch,
            "best_val_loss": finite_or_none(update.best_val_loss),
            "best_val_error_median_m": finite_or_none(update.best_val_error_median_m),
            "device": None if update.device is None else update.device.model_dump_json(),
        }
        row = _PROGRESS.fetch(self._connection, self._dialect, values)
        if row is None:
            raise lease_lost(claim)
        return Stamp(seq=row[0], version=row[1], asked=_parse_action(row[2]))

    def read_checkpoint(self, claim: Claim) -> Checkpoint | None:
        """Hold the job's row and return its newest checkpoint. LeaseLostError."""
        row = _CHECKPOINT.fetch(self._connection, self._dialect, _token(claim))
        if row is None:
            raise lease_lost(claim)
        return None if row[0] is None else Checkpoint.model_validate_json(row[0])

    def point_to(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Store what the job's newest checkpoint is; version + 1. LeaseLostError."""
        values = {**_token(claim), "checkpoint": checkpoint.model_dump_json()}
        if _POINT_TO.run(self._connection, self._dialect, values) != 1:
            raise lease_lost(claim)

    def release(self, job_id: str) -> None:
        """Forget worker and lease (after a transition out of running)."""
        self._set(job_id, worker_id=None, lease_expires_at=None, next_enqueue_at=None)

    def list_leases(self, job_id: str | None = None) -> list[HeldLease]:
        """Return the leases of all running jobs, or of one."""
        statement = select(jobs.c.id, jobs.c.worker_id, jobs.c.attempt, jobs.c.lease_expires_at).where(
            jobs.c.status == JobStatus.RUNNING.value, jobs.c.worker_id.is_not(None)
        )
        if job_id is not None:
            statement = statement.where(jobs.c.id == job_id)
        return [HeldLease(row.id, row.worker_id, (row.attempt, row.lease_expires_at)) for row in self._connection.execute(statement)]

    def count_loss(self, job_id: str) -> int:
        """Add one to the attempts lost in a row and return how many they are now."""
        statement = update(jobs).where(jobs.c.id == job_id).values(losses=jobs.c.losses + 1).returning(jobs.c.losses)
        return int(self._connection.execute(statement).scalar() or 0)

    def reset_losses(self, job_id: str) -> None:
        """Set the attempts lost in a row to 0 (a person resumed the job)."""
        self._set(job_id, losses=0)

    def list_to_enqueue(self, now: datetime, *, latest: datetime, limit: int = 100) -> list[str]:
        """Return pending jobs that no message may be waiting for, oldest first."""
        statement = (
            select(jobs.c.id)
            .where(
                jobs.c.status == JobStatus.PENDING.value,
                jobs.c.pending_action.is_(None),
                or_(jobs.c.next_enqueue_at.is_(None), jobs.c.next_enqueue_at <= now, jobs.c.next_enqueue_at > latest),
            )
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(limit)
        )
        return list(self._connection.execute(statement).scalars())

    def mark_enqueued(self, job_id: str, *, next_enqueue_at: datetime) -> None:
        """Note that a message was sent, and when to doubt it."""
        self._set(job_id, next_enqueue_at=next_enqueue_at)

    def _set(self, job_id: str, **values: Any) -> None:  # noqa: ANN401
        self._connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def _token(claim: Claim) -> dict[str, Any]:
    return {"claim_job": claim.job_id, "claim_worker": claim.worker_id, "claim_attempt": claim.attempt}


def _action(claim: Claim, row: Any | None) -> PendingAction | None:  # noqa: ANN401
    if row is None:
        raise lease_lost(claim)
    return _parse_action(row[0])


def _parse_action(text: str | None) -> PendingAction | None:
    return None if text is None else PendingAction(text)


def _filters(query: JobQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.statuses:
        filters.append(jobs.c.status.in_(sorted(status.value for status in query.statuses)))
    if query.dataset_id is not None:
        filters.append(jobs.c.dataset_id == query.dataset_id)
    if query.text and query.text.strip():
        folded = clean_text(query.text.strip()).casefold()
        named = select(datasets.c.id).where(datasets.c.name_folded.contains(folded, autoescape=True))
        filters.append(or_(jobs.c.search_text.contains(folded, autoescape=True), jobs.c.dataset_id.in_(named)))
    return filters


_SORT_COLUMNS: Final[dict[str, ColumnElement[Any]]] = {
    "created_at": jobs.c.created_at,
    "id": jobs.c.id,
    "name": jobs.c.name_folded,
    "status": case({status.value: rank for status, rank in STATUS_RANKS.items()}, value=jobs.c.status),
    "progress": jobs.c.progress_percent,
    "best_val_loss": func.coalesce(jobs.c.best_val_loss, NO_LOSS),
}


def _order(query: JobQuery) -> list[ColumnElement[Any]]:
    return [_SORT_COLUMNS[key.name].desc() if key.is_descending else _SORT_COLUMNS[key.name].asc() for key in SORTS[query.sort]]


def _is_after(query: JobQuery, place: tuple[SortValue, ...]) -> ColumnElement[bool]:
    """Return the condition of standing behind ``place`` where keys have mixed directions."""
    condition: ColumnElement[bool] | None = None
    for key, value in reversed(list(zip(SORTS[query.sort], place, strict=True))):
        column = _SORT_COLUMNS[key.name]
        beyond = column < value if key.is_descending else column > value
        condition = beyond if condition is None else or_(beyond, and_(column == value, condition))
    assert condition is not None
    return condition
