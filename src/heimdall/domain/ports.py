"""Small interfaces of the few methods needed; adapters live in ``storage``, ``queue`` and ``verification``.

One contract suite (``tests/contract``) runs on every implementation. All methods are synchronous;
all may raise ``UnavailableError`` (dependency away, database locked past its patience) and
``StorageFullError``. Implementations are safe to share between threads unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Generic, Literal, Protocol, TypeVar

from heimdall.domain.audit import AuditEntry, AuditQuery
from heimdall.domain.datasets import Dataset
from heimdall.domain.event_log import EventRepository
from heimdall.domain.events import Tick
from heimdall.domain.jobs import Checkpoint, Claim, DeviceInfo, Job, JobStatus, PendingAction
from heimdall.domain.metrics import VALUE_FIELDS, RawColumns, TrainingMetric
from heimdall.domain.models import Examination, OnCheck, TrainedModel, TrainedModelDetail
from heimdall.domain.summaries import Overview
from heimdall.domain.upkeep import UpkeepRepository


class Clock(Protocol):
    """Tells the time, so that tests can."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""


T = TypeVar("T")

JobSort = Literal["newest", "oldest", "name", "status", "progress", "best_val_loss"]


@dataclass(frozen=True)
class JobQuery:
    """What a list of jobs is asked for. ``text`` matches name, id, architecture and data set, case-insensitively."""

    statuses: frozenset[JobStatus] = frozenset()
    text: str | None = None
    dataset_id: str | None = None
    sort: JobSort = "newest"
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last."""

    items: tuple[T, ...]
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True)
class HeldLease:
    """A running job's lease as its worker last left it.

    ``stamp`` changes with every heartbeat and claim; whose clock made it does not matter.
    """

    job_id: str
    worker_id: str
    stamp: tuple[int, datetime]


@dataclass(frozen=True)
class ProgressUpdate:
    """What a finished epoch changes on its job."""

    current_epoch: int
    progress_percent: float
    estimated_completion: datetime | None
    best_epoch: int | None
    best_val_loss: float | None
    best_val_error_median_m: float | None
    device: DeviceInfo | None = None


@dataclass(frozen=True)
class Stamp:
    """A job after a write: the event's place in the job's log, the job's version, and what was asked of it."""

    seq: int
    version: int
    asked: PendingAction | None = None


