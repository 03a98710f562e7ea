"""The job: its configuration, its six states and the one table of legal moves."""

from __future__ import annotations

import math
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from heimdall.domain.base import BIDI_CONTROLS, Entity, Instant
from heimdall.domain.errors import IllegalTransitionError, InvalidInputError

DEFAULT_MAX_ATTEMPTS: Final = 5
"""Attempts lost in a row without one finished epoch before a job is called failed."""


class JobStatus(StrEnum):
    """The six states; nowhere another."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True where nothing changes any more."""
        return self in FINAL_STATUSES


FINAL_STATUSES: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
ACTIVE_STATUSES: Final = frozenset(JobStatus) - FINAL_STATUSES


class PendingAction(StrEnum):
    """Asked for and not yet done: the truth between click and effect."""

    PAUSE = "pause"
    CANCEL = "cancel"


class JobEvent(StrEnum):
    """What can happen to a job (columns of the contract's table)."""

    CLAIMED = "claimed"
    PAUSE_DONE = "pause_done"
    CANCEL_DONE = "cancel_done"
    FINISHED = "finished"
    ERROR = "error"
    WORKER_LOST = "worker_lost"
    RESUMED = "resumed"


TRANSITIONS: Final[dict[tuple[JobStatus, JobEvent], JobStatus]] = {
    (JobStatus.PENDING, JobEvent.CLAIMED): JobStatus.RUNNING,
    (JobStatus.PENDING, JobEvent.PAUSE_DONE): JobStatus.PAUSED,
    (JobStatus.PENDING, JobEvent.CANCEL_DONE): JobStatus.CANCELLED,
    (JobStatus.PENDING, JobEvent.ERROR): JobStatus.FAILED,
    (JobStatus.RUNNING, JobEvent.PAUSE_DONE): JobStatus.PAUSED,
    (JobStatus.RUNNING, JobEvent.CANCEL_DONE): JobStatus.CANCELLED,
    (JobStatus.RUNNING, JobEvent.FINISHED): JobStatus.COMPLETED,
    (JobStatus.RUNNING, JobEvent.ERROR): JobStatus.FAILED,
    (JobStatus.RUNNING, JobEvent.WORKER_LOST): JobStatus.PENDING,
    (JobStatus.PAUSED, JobEvent.RESUMED): JobStatus.PENDING,
    (JobStatus.PAUSED, JobEvent.CANCEL_DONE): JobStatus.CANCELLED,
}


def next_status(current: JobStatus, event: JobEvent) -> JobStatus:
    """Return where ``event`` leads from ``current``.

    Raises
    ------
    IllegalTransitionError
        Where the table has no such move; the message names both.
    """
    target = TRANSITIONS.get((current, event))
    if target is None:
        raise IllegalTransitionError(f"A {current} job cannot take '{event.replace('_', ' ')}'.")
    return target


def list_sources(event: JobEvent) -> frozenset[JobStatus]:
    """Return the states from which ``event`` is legal, for a compare-and-set in the database."""
    return frozenset(source for source, candidate in TRANSITIONS if candidate is event)


_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")


def _refuse_control_characters(value: str) -> str:
    if _CONTROL_CHARACTER.search(value):
        raise ValueError("must not contain control characters")
    if not BIDI_CONTROLS.isdisjoint(value):
        raise ValueError("must not contain invisible characters that turn the direction of writing; remove them")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True), AfterValidator(_refuse_control_characters)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]


