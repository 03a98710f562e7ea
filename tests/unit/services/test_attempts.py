import hashlib
from pathlib import Path

import pytest

from heimdall.domain.errors import LeaseLostError, StorageFullError, UnavailableError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, DeviceInfo, JobStatus, PendingAction
from heimdall.domain.ports import JobQuery
from heimdall.domain.training import CheckpointFile
from heimdall.services.attempt_files import name_model, tidy_checkpoints
from heimdall.services.jobs import FULL_DISK_NOTICE
from tests.unit.services.job_bench import JobBench, disk_full, make_draft, write_checkpoint


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


def test_a_second_delivery_finds_the_job_taken(bench: JobBench) -> None:
    job = bench.create()
    assert bench.claim(job).attempt == 1
    assert bench.attempts.claim(job.id, "w2") is None
    assert bench.attempts.claim("nobody", "w2") is None


def test_the_first_attempt_starts_and_later_ones_resume(bench: JobBench) -> None:
    job = bench.create()
    bench.attempts.finish_paused(bench.claim(job))
    bench.jobs.resume(job.id)
    claim = bench.claim(job, "w2")
    assert claim.attempt == 2
    assert [event for event in bench.event_types(job.id) if event != "training_updated"] == [
        "training_started",
        "training_paused",
        "training_resumed",
    ]


