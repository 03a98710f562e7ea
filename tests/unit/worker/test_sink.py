import pytest

from heimdall.domain.errors import LeaseLostError, StorageFullError, UnavailableError
from heimdall.domain.jobs import PendingAction
from heimdall.worker.control import ControlThread
from heimdall.worker.sink import JobSink
from tests.unit.services.job_bench import JobBench


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
    rig.sink.report_epoch(rig.bench.report(rig.claim, 1))
    assert rig.slept == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert rig.bench.jobs.get(rig.job.id).current_epoch == 1


def test_patience_ends(rig: Rig) -> None:
    rig.bench.store.is_away = True
    with pytest.raises(UnavailableError):
        rig.make(patience_s=0).report_epoch(rig.bench.report(rig.claim, 1))
    assert rig.slept == []


def test_a_full_disk_is_not_waited_for(rig: Rig) -> None:
    def fail(_: bool) -> None:
        raise StorageFullError("full")

    with pytest.raises(StorageFullError):
        rig.sink.persist(fail)
    assert rig.slept == []


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
    rig.bench.clock.advance(11)
    rig.bench.sweeper.sweep()
    with pytest.raises(LeaseLostError):
        rig.sink.report_epoch(rig.bench.report(rig.claim, 1))


def test_the_loop_reads_what_was_asked(rig: Rig) -> None:
    rig.control.start()
    try:
        assert rig.sink.requested_action() in (None, PendingAction.PAUSE)
        rig.bench.jobs.cancel(rig.job.id)
        from tests.instance import wait_until

        wait_until(lambda: rig.sink.requested_action() is PendingAction.CANCEL, 5, lambda: "not heard")
    finally:
        rig.control.stop()
