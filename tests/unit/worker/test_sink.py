from pathlib import Path

import pytest

from heimdall.domain.errors import LeaseLostError, StorageFullError, UnavailableError
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import CheckpointFile
from heimdall.worker.control import ControlThread
from heimdall.worker.sink import JobSink
from tests.unit.services.job_bench import JobBench, write_checkpoint


class Rig:
    """A sink on the real services in memory; its sleeps only count, and may do something."""

    def __init__(self) -> None:
        self.bench = JobBench()
        self.job = self.bench.create()
        self.claim = self.bench.claim(self.job)
        self.slept: list[float] = []
        self.control = ControlThread(
            read_control=lambda: self.bench.attempts.read_control(self.claim), publish=lambda _: None, beat_fd=None, poll_s=0.01
        )
        self.sink = self.make(patience_s=60)

    def make(self, patience_s: float) -> JobSink:
        return JobSink(
            attempts=self.bench.attempts,
            claim=self.claim,
            control=self.control,
            clock=self.bench.clock,
            patience_s=patience_s,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 5:
            self.bench.store.is_away = False


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_database_that_comes_back_gets_the_epoch(rig: Rig) -> None:
    rig.bench.store.is_away = True
    with rig.sink.writing():
        rig.sink.report_epoch(rig.bench.report(rig.claim, 1))
    assert rig.slept == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert rig.bench.jobs.get(rig.job.id).current_epoch == 1


def test_an_epoch_is_out_of_reach_of_a_kill_before_it_waits_for_the_database(rig: Rig) -> None:
    noted: list[tuple[int, int]] = []
    sink = JobSink(
        attempts=rig.bench.attempts,
        claim=rig.claim,
        control=rig.control,
        clock=rig.bench.clock,
        note_epoch=lambda report: noted.append((report.metric.epoch, rig.bench.jobs.get(rig.job.id).current_epoch)),
    )
    with sink.writing():
        sink.report_epoch(rig.bench.report(rig.claim, 1))
    assert noted == [(1, 0)]


def test_checkpoints_at_ends_of_epochs_keep_their_distance(rig: Rig, tmp_path: Path) -> None:
    now_s = 100.0
    sink = JobSink(
        attempts=rig.bench.attempts,
        claim=rig.claim,
        control=rig.control,
        clock=rig.bench.clock,
        checkpoint_gap_s=2,
        monotonic=lambda: now_s,
    )
    assert sink.is_checkpoint_wanted(), "the first is not waited for"
    with sink.writing():
        sink.save_checkpoint(lambda: write_checkpoint(tmp_path, 10))
        now_s = 101.9
        assert not sink.is_checkpoint_wanted()
        now_s = 102.0
        assert sink.is_checkpoint_wanted()


def test_patience_ends(rig: Rig) -> None:
    rig.bench.store.is_away = True
    sink = rig.make(patience_s=0)
    with pytest.raises(UnavailableError), sink.writing():
        sink.report_epoch(rig.bench.report(rig.claim, 1))
    assert rig.slept == []


def test_a_full_disk_is_waited_for_and_said_on_the_job_as_long_as_it_lasts(rig: Rig) -> None:
    notices: list[str | None] = []

    def write(_: bool) -> str:
        notices.append(rig.bench.jobs.get(rig.job.id).notice)
        if len(notices) < 40:
            raise StorageFullError("full")
        return "done"

    assert rig.make(patience_s=0).persist(write) == "done"
    assert notices[0] is None
    assert notices[1] is not None
    assert notices[1].startswith("Waiting: the disk is full.")
    assert rig.bench.jobs.get(rig.job.id).notice is None
    reasons = [frame.data.get("reason") for frame in rig.bench.jobs.events(rig.job.id)[0]]
    assert reasons[-2:] == ["waiting", "going_on"], "said once when it began and once when it was over"


def test_a_stop_is_heard_while_the_disk_is_full(rig: Rig) -> None:
    def fail(_: bool) -> None:
        if len(rig.slept) == 3:
            rig.control.drain()
        raise StorageFullError("full")

    with pytest.raises(StorageFullError):
        rig.sink.persist(fail)
    assert not rig.sink.wait_for_room(StorageFullError("full"))
    assert len(rig.slept) == 3


def test_a_checkpoint_that_found_no_room_is_written_again(rig: Rig, tmp_path: Path) -> None:
    calls: list[int] = []

    def write() -> CheckpointFile:
        calls.append(1)
        if len(calls) == 1:
            raise StorageFullError("full")
        return write_checkpoint(tmp_path, 10)

    with rig.sink.writing():
        rig.sink.save_checkpoint(write)
    rig.bench.artifacts.fault = StorageFullError("full")
    with rig.sink.writing():
        rig.sink.save_checkpoint(lambda: write_checkpoint(tmp_path, 20))
    checkpoint = rig.bench.jobs.get(rig.job.id).checkpoint
    assert checkpoint is not None
    assert checkpoint.previous is not None
    assert (checkpoint.step, checkpoint.previous.step) == (20, 10)


def test_only_the_second_call_is_a_repeat(rig: Rig) -> None:
    calls: list[bool] = []

    def write(is_repeat: bool) -> str:
        calls.append(is_repeat)
        if len(calls) == 1:
            raise UnavailableError("once")
        return "done"

    assert rig.sink.persist(write) == "done"
    assert calls == [False, True]


def test_a_lost_lease_is_the_loops_to_hear(rig: Rig) -> None:
    rig.bench.sweep_for(11)
    with pytest.raises(LeaseLostError), rig.sink.writing():
        rig.sink.report_epoch(rig.bench.report(rig.claim, 1))


def test_the_loop_hears_of_a_lost_lease_before_its_next_step(rig: Rig) -> None:
    from tests.instance import wait_until

    def is_heard() -> bool:
        try:
            rig.sink.requested_action()
        except LeaseLostError:
            return True
        return False

    def train() -> None:
        with rig.sink.writing():
            rig.sink.report_epoch(rig.bench.report(rig.claim, 1))
            wait_until(is_heard, 5, lambda: "not heard")

    rig.bench.sweep_for(11)
    with pytest.raises(LeaseLostError):
        train()


def test_a_database_that_is_away_holds_no_training_up(rig: Rig) -> None:
    rig.bench.store.is_away = True
    with rig.sink.writing():
        for epoch in range(1, 9):
            rig.sink.report_epoch(rig.bench.report(rig.claim, epoch))
    assert rig.bench.jobs.get(rig.job.id).current_epoch == 8
    told = [frame for frame in rig.bench.jobs.events(rig.job.id)[0] if frame.event == "training_progress"]
    assert [frame.data["epoch"] for frame in told] == list(range(1, 9))
    assert [frame.seq for frame in told] == list(range(told[0].seq, told[0].seq + 8))


def test_the_loop_reads_what_was_asked(rig: Rig) -> None:
    rig.control.start()
    try:
        assert rig.sink.requested_action() in (None, PendingAction.PAUSE)
        rig.bench.jobs.cancel(rig.job.id)
        from tests.instance import wait_until

        wait_until(lambda: rig.sink.requested_action() is PendingAction.CANCEL, 5, lambda: "not heard")
    finally:
        rig.control.stop()
