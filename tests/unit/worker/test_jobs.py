"""What the worker's own log says of an attempt's end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from heimdall.domain.jobs import Claim, Job
from heimdall.settings import Settings
from heimdall.worker.jobs import JobRunner
from heimdall.worker.spare import Children
from heimdall.worker.supervision import StopRequest
from tests.unit.services.job_bench import JobBench


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


@pytest.fixture
def runner(bench: JobBench, tmp_path: Path) -> JobRunner:
    settings = Settings(data_dir=tmp_path)
    return JobRunner(
        jobs=bench.jobs,
        attempts=bench.attempts,
        children=Children(settings),
        settings=settings,
        worker_id="w1",
        stop_request=lambda: StopRequest.NONE,
    )


def begin(bench: JobBench) -> tuple[Job, Claim]:
    job = bench.create()
    claim = bench.claim(job)
    return bench.jobs.get(job.id), claim


def test_a_pause_that_was_resumed_at_once_is_no_loss(bench: JobBench, runner: JobRunner, caplog: pytest.LogCaptureFixture) -> None:
    job, claim = begin(bench)
    bench.attempts.finish_paused(claim)
    bench.jobs.resume(job.id)
    bench.claim(job, "w1")
    with caplog.at_level(logging.INFO):
        runner._say_end(job, None)
    assert [(record.levelname, record.message) for record in caplog.records] == [("INFO", "job_paused")]


def test_an_attempt_that_another_worker_took_over_is_a_loss(bench: JobBench, runner: JobRunner, caplog: pytest.LogCaptureFixture) -> None:
    job, _ = begin(bench)
    bench.registry.gone.add("w1")
    bench.sweeper.sweep()
    bench.claim(job, "w2")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        runner._say_end(job, None)
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "attempt_lost")]
