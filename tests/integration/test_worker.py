"""Workers, killed, frozen, stopped and told: what happens to the job. Real processes on SQLite and the embedded broker."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from heimdall.domain.errors import IllegalTransitionError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import JobStatus, PendingAction
from heimdall.worker.slate import Slate
from tests.instance import wait_until
from tests.integration.worker_bench import LONG, WorkerBench


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., WorkerBench]]:
    made: list[WorkerBench] = []

    def make(**settings: object) -> WorkerBench:
        made.append(WorkerBench(tmp_path / "data", **settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def is_warm(process: psutil.Process) -> bool:
    """Imports done: torch is mapped and the process sleeps in its wait for an order."""
    return any("libtorch_cpu" in area.path for area in process.memory_maps()) and process.status() == psutil.STATUS_SLEEPING


def test_a_killed_child_costs_seconds_and_the_job_completes_with_every_epoch_once(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench(lease_s=300.0)  # a crash does not wait for the lease to run out
    worker = bench.start_worker()
    job = bench.create(epochs=60, batch_size=8)
    bench.wait_epoch(job.id)
    bench.child(job.id).kill()
    bench.wait(job.id, JobStatus.RUNNING, attempt=2)
    # the same worker, told twice more about the same job, does nothing with it
    for _ in range(3):
        bench.container.queue.enqueue_job(job.id, needs_gpu=False)
    done = bench.wait(job.id, JobStatus.COMPLETED)

    assert (done.attempt, done.current_epoch) == (2, 60)
    bench.assert_whole(done)
    kinds = [kind for kind, _ in bench.events(job.id)]
    assert kinds.count("started") == kinds.count("requeued") == kinds.count("resumed") == kinds.count("completed") == 1
    reason = dict(bench.events(job.id))["requeued"]
    assert reason is not None
    assert "killed (SIGKILL), perhaps out of memory" in reason
    assert "killed (SIGKILL)" in bench.job_log(job.id)
    assert done.model_id is not None
    assert bench.container.models.get(done.model_id).training_job_id == job.id
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


@pytest.mark.parametrize("leases", [0, 1.5])
def test_no_epoch_that_a_killed_child_had_reported_is_lost(make_bench: Callable[..., WorkerBench], leases: float) -> None:
    """Also where the database is held locked for longer than a lease lasts."""
    bench = make_bench()
    bench.start_worker()
    job = bench.create(**LONG)
    stored = bench.wait_epoch(job.id)
    child = bench.child(job.id)
    line = child.cmdline()
    slate = Slate(os.open(f"/proc/{child.pid}/fd/{line[line.index('--slate-fd') + 1]}", os.O_RDWR))

    def find_reported() -> int:
        return max((report.metric.epoch for report in slate.read()), default=0)

    with bench.container.store.write():  # nobody else can write: what is reported now waits
        wait_until(lambda: find_reported() > bench.job(job.id).current_epoch, 30, bench.log)
        child.kill()
        wait_until(lambda: not bench.children(job.id), 10, bench.log)
        reported = find_reported()
        until = time.monotonic() + leases * bench.settings.lease_s
        wait_until(lambda: time.monotonic() > until, 30, bench.log)
        assert reported > bench.job(job.id).current_epoch >= stored.current_epoch
    slate.close()
    bench.wait(job.id, JobStatus.RUNNING, attempt=2)
    frames, _ = bench.container.jobs.events(job.id, since=0, limit=100_000)
    epochs = [frame.data["epoch"] for frame in frames if frame.event is EventType.PROGRESS and frame.data["attempt"] == 1]
    assert epochs == list(range(1, reported + 1))
    assert "epochs_of_ended_process_stored" in bench.log().replace(" ", "_")


def test_a_database_that_is_held_locked_for_longer_than_a_lease_ends_no_attempt(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    bench.start_worker()
    job = bench.create(**LONG)
    before = bench.wait_epoch(job.id)
    with bench.container.store.write():
        until = time.monotonic() + 1.5 * bench.settings.lease_s
        wait_until(lambda: time.monotonic() > until, 30, bench.log)
    bench.wait_epoch(job.id, before.current_epoch + 20)
    assert [kind for kind, _ in bench.events(job.id)].count("requeued") == 0
    assert bench.job(job.id).attempt == 1


def test_pause_resume_and_cancel_act_within_a_moment(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    assert bench.container.jobs.pause(job.id).pending_action is PendingAction.PAUSE
    paused = bench.wait(job.id, JobStatus.PAUSED, 20)
    assert (paused.pending_action, paused.checkpoint is not None) == (None, True)
    with pytest.raises(IllegalTransitionError):
        bench.container.jobs.pause(job.id)

    wait_until(lambda: bool(bench.children("--spare")), 10, lambda: "no spare child is kept after a job")
    spare = bench.children("--spare")[0]
    wait_until(lambda: is_warm(spare), 60, lambda: "the spare does not get warm")
    bench.container.jobs.resume(job.id)
    bench.wait_epoch(job.id, paused.current_epoch + 1, attempt=2)
    assert bench.child(job.id).pid == spare.pid
    child = bench.child(job.id)
    bench.container.jobs.cancel(job.id)
    cancelled = bench.wait(job.id, JobStatus.CANCELLED, 20)
    bench.assert_whole(cancelled)
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running()


@pytest.mark.parametrize(("verb", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)])
def test_a_hung_child_is_ended_and_the_click_takes_effect(make_bench: Callable[..., WorkerBench], verb: str, status: JobStatus) -> None:
    bench = make_bench()
    bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    child = bench.child(job.id)
    # an epoch's row comes before its checkpoint: hang only where there is something to go back to
    wait_until(lambda: bench.job(job.id).checkpoint is not None, 30, bench.log)
    bench.freeze(child)
    getattr(bench.container.jobs, verb)(job.id)
    ended = bench.wait(job.id, status, 30)
    assert not child.is_running()
    reason = bench.events(job.id)[-1][1]
    assert reason is not None
    assert "did not stop within 2 s" in reason
    assert ended.checkpoint is not None


def test_a_child_that_makes_no_step_counts_as_lost(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench(stall_timeout_s=20.0, silence_notice_s=4.0, max_attempts=5)
    bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    bench.freeze(bench.child(job.id))
    wait_until(lambda: bench.job(job.id).silent_since is not None, 20, bench.log)
    hung = bench.job(job.id)
    assert (hung.status, hung.attempt) == (JobStatus.RUNNING, 1)
    assert "no step for more than 4 s. The worker ends this attempt at 20 s" in str(hung.notice)
    again = bench.wait(job.id, JobStatus.RUNNING, 60, attempt=2)
    assert (again.silent_since, again.notice) == (None, None)
    reason = dict(bench.events(job.id))["requeued"]
    assert reason is not None
    assert "made no step for 20 s" in reason


def test_a_killed_worker_takes_its_child_along_and_another_goes_on(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    first = bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    child = bench.child(job.id)
    first.kill()
    psutil.wait_procs([child], timeout=3)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    before = bench.job(job.id)
    bench.start_worker()
    after = bench.wait_epoch(job.id, before.current_epoch + 1, attempt=2)
    bench.container.jobs.cancel(job.id)
    bench.assert_whole(bench.wait(job.id, JobStatus.CANCELLED, 10))
    assert after.attempt == 2
    assert "ended without a word" in str(dict(bench.events(job.id))["requeued"])


def test_a_frozen_worker_that_wakes_up_late_writes_nothing(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    first = bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    old_child = bench.child(job.id)
    bench.freeze(psutil.Process(first.pid), old_child)
    bench.start_worker()
    bench.wait_epoch(job.id, attempt=2)
    for process in (psutil.Process(first.pid), old_child):
        process.resume()
    gone, _ = psutil.wait_procs([old_child], timeout=15)
    assert gone, "the old child ends by itself once its lease is lost"
    now = bench.job(job.id)
    bench.wait_epoch(job.id, now.current_epoch + 2, attempt=2)
    bench.container.jobs.cancel(job.id)
    cancelled = bench.wait(job.id, JobStatus.CANCELLED, 10)
    assert cancelled.attempt == 2
    bench.assert_whole(cancelled)
    assert first.poll() is None


def test_a_worker_told_to_stop_hands_its_job_back_without_a_loss(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench(max_attempts=1)
    first = bench.start_worker()
    job = bench.create(**LONG)
    bench.wait_epoch(job.id)
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    back = bench.job(job.id)
    assert (back.status, back.checkpoint is not None) == (JobStatus.PENDING, True)
    assert bench.events(job.id)[-1][0] == "requeued"
    assert "job handed back" in bench.log()
    bench.start_worker()
    bench.wait_epoch(job.id, back.current_epoch + 1, attempt=2)
    assert "worker stopped" in bench.log()


def test_a_damaged_checkpoint_costs_one_epoch_and_the_job_says_so(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    bench.start_worker()
    job = bench.create(epochs=40, batch_size=8)
    bench.wait_epoch(job.id, 3)
    bench.container.jobs.pause(job.id)
    paused = bench.wait(job.id, JobStatus.PAUSED, 20)
    assert paused.checkpoint is not None
    assert paused.checkpoint.previous is not None
    folder = bench.settings.data_dir / "artifacts"
    newest = folder / paused.checkpoint.key
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    bench.container.jobs.resume(job.id)
    done = bench.wait(job.id, JobStatus.COMPLETED)
    bench.assert_whole(done)
    assert done.notice is not None
    assert f"went on from epoch {paused.checkpoint.previous.epoch}" in done.notice
    assert "checkpoint damaged" in bench.job_log(job.id)
    assert "checkpoint_damaged" in [reason for _, reason in bench.events(job.id)]
    assert {path.name for path in newest.parent.iterdir()} == {
        Path(pointer.key).name for pointer in (done.checkpoint, done.checkpoint.previous if done.checkpoint else None) if pointer
    }


def test_what_breaks_inside_the_child_is_the_jobs_own_sentence(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    bench.start_worker()
    for path in (bench.settings.data_dir / "artifacts" / "datasets" / bench.dataset_id).glob("features.npy"):
        path.write_bytes(path.read_bytes()[:-1000])
    job = bench.create()
    failed = bench.wait(job.id, JobStatus.FAILED)
    assert failed.error_message
    assert "\n" not in failed.error_message
    assert failed.error_detail is not None
    assert "Traceback" in failed.error_detail
    assert failed.attempt == 1


def test_a_job_whose_message_was_lost_is_found_by_the_sweeper(make_bench: Callable[..., WorkerBench], tmp_path: Path) -> None:
    bench = make_bench(enqueue_doubt_s=1.0)
    job = bench.create(epochs=1)
    messages = [path for path in (tmp_path / "data" / "broker" / "queues").rglob("*") if path.is_file()]
    assert messages
    for path in messages:
        path.unlink()
    bench.start_worker()
    bench.wait(job.id, JobStatus.COMPLETED)


def test_jobs_beyond_the_slots_wait_and_a_data_set_is_built_meanwhile(make_bench: Callable[..., WorkerBench]) -> None:
    bench = make_bench()
    bench.start_worker()
    jobs = [bench.create(**LONG) for _ in range(3)]
    bench.wait_epoch(jobs[0].id)
    from heimdall.domain.datasets import DatasetStatus, SyntheticDatasetConfig

    dataset = bench.container.datasets.create_synthetic(SyntheticDatasetConfig(name="second", num_examples=300))
    wait_until(lambda: bench.container.datasets.get(dataset.id).status is DatasetStatus.READY, 60, bench.log)
    assert [bench.job(job.id).status for job in jobs] == [JobStatus.RUNNING, JobStatus.PENDING, JobStatus.PENDING]
    bench.container.jobs.cancel(jobs[0].id)
    bench.wait(jobs[1].id, JobStatus.RUNNING, 20)
    assert bench.job(jobs[2].id).status is JobStatus.PENDING
