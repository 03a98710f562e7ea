"""Deletions have two phases, and a crash between them leaves only what the next sweep collects."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import UnavailableError
from heimdall.services.disposal import Disposal
from tests.unit.services.job_bench import JobBench


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


def make_disposal(bench: JobBench) -> Disposal:
    return Disposal(store=bench.store, artifacts=bench.artifacts, clock=bench.clock)  # type: ignore[arg-type]


def buried(bench: JobBench) -> list[str]:
    with bench.store.read() as tx:
        return tx.upkeep.list_buried()


def finish_with_checkpoint(bench: JobBench, folder: Path) -> str:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, folder, 1)
    bench.attempts.finish_cancelled(claim)
    return job.id


def test_files_that_could_not_go_stay_buried_until_they_can(bench: JobBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = finish_with_checkpoint(bench, tmp_path)

    def refuse(key: str) -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "delete", refuse)
        bench.jobs.delete(job_id)
    assert buried(bench) == [f"checkpoints/{job_id}"]
    assert bench.artifacts.files
    assert make_disposal(bench).collect() == 1
    assert (bench.artifacts.files, buried(bench)) == ({}, [])


def test_a_crash_after_the_transaction_leaves_what_the_next_sweep_collects(
    bench: JobBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finish_with_checkpoint(bench, tmp_path)

    def die(key: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            bench.jobs.delete(job_id)
    assert make_disposal(bench).collect() == 1
    assert bench.artifacts.files == {}


def test_nothing_goes_while_a_backup_holds(bench: JobBench, tmp_path: Path) -> None:
    job_id = finish_with_checkpoint(bench, tmp_path)
    with bench.store.write() as tx:
        tx.upkeep.hold("backup", until=bench.clock.now() + timedelta(seconds=60))
    bench.jobs.delete(job_id)
    assert len(bench.artifacts.files) == 1
    bench.clock.advance(61)
    make_disposal(bench).collect()
    assert bench.artifacts.files == {}


def test_a_checkpoint_that_a_backup_may_be_copying_stays(bench: JobBench, tmp_path: Path) -> None:
    claim = bench.claim(bench.create())
    for step in (1, 2):
        bench.save_checkpoint(claim, tmp_path, step)
    with bench.store.write() as tx:
        tx.upkeep.hold("backup", until=bench.clock.now() + timedelta(seconds=60))
    for step in (3, 4):
        bench.save_checkpoint(claim, tmp_path, step)
    assert len(bench.artifacts.files) == 4
    bench.clock.advance(61)
    bench.save_checkpoint(claim, tmp_path, 5)
    assert [key.rsplit("-s")[1][0] for key in bench.artifacts.files] == ["4", "5"]


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        (DatasetStatus.BUILDING, {"datasets", "incoming"}),
        (DatasetStatus.READY, {"datasets"}),
        (DatasetStatus.FAILED, set()),
        (None, set()),
    ],
)
def test_a_key_that_lives_again_is_not_removed(bench: JobBench, status: DatasetStatus | None, kept: set[str]) -> None:
    dataset_id = bench.add_dataset(status).id if status else "gone"
    bench.artifacts.files = {f"{top}/{dataset_id}/x": b"x" for top in ("datasets", "incoming")}
    with bench.store.write() as tx:
        tx.upkeep.bury(*(f"{top}/{dataset_id}" for top in ("datasets", "incoming")), now=bench.clock.now())
    make_disposal(bench).collect()
    assert {key.split("/")[0] for key in bench.artifacts.files} == kept
    assert buried(bench) == []
