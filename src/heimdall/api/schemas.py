"""Shapes that only the border has: pages, answers to actions and the error body. Everything else is the domain's own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heimdall.domain.audit import AuditEntry
from heimdall.domain.base import Entity
from heimdall.domain.catalogue import Architecture
from heimdall.domain.datasets import Dataset
from heimdall.domain.events import EventFrame
from heimdall.domain.jobs import Epochs, Job, Name
from heimdall.domain.models import TrainedModel, TrainedModelDetail, Verification


class Problem(Entity):
    """Every error of every route."""

    code: str = Field(description="machine-readable name of the kind of error")
    detail: str = Field(description="one plain sentence for a person, saying what to do next")
    field: str | None = Field(default=None, description="the request field or JSON path at fault, if one is")


class TrainingJob(Job):
    """One training of one architecture on one data set."""


class CreatedJob(TrainingJob):
    """The new job, with its id under the name that the creator waits for."""

    job_id: str


class JobPage(Entity):
    """One page of jobs, without metrics."""

    jobs: tuple[TrainingJob, ...]
    total: int = Field(description="jobs that match, over all pages")
    next_cursor: str | None = Field(description="ask with it for the next page; null on the last")


class ModelPage(Entity):
    """All models, newest first."""

    models: tuple[TrainedModel, ...]
    total: int


class DatasetPage(Entity):
    """All data sets, newest first."""

    datasets: tuple[Dataset, ...]
    total: int


class ArchitecturePage(Entity):
    """The catalogue of networks."""

    architectures: tuple[Architecture, ...]


class EventPage(Entity):
    """A piece of a job's event log, as the socket sends it."""

    events: tuple[EventFrame, ...]
    last_seq: int = Field(description="the job's newest event; ask again from the last one received while it is smaller")


class AuditPage(Entity):
    """A piece of the audit log, newest first."""

    entries: tuple[AuditEntry, ...]
    next_before: int | None = Field(description="ask with it as `before` for what is older; null on the last page")


class ImportResult(Entity):
    """What became of an imported bundle."""

    model_id: str
    verification: Verification
    model: TrainedModelDetail


class RenameModel(Entity):
    """The new name of a model; its version is counted anew under that name."""

    name: Name


class ContinueJob(Entity):
    """What the continuing job does differently from the one it continues; null keeps it."""

    epochs: Epochs | None = Field(default=None, description="Epochs in total, those of the checkpoint included.")
    job_name: Name | None = Field(default=None, description="Name of the new job.")


class Dependency(Entity):
    """One thing the server cannot do without."""

    name: str
    status: Literal["up", "locked", "down"]
    detail: str | None = Field(description="what is wrong and what to do; null while it is up")


class ReadinessWarning(Entity):
    """Something that works still and needs a person soon."""

    name: Literal["disk"]
    detail: str = Field(description="one plain sentence, and what to do")


class ServerWarnings(Entity):
    """What a person should see to, though the server works."""

    warnings: tuple[ReadinessWarning, ...]


class Readiness(Entity):
    """Whether the server can do its work now."""

    status: Literal["ready", "unavailable"]
    dependencies: tuple[Dependency, ...]
    warnings: tuple[ReadinessWarning, ...] = Field(default=(), description="what does not fail readiness yet")


class Liveness(Entity):
    """The process answers."""

    status: Literal["alive"] = "alive"
    version: str
