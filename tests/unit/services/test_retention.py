"""Retention ends what nobody needs any more, says so, and leaves alone what a job may go on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from heimdall.domain.errors import ConflictError, UnavailableError
from heimdall.domain.jobs import Claim, JobStatus
from heimdall.services.disposal import Disposal
from heimdall.services.retention import Retention, RetentionPolicy, RetentionReport
from tests.unit.services.job_bench import JobBench, make_draft

DAY_S: Final = 86400.0
POLICY: Final = RetentionPolicy(checkpoint_days=30, log_days=60, log_lines=3)


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


def make(bench: JobBench, policy: RetentionPolicy = POLICY) -> Retention:
    return Retention(store=bench.store, clock=bench.clock, policy=policy)


def collect(bench: JobBench) -> int:
    return Disposal(store=bench.store, artifacts=bench.artifacts, clock=bench.clock).collect()  # type: ignore[arg-type]


def start(bench: JobBench, folder: Path) -> Claim:
    claim = bench.claim(bench.create())
    bench.save_checkpoint(claim, folder, 1)
    return claim


def end(bench: JobBench, claim: Claim, folder: Path, how: str) -> None:
    if how == "completed":
        bench.attempts.finish_completed(claim, make_draft(folder))
    elif how == "failed":
        bench.attempts.finish_failed(claim, "It broke.")
    else:
        bench.attempts.finish_cancelled(claim)


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_a_checkpoint_of_an_ended_job_goes_after_its_days_and_the_job_says_why(bench: JobBench, tmp_path: Path, how: str) -> None:
    claim = start(bench, tmp_path)
    end(bench, claim, tmp_path, how)
    bench.clock.advance(30 * DAY_S)
    assert make(bench).sweep().is_quiet
    bench.clock.advance(1)
    assert make(bench).sweep() == RetentionReport(num_checkpoints=1)
    assert [key for key in bench.artifacts.files if key.startswith("checkpoints/")], "the files go by the second phase"
    assert collect(bench) == 1
    assert [key for key in bench.artifacts.files if key.startswith("checkpoints/")] == []

    job = bench.jobs.get(claim.job_id)
    assert (job.status, job.checkpoint) == (JobStatus(how), None)
    frames, last_seq = bench.jobs.events(claim.job_id)
    assert [frame.seq for frame in frames] == list(range(1, last_seq + 1))
    assert make(bench).sweep().is_quiet


def test_continuing_it_is_refused_with_the_date_and_what_to_do(bench: JobBench, tmp_path: Path) -> None:
    claim = start(bench, tmp_path)
    end(bench, claim, tmp_path, "cancelled")
    bench.clock.advance(31 * DAY_S)
    make(bench).sweep()
    with pytest.raises(ConflictError) as caught:
        bench.jobs.continue_job(claim.job_id, epochs=20)
    assert caught.value.code == "checkpoint_expired"
    assert "removed on 2026-06-04" in caught.value.detail
    assert "Create a new job" in caught.value.detail


def test_a_job_that_never_had_a_checkpoint_is_not_said_to_have_lost_one(bench: JobBench) -> None:
    claim = bench.claim(bench.create())
    bench.attempts.finish_cancelled(claim)
    bench.clock.advance(31 * DAY_S)
    make(bench).sweep()
    with pytest.raises(ConflictError) as caught:
        bench.jobs.continue_job(claim.job_id, epochs=20)
    assert caught.value.code == "no_checkpoint"


def _leave_running(bench: JobBench, claim: Claim) -> None:
    bench.record_epoch(claim, 1)


def _pause(bench: JobBench, claim: Claim) -> None:
    bench.attempts.finish_paused(claim)


def _wait_again(bench: JobBench, claim: Claim) -> None:
    bench.attempts.finish_paused(claim)
    bench.jobs.resume(claim.job_id)


@pytest.mark.parametrize("leave", [_leave_running, _pause, _wait_again])
def test_what_a_job_goes_on_with_stays_for_ever(bench: JobBench, tmp_path: Path, leave: Callable[[JobBench, Claim], None]) -> None:
    claim = start(bench, tmp_path)
    leave(bench, claim)
    bench.clock.advance(10_000 * DAY_S)
    assert make(bench).sweep().is_quiet
    job = bench.jobs.get(claim.job_id)
    assert job.checkpoint is not None
    assert bench.artifacts.exists(job.checkpoint.key)


def test_no_file_goes_while_a_backup_holds(bench: JobBench, tmp_path: Path) -> None:
    claim = start(bench, tmp_path)
    end(bench, claim, tmp_path, "failed")
    bench.clock.advance(31 * DAY_S)
    with bench.store.write() as tx:
        tx.upkeep.hold("backup", until=bench.clock.now() + (bench.clock.now() - bench.clock.time.replace(year=2025)))
    make(bench).sweep()
    assert collect(bench) == 0
    with bench.store.write() as tx:
        tx.upkeep.release("backup")
    assert collect(bench) == 1


def test_logs_go_by_age_once_the_job_ended_and_by_length_always(bench: JobBench) -> None:
    ended, running = bench.claim(bench.create()), bench.claim(bench.create(job_name="second"))
    with bench.store.write() as tx:
        for claim in (ended, running):
            tx.logs.append(claim.job_id, [f"line {number}" for number in range(1, 6)], now=bench.clock.now())
    bench.attempts.finish_cancelled(ended)
    assert make(bench).sweep() == RetentionReport(num_log_lines=4)
    assert [line.number for line in bench.jobs.logs(running.job_id)] == [3, 4, 5]
    bench.clock.advance(61 * DAY_S)
    assert make(bench).sweep() == RetentionReport(num_logs=1)
    assert bench.jobs.logs(ended.job_id) == []
    assert [line.number for line in bench.jobs.logs(running.job_id)] == [3, 4, 5]


def test_a_policy_of_zeros_keeps_everything(bench: JobBench, tmp_path: Path) -> None:
    claim = start(bench, tmp_path)
    with bench.store.write() as tx:
        tx.logs.append(claim.job_id, ["line"] * 500, now=bench.clock.now())
    end(bench, claim, tmp_path, "failed")
    bench.clock.advance(10_000 * DAY_S)
    assert make(bench, RetentionPolicy()).sweep().is_quiet


def test_more_jobs_than_one_batch_are_swept_at_once(bench: JobBench, tmp_path: Path) -> None:
    for _ in range(103):
        end(bench, start(bench, tmp_path), tmp_path, "cancelled")
    bench.clock.advance(31 * DAY_S)
    assert make(bench).sweep().num_checkpoints == 103


def test_a_store_that_goes_away_leaves_the_rest_for_the_next_sweep(
    bench: JobBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = start(bench, tmp_path)
    end(bench, claim, tmp_path, "cancelled")
    bench.clock.advance(31 * DAY_S)

    def refuse() -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "write", refuse)
        with pytest.raises(UnavailableError):
            make(bench).sweep()
    assert make(bench).sweep().num_checkpoints == 1