class TrainingJobConfig(Entity):
    """What a job trains and how. Every default and limit of the product lives here, and only here."""

    job_name: Name = Field(description="Name shown everywhere; 1 to 255 characters.")
    epochs: Epochs = Field(default=50, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=1, le=4096, description="Examples per optimizer step.")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, allow_inf_nan=False, description="Peak rate of the optimizer.")
    model_architecture: str = Field(default="deepsets-s", min_length=1, max_length=100, description="Id from the catalogue.")
    dataset_id: str = Field(min_length=1, max_length=100, description="Id of a ready data set.")
    validation_split: float = Field(default=0.2, ge=0.05, le=0.5, allow_inf_nan=False, description="Share of the groups held out.")
    early_stopping_patience: int = Field(
        default=10, ge=0, le=1000, description="Epochs without a better validation loss before stopping; 0 turns it off."
    )
    checkpoint_every_n_epochs: int = Field(
        default=1, ge=1, le=100_000, description="Epochs between checkpoints; those that end soon after one (2 s by default) make none."
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of weights, order and dropout; the same seed gives the same run.")
    validation_fold: int = Field(
        default=0,
        ge=0,
        le=19,
        description="Which fold of groups is held out; there are floor(1 / validation split) of them, the first is 0.",
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="Update rule.")
    lr_scheduler: Literal["constant", "cosine", "onecycle", "plateau"] = Field(
        default="cosine", description="How the rate changes over the run."
    )
    weight_decay: float = Field(default=1e-2, ge=0, le=1, allow_inf_nan=False, description="Decoupled decay (AdamW) or L2.")
    max_grad_norm: float = Field(
        default=1.0, ge=0, le=1e6, allow_inf_nan=False, description="Clip the gradient's L2 norm here; 0 turns it off."
    )
    accuracy_radius_m: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Metres within which an example counts as located; left empty, the data set's own.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes CUDA where there is one.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(default="fp32", description="Autocast type; fp16 needs CUDA.")


def count_folds(validation_split: float) -> int:
    """Return floor(1 / share held out), at least 2; forgives the last bit of binary fractions such as 0.1."""
    if not 0 < validation_split <= 0.5:
        raise InvalidInputError("The share held out must lie above 0 and at most at 0.5.", field="validation_split")
    return math.floor(1 / validation_split + 1e-9)


class CheckpointFilePointer(Entity):
    """Where one durable training state of a job lies, and what its bytes hash to."""

    key: str
    sha256: str
    size_bytes: int
    epoch: int = Field(description="epochs completed")
    step: int = Field(description="optimizer steps completed over the whole run")
    batch: int = Field(default=0, description="batches done inside the next epoch; 0 at an epoch's end")
    attempt: int
    created_at: Instant
    write_s: float | None = Field(default=None, description="s that the loop stood still for it")


class Checkpoint(CheckpointFilePointer):
    """Pointer to the newest durable training state of a job, and to the one before it."""

    previous: CheckpointFilePointer | None = Field(default=None, description="the one before, kept in case the newest is damaged")

    def as_previous(self) -> CheckpointFilePointer:
        """Return the pointer alone, as the next checkpoint keeps it."""
        return CheckpointFilePointer(**self.model_dump(exclude={"previous"}))


class DeviceInfo(Entity):
    """Where the job trains: asked of the device at the start of the attempt, load from the last epoch."""

    kind: Literal["cpu", "cuda"]
    name: str
    threads: int | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    load_percent: float | None = None


class Job(Entity):
    """One training of one architecture on one data set, as stored and as shown."""

    id: str
    name: str
    status: JobStatus = JobStatus.PENDING
    pending_action: PendingAction | None = None
    created_at: Instant
    started_at: Instant | None = None
    completed_at: Instant | None = None
    config: TrainingJobConfig
    progress_percent: float = Field(default=0.0, ge=0, le=100)
    current_epoch: int = Field(default=0, description="epochs completed")
    total_epochs: int
    estimated_completion: Instant | None = Field(default=None, description="null until it can be honest")
    error_message: str | None = Field(default=None, description="one plain sentence")
    error_detail: str | None = Field(default=None, description="traceback")
    attempt: int = 0
    dataset_id: str
    model_id: str | None = None
    best_epoch: int | None = None
    best_val_loss: float | None = None
    best_val_error_median_m: float | None = Field(default=None, description="m, at the best epoch")
    last_seq: int = Field(default=0, description="the job's newest event")
    version: int = Field(default=1, description="grows with each change; a client drops older ones")
    worker_seen_at: Instant | None = Field(default=None, description="last heartbeat of the worker that runs it")
    status_changed_at: Instant | None = None
    continued_from: str | None = Field(default=None, description="the job whose checkpoint this one started from")
    checkpoint: Checkpoint | None = None
    device: DeviceInfo | None = None
    notice: str | None = Field(
        default=None,
        description="one plain sentence on what holds the job up or was healed (full disk, damaged checkpoint, no step); null otherwise",
    )
    silent_since: Instant | None = Field(
        default=None, description="last sign of progress of a training process that hangs, while its worker lives; null otherwise"
    )
    resume_is_exact: bool | None = Field(
        default=None, description="whether the last resume is bit-exact (same machine, versions, threads); null if never resumed"
    )


class Claim(Entity):
    """A worker's right to write: every write of an attempt carries it (the fencing token)."""

    job_id: str
    worker_id: str
    attempt: int


class Lease(Entity):
    """How long a claim lives without a heartbeat."""

    claim: Claim
    expires_at: datetime
