"""An attempt whose training is played: what a full disk and a damaged checkpoint mean to the job."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heimdall.bootstrap import Container
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.errors import StorageFullError
from heimdall.domain.jobs import JobStatus, TrainingJobConfig
from heimdall.domain.training import TrainingOutcome, TrainingRequest
from heimdall.services.jobs import FULL_DISK_NOTICE
from heimdall.worker.child import Attempt, ChildOrder
from heimdall.worker.exits import ExitCode
from tests.serving import NOW, make_container
from tests.unit.services.job_bench import make_draft, write_checkpoint

Play = Callable[[TrainingRequest], TrainingOutcome]


class PlayedAttempt(Attempt):
    """Trains nothing: each call of training is the next play."""

    def __init__(self, container: Container, order: ChildOrder, plays: list[Play]) -> None:
        super().__init__(container, order)
        self._plays = plays

    def _train(self, request: TrainingRequest) -> TrainingOutcome:
        return self._plays.pop(0)(request)


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.container = make_container(folder / "data")
        dataset = Dataset(
            id="data", name="data", status=DatasetStatus.READY, kind=DatasetKind.SYNTHETIC, created_at=NOW, num_examples=9, config_hash="0"
        )
        with self.container.store.write() as tx:
            tx.datasets.add(dataset)
        (folder / "data" / "artifacts" / "datasets" / "data").mkdir(parents=True)
        self.job_id = self.container.jobs.create(TrainingJobConfig(job_name="j", dataset_id="data"))[0].id
        claimed = self.container.attempts.claim(self.job_id, "w1")
        assert claimed is not None
        self.claim = claimed[1]

    def run(self, *plays: Play) -> ExitCode:
        return PlayedAttempt(self.container, ChildOrder(self.claim, None), list(plays)).run()

    def reasons(self) -> list[object]:
        return [frame.data.get("reason") for frame in self.container.jobs.events(self.job_id)[0]]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    before = signal.getsignal(signal.SIGTERM)
    made = Stage(tmp_path)
    yield made
    made.container.close()
    signal.signal(signal.SIGTERM, before)


def run_out_of_space(_: TrainingRequest) -> TrainingOutcome:
    raise StorageFullError("The disk is full.")


def test_what_a_full_disk_interrupted_is_done_again_and_the_job_completes(stage: Stage) -> None:
    assert stage.run(run_out_of_space, lambda _: TrainingOutcome(model=make_draft(stage.folder))) is ExitCode.DONE
    job = stage.container.jobs.get(stage.job_id)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)
    assert "waiting" in stage.reasons()
    assert [path.name for path in stage.folder.rglob("*.partial")] == []


def test_a_cancel_is_heard_while_the_disk_is_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.container.artifacts, "free_bytes", lambda: 0)

    def cancel(request: TrainingRequest) -> TrainingOutcome:
        stage.container.jobs.cancel(stage.job_id)
        return run_out_of_space(request)

    assert stage.run(cancel) is ExitCode.DONE
    job = stage.container.jobs.get(stage.job_id)
    assert (job.status, job.notice) == (JobStatus.CANCELLED, None)
    said = [frame.data["job"]["notice"] for frame in stage.container.jobs.events(stage.job_id)[0] if "job" in frame.data]
    assert FULL_DISK_NOTICE in said


def test_training_gets_the_checkpoint_before_the_damaged_one(stage: Stage) -> None:
    for step in (10, 20):
        stage.container.attempts.save_checkpoint(stage.claim, write_checkpoint(stage.folder, step, step // 10))
    newest = stage.container.jobs.get(stage.job_id).checkpoint
    assert newest is not None
    (stage.folder / "data" / "artifacts" / newest.key).write_bytes(b"torn")
    given: list[TrainingRequest] = []

    def train(request: TrainingRequest) -> TrainingOutcome:
        given.append(request)
        assert request.checkpoint_path is not None
        assert request.checkpoint_path.read_bytes() == b"weights at 10"
        return TrainingOutcome(model=make_draft(stage.folder))

    assert stage.run(train) is ExitCode.DONE
    assert given[0].checkpoint is not None
    assert given[0].checkpoint.step == 10
    assert "checkpoint_damaged" in stage.reasons()


def test_none_good_fails_the_job_with_a_sentence(stage: Stage) -> None:
    stage.container.attempts.save_checkpoint(stage.claim, write_checkpoint(stage.folder, 10))
    newest = stage.container.jobs.get(stage.job_id).checkpoint
    assert newest is not None
    (stage.folder / "data" / "artifacts" / newest.key).unlink()
    assert stage.run() is ExitCode.DONE
    failed = stage.container.jobs.get(stage.job_id)
    assert failed.status is JobStatus.FAILED
    assert failed.error_message is not None
    assert "is gone" in failed.error_message
    assert "no older one to go on from" in failed.error_message