def test_an_epoch_is_metric_progress_and_event_at_once(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.jobs.pause(job.id)
    bench.record_epoch(claim, 1)
    stored = bench.jobs.get(job.id)
    frame = bench.jobs.events(job.id, since=0)[0][-1]
    assert (stored.current_epoch, stored.progress_percent, stored.best_val_loss) == (1, 10.0, 2.0)
    assert frame.event == "training_progress"
    assert frame.data | {"epoch": 1, "train_loss": 1.0, "status": "running", "version": stored.version, "total_epochs": 10} == frame.data
    assert frame.data["pending_action"] == "pause"
    with bench.store.read() as tx:
        assert [row.val_loss for row in tx.metrics.find(job.id)] == [2.0]


def test_a_repeated_epoch_whose_first_call_was_committed_writes_nothing_twice(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.record_epoch(claim, 1)
    before = bench.jobs.get(job.id)
    bench.record_epoch(claim, 1, is_repeat=True)
    assert bench.jobs.get(job.id) == before
    bench.record_epoch(claim, 2, is_repeat=True)
    assert bench.jobs.get(job.id).current_epoch == 2


def test_epochs_that_come_faster_than_commits_are_one_change_with_an_event_each(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.record_epoch(claim, 1)
    before = bench.jobs.get(job.id)
    reports = [bench.report(claim, epoch) for epoch in (2, 3, 4)]
    bench.attempts.record_epochs(claim, reports)
    stored = bench.jobs.get(job.id)
    assert (stored.current_epoch, stored.version, stored.last_seq) == (4, before.version + 3, before.last_seq + 3)
    frames = bench.jobs.events(job.id, since=before.last_seq)[0]
    assert [(frame.seq, frame.data["epoch"], frame.data["version"]) for frame in frames] == [
        (before.last_seq + behind, epoch, before.version + behind) for behind, epoch in ((1, 2), (2, 3), (3, 4))
    ]
    with bench.store.read() as tx:
        assert [row.epoch for row in tx.metrics.find(job.id)] == [1, 2, 3, 4]
    bench.attempts.record_epochs(claim, reports, is_repeat=True)
    assert bench.jobs.get(job.id) == stored


def test_what_a_lost_process_had_no_time_to_store_is_stored_behind_what_it_had(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.attempts.record_epochs(claim, [bench.report(claim, epoch) for epoch in (1, 2)])
    reported = [bench.report(claim, epoch) for epoch in (1, 2, 3, 4)]
    assert bench.attempts.record_left(claim, reported) == 2
    stored = bench.jobs.get(job.id)
    frames = bench.jobs.events(job.id, since=0)[0]
    assert [frame.data["epoch"] for frame in frames if frame.event is EventType.PROGRESS] == [1, 2, 3, 4]
    assert bench.attempts.record_left(claim, reported) == 0
    assert bench.jobs.get(job.id) == stored


def test_the_first_epochs_of_an_attempt_are_stored_over_those_of_the_attempt_before(bench: JobBench) -> None:
    job = bench.create()
    first = bench.claim(job)
    bench.attempts.record_epochs(first, [bench.report(first, epoch) for epoch in (1, 2, 3)])
    bench.attempts.finish_lost(first)
    second = bench.claim(job)
    assert bench.attempts.record_left(second, [bench.report(second, 2)]) == 1
    with bench.store.read() as tx:
        assert next(row for row in tx.metrics.find(job.id) if row.epoch == 2).attempt == second.attempt


def test_nothing_behind_a_gap_is_stored_for_a_lost_process(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    assert bench.attempts.record_left(claim, []) == 0
    assert bench.attempts.record_left(claim, [bench.report(claim, epoch) for epoch in (1, 2, 4)]) == 2
    assert bench.jobs.get(job.id).current_epoch == 2


def test_nothing_can_be_written_under_a_lost_lease(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.sweep_for(11)
    other = bench.claim(job, "w2")
    before = bench.jobs.get(job.id)
    files = dict(bench.artifacts.files)
    for write in (
        lambda: bench.attempts.heartbeat(claim),
        lambda: bench.attempts.read_control(claim),
        lambda: bench.attempts.report_device(claim, DeviceInfo(kind="cpu", name="cpu"), None),
        lambda: bench.record_epoch(claim, 1),
        lambda: bench.attempts.record_left(claim, [bench.report(claim, 1)]),
        lambda: bench.attempts.save_checkpoint(claim, write_checkpoint(tmp_path, 9)),
        lambda: bench.attempts.finish_paused(claim),
        lambda: bench.attempts.finish_cancelled(claim),
        lambda: bench.attempts.finish_failed(claim, "no"),
        lambda: bench.attempts.finish_lost(claim),
        lambda: bench.attempts.hand_back(claim),
        lambda: bench.attempts.finish_completed(claim, make_draft(tmp_path)),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert bench.jobs.get(job.id) == before
    assert bench.artifacts.files == files
    bench.record_epoch(other, 1)


def test_the_last_two_checkpoints_are_kept(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    for step in (10, 20, 30):
        bench.save_checkpoint(claim, tmp_path, step)
    stored = bench.jobs.get(job.id)
    assert stored.checkpoint is not None
    assert (stored.checkpoint.step, stored.checkpoint.size_bytes) == (30, len(b"weights at 30"))
    names = [name.removeprefix(f"checkpoints/{job.id}/").rpartition("-")[0] for name in sorted(bench.artifacts.files)]
    assert names == ["a1-s20-b0", "a1-s30-b0"]


def test_a_pause_right_after_an_epochs_checkpoint_leaves_one_that_is_what_it_says(bench: JobBench, tmp_path: Path) -> None:
    """The same step is saved twice, with other seconds inside."""
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, 10)
    again = tmp_path / "again"
    again.write_bytes(b"weights at 10, a second later")
    file = CheckpointFile(path=again, sha256=hashlib.sha256(again.read_bytes()).hexdigest(), epoch=1, step=10, batch=0)
    bench.attempts.save_checkpoint(claim, file)
    stored = bench.jobs.get(job.id).checkpoint
    assert stored is not None
    assert stored.previous is not None
    for pointer in (stored, stored.previous):
        assert hashlib.sha256(bench.artifacts.files[pointer.key]).hexdigest() == pointer.sha256
    assert stored.sha256 == file.sha256


def test_a_checkpoint_that_was_committed_outlives_the_repeat_that_finds_the_lease_lost(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    file = write_checkpoint(tmp_path, 10)
    bench.attempts.save_checkpoint(claim, file)  # committed, but the answer was lost on its way
    bench.sweep_for(11)
    with pytest.raises(LeaseLostError):
        bench.attempts.save_checkpoint(claim, file)
    stored = bench.jobs.get(job.id).checkpoint
    assert stored is not None
    assert stored.key in bench.artifacts.files


def test_a_frozen_worker_that_wakes_while_tidying_touches_no_later_attempt(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    first = bench.claim(job)
    for step in (10, 20):
        bench.save_checkpoint(first, tmp_path, step)
    old_view = bench.jobs.get(job.id)
    bench.attempts.hand_back(first)
    bench.save_checkpoint(bench.claim(job, "w2"), tmp_path, 30)
    tidy_checkpoints(bench.artifacts, job.id, old_view.checkpoint, attempt=1)  # type: ignore[arg-type]
    stored = bench.jobs.get(job.id).checkpoint
    assert stored is not None
    assert stored.previous is not None
    assert {stored.key, stored.previous.key} <= set(bench.artifacts.files)


def test_a_fall_back_is_the_jobs_record_an_event_and_the_next_checkpoints_previous(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    for step, epoch in ((10, 1), (20, 2)):
        bench.save_checkpoint(claim, tmp_path, step, epoch)
    newest = bench.jobs.get(job.id).checkpoint
    assert newest is not None
    assert newest.previous is not None
    older = Checkpoint(**newest.previous.model_dump())
    bench.attempts.fall_back(claim, older, "The checkpoint of epoch 2 (step 20) is damaged: its SHA-256 differs")
    now = bench.jobs.get(job.id)
    assert now.checkpoint == older
    assert now.notice is not None
    assert "epoch 2" in now.notice
    assert "went on from epoch 1 (step 10)" in now.notice
    assert bench.jobs.events(job.id)[0][-1].data["reason"] == "checkpoint_damaged"
    bench.save_checkpoint(claim, tmp_path, 21, 2)
    stored = bench.jobs.get(job.id).checkpoint
    assert stored is not None
    assert stored.previous == older.as_previous()
    assert bench.attempts.finish_completed(claim, make_draft(tmp_path))
    assert bench.jobs.get(job.id).notice == now.notice, "what was healed stays on the record"


def test_the_model_files_of_an_attempt_that_died_before_its_row_are_removed(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.artifacts.files[f"models/{name_model(job.id, 1)}/model.onnx"] = b"orphan"
    bench.sweep_for(11)
    bench.claim(job, "w2")
    assert bench.artifacts.files == {}
    bench.artifacts.files[f"models/{name_model(job.id, 2)}/model.onnx"] = b"orphan"
    bench.registry.gone.add("w2")
    bench.sweeper.sweep()
    bench.jobs.cancel(job.id)
    assert bench.artifacts.files == {}
    with pytest.raises(LeaseLostError):
        bench.attempts.heartbeat(claim)


def test_a_silent_job_on_a_full_disk_says_what_it_waits_for(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    bench.artifacts.free = 1000
    bench.clock.advance(5)
    assert bench.jobs.get(job.id).notice is None
    bench.clock.advance(1)
    assert bench.jobs.get(job.id).notice == FULL_DISK_NOTICE
    assert bench.jobs.find(JobQuery()).items[0].notice == FULL_DISK_NOTICE
    bench.artifacts.free = 1 << 30
    assert bench.jobs.get(job.id).notice is None


def test_a_full_disk_at_a_checkpoint_leaves_the_one_before_valid(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, 10)
    bench.artifacts.fault = disk_full()
    with pytest.raises(StorageFullError):
        bench.save_checkpoint(claim, tmp_path, 20)
    stored = bench.jobs.get(job.id)
    assert stored.checkpoint is not None
    assert stored.checkpoint.key in bench.artifacts.files
    assert stored.checkpoint.step == 10


def test_a_checkpoint_interrupted_between_file_and_row_is_finished_by_calling_again(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    file = write_checkpoint(tmp_path, 10)
    bench.store.is_away = True
    with pytest.raises(UnavailableError):
        bench.attempts.save_checkpoint(claim, file)
    bench.store.is_away = False
    assert not file.path.exists()
    bench.attempts.save_checkpoint(claim, file)
    stored = bench.jobs.get(job.id)
    assert stored.checkpoint is not None
    assert stored.checkpoint.step == 10


def test_completing_stores_model_job_and_event_together(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    model = bench.attempts.finish_completed(bench.claim(job), make_draft(tmp_path))
    stored = bench.jobs.get(job.id)
    assert (stored.status, stored.model_id, stored.progress_percent) == (JobStatus.COMPLETED, model.id, 100.0)
    assert (model.name, model.version, model.training_job_id) == ("first", 1, job.id)
    assert (model.verification.status, model.verification.matched, model.verification.total) == ("verified", 64, 64)
    assert (model.verification.max_abs_diff, model.verification.max_abs_diff_unit) == (2e-3, "m")
    assert bench.artifacts.files[model.onnx_path] == b"model.onnx"
    assert bench.event_types(job.id)[-1] == "training_completed"


def test_without_a_parity_run_the_model_is_not_called_verified(bench: JobBench, tmp_path: Path) -> None:
    model = bench.attempts.finish_completed(bench.claim(bench.create()), make_draft(tmp_path, parity_examples=None))
    assert model.verification.status == "unverified"


def test_completing_again_after_the_database_went_away_gives_one_model(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    draft = make_draft(tmp_path)
    complete = bench.attempts._complete

    def lose_answer(*arguments: object) -> None:
        complete(*arguments)  # type: ignore[arg-type]
        raise UnavailableError("The connection broke after the commit.")

    bench.attempts._complete = lose_answer  # type: ignore[method-assign,assignment]
    with pytest.raises(UnavailableError):
        bench.attempts.finish_completed(claim, draft)
    model = bench.attempts.finish_completed(claim, draft)
    with bench.store.read() as tx:
        assert [known.id for known in tx.models.find_all()] == [model.id]
    assert model.onnx_path in bench.artifacts.files


def test_a_full_disk_at_the_end_leaves_no_model(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.artifacts.fault = disk_full()
    with pytest.raises(StorageFullError):
        bench.attempts.finish_completed(claim, make_draft(tmp_path))
    assert bench.artifacts.files == {}
    assert bench.jobs.get(job.id).status is JobStatus.RUNNING


def test_a_lost_process_requeues_until_too_many_losses_in_a_row(bench: JobBench) -> None:
    job = bench.create()
    for _ in range(2):
        assert bench.attempts.finish_lost(bench.claim(job), "It was killed.").status is JobStatus.PENDING
        assert bench.jobs.events(job.id)[0][-1].data["cause"] == "process_lost"
    failed = bench.attempts.finish_lost(bench.claim(job), "It was killed.", "the last lines")
    assert failed.status is JobStatus.FAILED
    assert failed.error_message is not None
    assert failed.error_message.startswith("It was killed.")
    assert "3 times" in failed.error_message
    assert failed.error_detail == "the last lines"


def test_one_finished_epoch_forgives_the_losses_before(bench: JobBench) -> None:
    job = bench.create()
    for epoch in range(1, 7):
        claim = bench.claim(job)
        bench.record_epoch(claim, epoch)
        assert bench.attempts.finish_lost(claim).status is JobStatus.PENDING


def test_handing_back_is_no_loss(bench: JobBench) -> None:
    job = bench.create()
    for _ in range(6):
        assert bench.attempts.hand_back(bench.claim(job)).status is JobStatus.PENDING
    assert bench.event_types(job.id)[-1] == "training_requeued"
    assert bench.jobs.events(job.id)[0][-1].data["cause"] == "worker_stopped"


@pytest.mark.parametrize(("action", "status"), [("pause", JobStatus.PAUSED), ("cancel", JobStatus.CANCELLED)])
@pytest.mark.parametrize("end", ["finish_lost", "hand_back"])
def test_what_was_asked_for_is_honoured_when_the_process_is_gone(bench: JobBench, action: str, status: JobStatus, end: str) -> None:
    job = bench.create()
    claim = bench.claim(job)
    getattr(bench.jobs, action)(job.id)
    ended = getattr(bench.attempts, end)(claim)
    assert (ended.status, ended.pending_action) == (status, None)


def test_the_heartbeat_tells_what_was_asked(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    assert bench.attempts.heartbeat(claim) is None
    bench.jobs.cancel(job.id)
    assert bench.attempts.heartbeat(claim) is PendingAction.CANCEL


def test_log_lines_lose_control_characters_and_are_cut(bench: JobBench) -> None:
    job = bench.create()
    bench.attempts.append_log(job.id, ["\x1b[31mred\x1b[0m\ttab", "x" * 9000])
    texts = [line.text for line in bench.jobs.logs(job.id, since=0)]
    assert "\x1b" not in texts[0]
    assert texts[0].startswith("[31mred")
    assert len(texts[1]) == 4000
