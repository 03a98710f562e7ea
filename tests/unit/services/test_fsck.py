"""What a crash left is found, said in a sentence, and repaired only where it is old and still so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, JobStatus
from heimdall.domain.ports import Store
from heimdall.services.fsck import Finding, Fsck
from heimdall.services.retention import Retention, RetentionPolicy
from heimdall.services.upkeep import HOURLY_S, Upkeep
from heimdall.storage.artifacts import FsspecArtifacts, open_artifacts
from heimdall.storage.memory import MemoryStore
from tests.contract.samples import a_dataset, a_job, a_metric, a_model, add


class LaterClock:
    """The machine's time and some more: a file's age cannot be set."""

    def __init__(self) -> None:
        self.ahead = timedelta(hours=2)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Bench:
    def __init__(self, artifacts: FsspecArtifacts) -> None:
        self.store: Store = MemoryStore()
        self.artifacts = artifacts
        self.clock = LaterClock()
        self.fsck = Fsck(store=self.store, artifacts=artifacts, clock=self.clock)

    def put(self, *keys: str) -> None:
        for key in keys:
            with self.artifacts.write(key) as target:
                target.write(b"x")

    def codes(self, **options: bool) -> dict[str, str]:
        return {finding.code: finding.subject for finding in self.fsck.find(**options)}

    def repair(self) -> list[bool | None]:
        return [None if finding.repair is None else finding.repair() for finding in list(self.fsck.find())]


@pytest.fixture(params=["folder", "memory"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = str(tmp_path / "artifacts") if request.param == "folder" else f"memory://fsck-{tmp_path.name}"
    artifacts = open_artifacts(url, cache_dir=tmp_path / "cache")
    yield Bench(artifacts)
    artifacts.close()


ORPHANS = ("models/m/model.onnx", "checkpoints/j/a1-s1-b0.safetensors", "incoming/d/0.csv", "incoming/ready/0.csv")


def test_files_that_no_row_owns_go_when_they_are_old_and_others_stay(bench: Bench) -> None:
    job = add(bench.store, a_job(id="job"))
    with bench.store.write() as tx:
        tx.datasets.add(a_dataset(id="ready", status=DatasetStatus.BUILDING))
        tx.datasets.add(a_dataset(id="building", status=DatasetStatus.BUILDING))
        tx.datasets.save(a_dataset(id="ready", status=DatasetStatus.FAILED, version=2), expected_version=1)
        tx.models.add(a_model(id="mine", onnx_path="models/mine/model.onnx"))
    kept = {"models/mine/model.onnx", "incoming/building/0.csv", f"checkpoints/{job.id}/a1-s1-b0.safetensors", "strange/thing/x"}
    bench.put(*ORPHANS, *kept)
    bench.clock.ahead = timedelta(0)
    assert bench.repair() == []
    bench.clock.ahead = timedelta(hours=2)
    assert bench.repair() == [True] * 4
    assert set(bench.artifacts.find("")) == kept
    assert bench.repair() == []


def test_a_row_that_came_meanwhile_keeps_its_files(bench: Bench) -> None:
    bench.put("models/m/model.onnx")
    (finding,) = list(bench.fsck.find())
    with bench.store.write() as tx:
        tx.models.add(a_model(id="m", onnx_path="models/m/model.onnx"))
    assert finding.repair is not None
    assert finding.repair() is False
    assert bench.artifacts.exists("models/m/model.onnx")


def test_the_worker_removes_orphans_at_its_start_and_once_an_hour(bench: Bench) -> None:
    time_s = 0.0
    retention = Retention(store=bench.store, clock=bench.clock, policy=RetentionPolicy())
    upkeep = Upkeep(store=bench.store, artifacts=bench.artifacts, clock=bench.clock, retention=retention, monotonic=lambda: time_s)
    bench.put("models/first/model.onnx")
    upkeep.tidy()
    assert not bench.artifacts.exists("models/first/model.onnx")
    bench.put("models/m/model.onnx")
    upkeep.tidy()
    assert bench.artifacts.exists("models/m/model.onnx")
    time_s = HOURLY_S
    upkeep.tidy()
    assert not bench.artifacts.exists("models/m/model.onnx")


def test_a_final_job_is_brought_back_to_what_is_true(bench: Bench) -> None:
    pointer = Checkpoint(
        key="checkpoints/job/a1-s1-b0.safetensors", sha256="0" * 64, size_bytes=1, epoch=1, step=1, attempt=1, created_at=bench.clock.now()
    )
    job = a_job(id="job", status=JobStatus.COMPLETED, model_id="gone", checkpoint=pointer, current_epoch=1, last_seq=1)
    add(bench.store, job)
    with bench.store.write() as tx:
        tx.events.append("job", seq=1, type=EventType.UPDATED, payload={}, now=bench.clock.now())
        for epoch in (1, 2):
            tx.metrics.put(a_metric("job", epoch))
    assert set(bench.codes()) == {"dangling_model", "metrics_beyond_progress", "checkpoint_missing"}
    assert bench.repair() == [True] * 3
    assert bench.codes() == {}
    with bench.store.read() as tx:
        job = tx.jobs.get("job")
        assert (job.model_id, job.checkpoint, job.status) == (None, None, JobStatus.COMPLETED)
        assert [event.seq for event in tx.events.list_of_job("job")] == list(range(1, job.last_seq + 1))
        assert [row.epoch for row in tx.metrics.find("job")] == [1]


@pytest.mark.parametrize("seqs", [(1, 3), (2, 3), (1, 2), (1, 2, 3, 4)])
def test_a_log_with_holes_is_named_and_nothing_is_invented(bench: Bench, seqs: tuple[int, ...]) -> None:
    add(bench.store, a_job(id="job", last_seq=3))
    with bench.store.write() as tx:
        for seq in seqs:
            tx.events.append("job", seq=seq, type=EventType.UPDATED, payload={}, now=bench.clock.now())
    findings = list(bench.fsck.find())
    assert [(finding.code, finding.repair) for finding in findings] == [("events_not_dense", None)]


def damage_missing(bench: Bench) -> bool:
    bench.artifacts.delete("models/m/model.onnx")
    bench.artifacts.delete("datasets/ready")
    return False


def damage_changed(bench: Bench) -> bool:
    bench.put("models/m/model.onnx", "datasets/ready/manifest.json")
    return True


@pytest.mark.parametrize("damage", [damage_missing, damage_changed])
def test_damaged_networks_and_data_sets_are_named_and_no_job_starts_on_them(bench: Bench, damage: Callable[[Bench], bool]) -> None:
    with bench.store.write() as tx:
        tx.models.add(a_model(id="m", onnx_path="models/m/model.onnx"))
        tx.datasets.add(a_dataset(id="ready"))
    is_deep = damage(bench)
    findings: list[Finding] = list(bench.fsck.find(is_deep=is_deep))
    assert {finding.code for finding in findings} == {"model_damaged", "dataset_damaged"}
    assert [finding.repair() for finding in findings if finding.repair] == [True]
    with bench.store.read() as tx:
        assert tx.datasets.get("ready").status is DatasetStatus.FAILED