class JobRepository(Protocol):
    """Jobs, inside one transaction."""

    def add(self, job: Job, *, idempotency_key: str | None = None, fingerprint: str | None = None) -> None:
        """Store a new job. ConflictError where the idempotency key is taken."""

    def get(self, job_id: str, *, lock: bool = False) -> Job:
        """Return the job; ``lock`` holds its row until the transaction ends. NotFoundError."""

    def read_version(self, job_id: str) -> int:
        """Return the job's version alone: cheap. NotFoundError."""

    def find_idempotent(self, key: str) -> tuple[Job, str | None] | None:
        """Return the job created under ``key`` and its fingerprint."""

    def save(self, job: Job, *, expected_version: int) -> None:
        """Compare-and-set on ``version``. ConflictError where someone else changed it first."""

    def delete(self, job_id: str) -> None:
        """Remove the job, its metrics, logs and events."""

    def find(self, query: JobQuery) -> Page[Job]:
        """Return one page; never touches metrics. InvalidInputError for a cursor it did not make."""

    def count_by_status(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each of the six states."""

    def fingerprint(self) -> str:
        """Return a short text that changes whenever any job is added, changed or removed (for ETags).

        Costs the same for any number of jobs. Relies on an event for each step of ``last_seq``. Needs ``read(settled=True)``.
        """

    def claim(self, job_id: str, *, worker_id: str, lease_until: datetime, now: datetime) -> Job | None:
        """Take a pending job without a pending action: running, attempt + 1, last_seq + 1, version + 1. None where it is not pending."""

    def heartbeat(self, claim: Claim, *, lease_until: datetime, now: datetime) -> PendingAction | None:
        """Prolong the lease and return what was asked for; does not change the version. LeaseLostError."""

    def read_control(self, claim: Claim) -> PendingAction | None:
        """Return what was asked for. LeaseLostError where the claim no longer holds."""

    def check_claim(self, claim: Claim) -> None:
        """Hold the job's row and prove the claim, for other writes of this transaction. LeaseLostError."""

    def record_progress(self, claim: Claim, update: ProgressUpdate, *, num_events: int = 1) -> Stamp:
        """One fenced UPDATE: progress, last_seq and version + ``num_events``, losses back to 0. LeaseLostError.

        The stamp is the last event's.
        """

    def read_checkpoint(self, claim: Claim) -> Checkpoint | None:
        """Hold the job's row and return its newest checkpoint. LeaseLostError."""

    def point_to(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Store what the job's newest checkpoint is; version + 1. LeaseLostError."""

    def release(self, job_id: str) -> None:
        """Forget worker and lease (after a transition out of running)."""

    def list_leases(self, job_id: str | None = None) -> list[HeldLease]:
        """Return the leases of all running jobs, or of one."""

    def count_loss(self, job_id: str) -> int:
        """Add one to the attempts lost in a row and return how many they are now."""

    def reset_losses(self, job_id: str) -> None:
        """Set the attempts lost in a row to 0 (a person resumed the job)."""

    def list_to_enqueue(self, now: datetime, *, latest: datetime, limit: int = 100) -> list[str]:
        """Return pending jobs that no message may be waiting for, oldest first.

        ``next_enqueue_at`` is reached, was never set, or lies beyond ``latest`` (a clock was set back).
        """

    def mark_enqueued(self, job_id: str, *, next_enqueue_at: datetime) -> None:
        """Note that a message was sent, and when to doubt it."""


class MetricRepository(Protocol):
    """Metric rows, clustered by job and epoch."""

    def put(self, *metrics: TrainingMetric) -> None:
        """Insert rows of one job in their order, or replace those of the same epochs: the later attempt wins."""

    def find(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> list[TrainingMetric]:
        """Return rows with ``since_epoch < epoch <= until_epoch`` in order."""

    def list_epochs(self, job_id: str, epochs: Sequence[int]) -> list[TrainingMetric]:
        """Return the named epochs in order."""

    def iterate_columns(
        self, job_id: str, *, series: Sequence[str] = VALUE_FIELDS, since_epoch: int = 0, until_epoch: int | None = None
    ) -> Iterator[RawColumns]:
        """Yield the range in order, a few thousand rows at a time. Nothing else is asked of the transaction before the last of them."""

    def list_columns(self, job_id: str, epochs: Sequence[int], *, series: Sequence[str] = VALUE_FIELDS) -> RawColumns:
        """Return the named epochs in order."""

    def find_bounds(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> tuple[int, int] | None:
        """Return the first and the last epoch of the range, None where it has no row."""

    def overview(self, job_id: str, *, series: Sequence[str], since_epoch: int, until_epoch: int, max_width: int) -> Overview:
        """Return the range as summaries no wider than ``max_width`` epochs, and as rows where no summary is there.

        Never out of date: what is summarized is what the rows of this transaction say.
        """

    def summarize(self, job_id: str, *, since_epoch: int, until_epoch: int) -> None:
        """Write the summaries of a range whose rows came without them. Needs a write transaction that holds the job's row."""

    def copy(self, source_job_id: str, target_job_id: str, *, until_epoch: int) -> int:
        """Copy rows to another job (continue); returns how many."""

    def delete_after(self, job_id: str, epoch: int) -> int:
        """Remove rows beyond ``epoch`` (never needed by resume, which overwrites; for repair)."""


class AuditRepository(Protocol):
    """The audit log. Nothing in it can be changed or removed, by whatever means of the database's own."""

    def append(self, entry: AuditEntry) -> None:
        """Add a line; its position is given by the database, whatever the entry says."""

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        """Return entries that match, newest first."""


@dataclass(frozen=True)
class LogLine:
    """One line of a job's text log; ``number`` counts from 1 per job."""

    number: int
    timestamp: datetime
    text: str


class LogRepository(Protocol):
    """The text log of each job."""

    def append(self, job_id: str, lines: Sequence[str], *, now: datetime) -> int:
        """Append lines (each cut at 4 000 characters); returns the newest number."""

    def find(self, job_id: str, *, since: int = 0, limit: int = 5000) -> list[LogLine]:
        """Return lines with ``number > since`` in order."""

    def cut(self, job_id: str, *, num_kept: int) -> int:
        """Remove all but the newest ``num_kept`` lines; returns how many went. Numbers of those that stay do not change."""


class DatasetRepository(Protocol):
    """Data set rows (the arrays are artifacts)."""

    def add(self, dataset: Dataset) -> None:
        """Store a new row."""

    def get(self, dataset_id: str, *, lock: bool = False) -> Dataset:
        """Return the data set. NotFoundError."""

    def save(self, dataset: Dataset, *, expected_version: int) -> None:
        """Compare-and-set on ``version``."""

    def find_all(self) -> list[Dataset]:
        """Return all, newest first."""

    def delete(self, dataset_id: str) -> None:
        """Remove the row. ConflictError while active jobs use it."""

    def find_by_content(self, content_hash: str) -> Dataset | None:
        """Return a ready data set with the same content, if any."""


class ModelRepository(Protocol):
    """Model rows (the networks are artifacts)."""

    def add(self, model: TrainedModelDetail) -> None:
        """Store a new row."""

    def get(self, model_id: str, *, lock: bool = False) -> TrainedModelDetail:
        """Return one with all its detail. NotFoundError."""

    def find_all(self) -> list[TrainedModel]:
        """Return all, newest first, without detail."""

    def rename(self, model_id: str, *, name: str, version: int) -> None:
        """Change name and version."""

    def delete(self, model_id: str) -> None:
        """Remove the row; jobs keep their history."""

    def next_version(self, name: str) -> int:
        """Return 1 + the highest version under this name (locks the name until the transaction ends)."""

    def find_by_bundle_hash(self, bundle_hash: str) -> TrainedModelDetail | None:
        """Return the model that the same bundle content became."""


class Transaction(Protocol):
    """All repositories on one transaction. Not for sharing between threads."""

    @property
    def jobs(self) -> JobRepository: ...
    @property
    def metrics(self) -> MetricRepository: ...
    @property
    def events(self) -> EventRepository: ...
    @property
    def logs(self) -> LogRepository: ...
    @property
    def audit(self) -> AuditRepository: ...
    @property
    def datasets(self) -> DatasetRepository: ...
    @property
    def models(self) -> ModelRepository: ...
    @property
    def upkeep(self) -> UpkeepRepository: ...


class Store(Protocol):
    """The database."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Open a write transaction: committed on a clean exit, rolled back on any exception."""

    def read(self, *, settled: bool = False) -> AbstractContextManager[Transaction]:
        """Open a consistent read; ``settled`` where it asks for the whole log or the jobs' fingerprint. It reads the newest data."""

    def ping(self) -> None:
        """Raise UnavailableError where the database does not answer."""

    def check_write(self, patience_s: float) -> None:
        """Really write, changing nothing. LockedError where somebody holds the write lock for longer than ``patience_s``."""

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe to call from several processes at once."""

    def close(self) -> None:
        """Give back every connection."""


@dataclass(frozen=True)
class Signal:
    """What a watcher saw: whether new events may be there, and the ticks that came."""

    has_events: bool
    ticks: tuple[Tick, ...] = ()


class Watcher(Protocol):
    """A subscription to the doorbell, for one thread."""

    def wait(self, timeout_s: float) -> Signal:
        """Return as soon as something happened, or an empty signal after the time-out. A lost connection counts as 'may be new'."""

    def close(self) -> None:
        """End the subscription."""


class LiveChannel(Protocol):
    """The doorbell and the ticks: lossy, outside the transactions. Losing all of it loses no event."""

    def publish_tick(self, tick: Tick) -> None:
        """Say a tick; never raises for a full disk or an absent reader."""

    def watch(self) -> Watcher:
        """Subscribe from now on."""

    def close(self) -> None:
        """Give back the connection that ticks are said on."""


class ArtifactStore(Protocol):
    """Files by key (``models/<id>/model.onnx``). Keys are made by the server, never from user text."""

    def put(self, key: str, source: Path) -> None:
        """Store a file atomically (temporary name, fsync, rename); the source may be moved away. StorageFullError leaves nothing."""

    def write(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Write a file atomically: it appears on a clean exit, or not at all."""

    def open(self, key: str) -> BinaryIO:
        """Open for reading. NotFoundError."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give a local path of the file or folder for reading, for as long as the context lives."""

    def put_folder(self, key: str, source: Path) -> None:
        """Store a folder: visible as a whole or not at all."""

    def size(self, key: str) -> int:
        """Return the size of a file or the sum of a folder. NotFoundError."""

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""

    def delete(self, key: str) -> None:
        """Remove a file or folder; a key that is not there is no error."""

    def find(self, prefix: str) -> list[str]:
        """Return the keys of files below a prefix."""

    def modified_at(self, key: str) -> datetime:
        """Return when the file, or the newest file of the folder, was written. NotFoundError."""

    def ping(self) -> None:
        """Raise UnavailableError where nothing can be written."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a fresh folder on the same file system, removed at the end."""

    def sweep_stale(self, older_than_s: float = 0.0) -> int:
        """Remove what processes that died left unfinished; returns how many. Never touches what a living process uses."""

    def free_bytes(self) -> int:
        """Return the bytes free where files are written first."""

    def close(self) -> None:
        """Give back this process's scratch place."""


class JobQueue(Protocol):
    """Wakes workers. The database is the truth; a lost message costs seconds, a doubled one nothing."""

    def enqueue_job(self, job_id: str, *, needs_gpu: bool) -> None:
        """Send ``run_job``. UnavailableError where the broker is away, within 2 seconds."""

    def enqueue_dataset(self, dataset_id: str) -> None:
        """Send ``build_dataset``."""

    def ping(self) -> None:
        """Raise UnavailableError where the broker is away, within 2 seconds."""

    def prepare(self) -> None:
        """Load what the first message needs. May be called from any thread, and need not be called at all."""

    def close(self) -> None:
        """Give back the connection."""


class ModelVerifier(Protocol):
    """Loads an untrusted network in a child process without network and with limits, and repeats its samples."""

    def examine(self, onnx_path: Path, samples_path: Path | None, on_check: OnCheck | None = None) -> Examination:
        """Run the checks. A network that fails one is an answer, no exception; UnavailableError where nothing could be run.
        ``on_check`` hears of each check once it is done, in the calling thread; the answer holds them all again.
        """
