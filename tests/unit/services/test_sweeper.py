from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import LockedError, UnavailableError
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import Transaction
from tests.unit.services.job_bench import JobBench


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


def test_a_quiet_system_is_left_alone(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    assert bench.sweeper.sweep().is_quiet


def test_a_silent_worker_loses_the_job_and_it_is_sent_again(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    assert bench.sweep_for(9) == {}
    bench.attempts.heartbeat(claim)
    assert bench.sweep_for(10) == {}
    bench.clock.advance(1)
    report = bench.sweeper.sweep()
    assert report.moved == {job.id: JobStatus.PENDING}
    assert report.sent == (job.id,)
    frame = bench.jobs.events(job.id, since=0)[0][-1]
    assert frame.event == "training_requeued"
    assert "silent for more than 10 s" in frame.data["reason"]
    assert frame.data["cause"] == "worker_silent"


def test_a_worker_of_this_machine_whose_process_is_gone_is_not_waited_for(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    bench.registry.gone.add("w1")
    assert bench.sweeper.sweep().moved == {job.id: JobStatus.PENDING}
    assert bench.jobs.events(job.id)[0][-1].data["cause"] == "worker_ended"


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_keeps_a_dead_one_alive(bench: JobBench, seconds: float) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.sweep_for(3)
    bench.clock.jump(seconds)
    assert bench.sweep_for(3) == {}
    bench.attempts.heartbeat(claim)
    assert bench.sweep_for(10) == {}
    assert bench.sweep_for(2) == {job.id: JobStatus.PENDING}


def test_a_clock_set_back_keeps_no_lost_message_waiting(bench: JobBench) -> None:
    job = bench.create()
    bench.clock.jump(-7200)
    assert bench.sweeper.sweep().sent == (job.id,)


def test_a_sweeper_that_slept_does_not_blame_the_others(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.sweeper.sweep()
    bench.clock.advance(3600)
    assert bench.sweeper.sweep().moved == {}
    bench.attempts.heartbeat(claim)
    assert bench.sweep_for(9) == {}


def test_a_database_that_was_away_gives_every_worker_its_whole_lease_again(bench: JobBench) -> None:
    bench.claim(bench.create())
    bench.sweep_for(8)
    bench.store.is_away = True
    for _ in range(20):
        bench.clock.advance(1)
        with pytest.raises(UnavailableError):
            bench.sweeper.sweep()
    bench.store.is_away = False
    assert bench.sweep_for(9) == {}


@contextmanager
def held_locked(bench: JobBench, wait_s: float, fault: Exception | None = None) -> Iterator[None]:
    """Let each writer wait so long for its turn, or in vain."""
    write = bench.store.write

    @contextmanager
    def wait_and_write() -> Iterator[Transaction]:
        bench.clock.advance(wait_s)
        if fault is not None:
            raise fault
        with write() as tx:
            yield tx

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.store, "write", wait_and_write)
        yield


def test_a_look_whether_a_silent_worker_could_write_changes_nothing(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    before = bench.jobs.get(job.id)
    assert bench.sweep_for(8) == {}
    assert bench.jobs.get(job.id) == before


@pytest.mark.parametrize("begins_after_s", [4, 6, 9])
def test_a_lock_that_ends_while_the_sweeper_waits_leaves_every_worker_time_for_a_heartbeat(bench: JobBench, begins_after_s: int) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.sweep_for(begins_after_s)
    with held_locked(bench, wait_s=9):
        assert bench.sweep_for(2) == {}
    assert bench.sweep_for(4) == {}
    bench.attempts.heartbeat(claim)
    assert bench.sweep_for(10) == {}
    assert bench.sweep_for(1) == {job.id: JobStatus.PENDING}, "a worker that is really silent is not kept for ever"


def test_a_lock_that_outlasts_every_wait_is_no_silence_of_the_workers(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.sweep_for(3)
    with held_locked(bench, wait_s=10, fault=LockedError("busy")):
        assert bench.sweep_for(8) == {}
        assert bench.sweeper.sweep().blocked == (), "the worker is not known to be gone"
    assert bench.sweep_for(4) == {}
    bench.attempts.heartbeat(claim)
    assert bench.sweep_for(10) == {}


def test_a_worker_that_is_gone_is_not_given_time_behind_a_lock(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    bench.registry.gone.add("w1")
    with held_locked(bench, wait_s=9):
        assert bench.sweeper.sweep().moved == {job.id: JobStatus.PENDING}


@pytest.mark.parametrize(("action", "status"), [("pause", JobStatus.PAUSED), ("cancel", JobStatus.CANCELLED)])
def test_an_expired_job_is_paused_or_cancelled_where_that_was_asked(bench: JobBench, action: str, status: JobStatus) -> None:
    job = bench.create()
    bench.claim(job)
    getattr(bench.jobs, action)(job.id)
    assert bench.sweep_for(11) == {job.id: status}


def test_a_job_that_loses_every_worker_fails_with_a_sentence(bench: JobBench) -> None:
    job = bench.create()
    for _ in range(3):
        bench.claim(job)
        bench.sweep_for(11)
    failed = bench.jobs.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error_message is not None
    assert "3 times in a row" in failed.error_message


def test_a_lost_message_is_sent_again_at_doubling_distances_up_to_a_minute(bench: JobBench) -> None:
    bench.queue.is_away = True
    job = bench.create()
    bench.queue.is_away = False
    sent_at = []
    for second in range(200):
        if bench.sweeper.sweep().sent == (job.id,):
            sent_at.append(second)
        bench.clock.advance(1)
    gaps = [later - earlier for earlier, later in pairwise(sent_at)]
    assert sent_at[0] == 5
    assert gaps == [5, 10, 20, 40, 60]


def test_a_broker_that_is_away_is_reported_and_tried_again_at_the_next_sweep(bench: JobBench) -> None:
    jobs = [bench.create(), bench.create()]
    bench.clock.advance(6)
    bench.queue.jobs.clear()
    bench.queue.is_away = True
    assert bench.sweeper.sweep().is_broker_away
    bench.queue.is_away = False
    assert set(bench.sweeper.sweep().sent) == {job.id for job in jobs}


def test_a_paused_or_running_job_is_not_sent(bench: JobBench) -> None:
    running, paused = bench.create(), bench.create()
    claim = bench.claim(running)
    bench.jobs.pause(paused.id)
    bench.clock.advance(8)
    bench.attempts.heartbeat(claim)
    assert bench.sweeper.sweep().sent == ()


def test_a_data_set_whose_builder_is_gone_is_sent_again(bench: JobBench) -> None:
    dataset = bench.add_dataset(DatasetStatus.BUILDING)
    bench.sweep_for(15)
    with bench.store.write() as tx:
        tx.datasets.save(dataset.evolve(progress_percent=40.0, version=dataset.version + 1), expected_version=dataset.version)
    bench.sweep_for(19)
    assert list(bench.queue.datasets) == []
    bench.sweep_for(1)
    assert list(bench.queue.datasets) == [dataset.id]


def test_a_database_that_is_away_is_the_callers_to_handle(bench: JobBench) -> None:
    bench.store.is_away = True
    with pytest.raises(UnavailableError):
        bench.sweeper.sweep()
