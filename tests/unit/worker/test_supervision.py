"""The supervisor on small real processes and services in memory."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from heimdall.domain.errors import LockedError, UnavailableError
from heimdall.domain.jobs import Claim, Job, JobStatus, PendingAction
from heimdall.domain.training import EpochReport
from heimdall.settings import Settings
from heimdall.worker.slate import open_slate
from heimdall.worker.supervision import StopRequest, Supervisor, TrainingProcess
from tests.instance import wait_until
from tests.unit.services.job_bench import JobBench

HANGING = (
    "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " os.write(int(sys.argv[1]), b'.'); print('ready', flush=True); signal.pause()"
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
SLEEPER = "import signal; print('ready', flush=True); signal.pause()"
FAST = 20.0
"""The supervisor's clock runs this many times faster, so that seconds of patience pass at once."""


class Rig:
    def __init__(self, folder: Path) -> None:
        self.bench = JobBench()
        self.job = self.bench.create()
        self.claim = self.bench.claim(self.job)
        self.settings = Settings(data_dir=folder, stop_grace_s=8, stall_timeout_s=600, heartbeat_s=2)
        self.request = StopRequest.NONE
        self.child: TrainingProcess | None = None
        self.monotonic: Callable[[], float] | None = None
        self.is_beating = False
        """Whether the test beats in the child's place, by ``beat_fd``."""
        self.beat_fd: int | None = None
        self.left: list[EpochReport] = []
        """Epochs that the child leaves."""

    def supervise(self, code: str, *, speed: float = 1.0, during: Callable[[], None] | None = None) -> object:
        """Run the child under supervision; ``during`` runs beside it once the child has printed something."""
        read_fd, write_fd = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(write_fd)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(write_fd,)
        )
        self.beat_fd = os.dup(write_fd) if self.is_beating else None
        os.close(write_fd)
        slate = open_slate()
        for report in self.left:
            slate.note(report)
        self.child = TrainingProcess(process=process, beats=os.fdopen(read_fd, "rb", buffering=0), slate=slate)
        supervisor = Supervisor(
            attempts=self.bench.attempts,
            settings=self.settings,
            claim=self.claim,
            child=self.child,
            stop_request=lambda: self.request,
            monotonic=self.monotonic or (lambda: time.monotonic() * speed),
        )
        beside = None
        if during is not None:
            beside = threading.Thread(target=self._when_ready, args=(during,))
            beside.start()
        try:
            return supervisor.run()
        finally:
            if beside is not None:
                beside.join()
            if self.beat_fd is not None:
                os.close(self.beat_fd)

    def _when_ready(self, action: Callable[[], None]) -> None:
        wait_until(lambda: bool(self.bench.jobs.logs(self.job.id)), 10, lambda: "the child printed nothing")
        action()

    @property
    def status(self) -> JobStatus:
        return self.bench.jobs.get(self.job.id).status

    def read(self) -> Job:
        return self.bench.jobs.get(self.job.id)

    def log(self) -> list[str]:
        return [line.text for line in self.bench.jobs.logs(self.job.id)]

    def set_request(self, request: StopRequest) -> None:
        self.request = request


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_the_child_prints_is_in_the_log_to_the_last_unfinished_line(rig: Rig) -> None:
    rig.supervise("import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('unfinished'); sys.stdout.flush()")
    assert set(rig.log()) >= {"out", "err", "unfinished"}


def test_a_child_that_says_nothing_at_its_end_is_lost_and_the_job_waits_again(rig: Rig) -> None:
    job = rig.supervise("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert job is not None
    assert rig.status is JobStatus.PENDING
    assert "killed (SIGKILL)" in rig.log()[-1]


def test_what_a_killed_child_left_is_stored_before_its_attempt_ends(rig: Rig) -> None:
    rig.bench.record_epoch(rig.claim, 1)
    rig.left = [rig.bench.report(rig.claim, epoch) for epoch in (1, 2, 3)]
    rig.supervise("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    frames = [frame.event.value for frame in rig.bench.jobs.events(rig.job.id, since=0)[0]]
    assert frames[-4:] == ["training_progress"] * 3 + ["training_requeued"]
    assert rig.read().current_epoch == 3


def test_what_a_child_left_that_wrote_its_own_end_is_not_looked_at(rig: Rig) -> None:
    rig.left = [rig.bench.report(rig.claim, 1)]
    rig.supervise(SLEEPER, during=lambda: rig.bench.attempts.finish_paused(rig.claim))
    assert (rig.status, rig.read().current_epoch) == (JobStatus.PAUSED, 0)


def test_too_many_losses_fail_the_job_with_signal_and_last_lines(rig: Rig) -> None:
    for attempt in range(3):
        if attempt:
            rig.claim = rig.bench.claim(rig.job)
        rig.supervise("print('loading weights'); raise SystemExit(9)")
    failed = rig.bench.jobs.get(rig.job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error_message is not None
    assert "exit code 9" in failed.error_message
    assert failed.error_detail is not None
    assert "loading weights" in failed.error_detail


def test_a_child_that_wrote_its_own_end_is_left_at_that(rig: Rig) -> None:
    ended = rig.supervise(SLEEPER, during=lambda: rig.bench.attempts.finish_paused(rig.claim))
    assert ended is None
    assert rig.status is JobStatus.PAUSED


@pytest.mark.parametrize(("verb", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)])
def test_a_child_that_does_not_obey_is_ended(rig: Rig, verb: str, status: JobStatus) -> None:
    started = time.monotonic()
    rig.supervise(HANGING, speed=FAST, during=lambda: getattr(rig.bench.jobs, verb)(rig.job.id))
    assert rig.status is status
    assert "did not stop within 8 s" in rig.log()[-1]
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(("verb", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)])
def test_a_child_that_still_loads_is_not_waited_for(rig: Rig, verb: str, status: JobStatus) -> None:
    rig.settings = rig.settings.model_copy(update={"stop_grace_s": 600.0})
    rig.supervise(STUBBORN, during=lambda: getattr(rig.bench.jobs, verb)(rig.job.id))
    assert rig.status is status
    assert "before its first step" in rig.log()[-1]


def test_from_click_to_end_stays_under_ten_seconds_at_the_default_grace(rig: Rig) -> None:
    """On the supervisor's own clock: the look, the grace, and the wait between the two signals."""
    clicked_at: list[float] = []

    def click() -> None:
        rig.bench.jobs.cancel(rig.job.id)
        clicked_at.append(time.monotonic() * 4)

    rig.supervise(HANGING, speed=4, during=click)
    assert time.monotonic() * 4 - clicked_at[0] < 10


def test_a_child_without_a_step_is_ended_and_one_with_steps_is_not(rig: Rig) -> None:
    rig.settings = rig.settings.model_copy(update={"stall_timeout_s": 10.0})
    seconds = itertools.count()

    def beat_each_second() -> float:
        assert rig.child is not None
        now = next(seconds)
        if rig.beat_fd is not None:
            os.write(rig.beat_fd, b".")
        if now == 100:
            rig.child.process.kill()
        return now

    rig.is_beating, rig.monotonic = True, beat_each_second
    rig.supervise(SLEEPER)
    assert "killed (SIGKILL)" in rig.log()[-1]
    assert rig.bench.jobs.events(rig.job.id)[0][-1].data["cause"] == "process_lost"
    rig.claim = rig.bench.claim(rig.job)
    rig.is_beating, rig.monotonic = False, None
    rig.supervise(SLEEPER, speed=FAST)
    assert "made no step for 10 s" in rig.log()[-1]
    assert rig.bench.jobs.events(rig.job.id)[0][-1].data["cause"] == "process_stuck"
    assert rig.status is JobStatus.PENDING


BEATS_WHEN_WOKEN = (
    "import os, signal, sys, time\n"
    "beat = int(sys.argv[1])\n"
    "os.write(beat, b'.'); print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
    "while True: os.write(beat, b'.'); time.sleep(0.02)"
)


def test_a_stopped_child_is_told_on_the_job_and_forgotten_when_it_goes_on(rig: Rig) -> None:
    seen: list[Job] = []

    def watch_and_wake() -> None:
        assert rig.child is not None
        wait_until(lambda: rig.read().silent_since is not None, 20, lambda: "nothing was said")
        seen.append(rig.read())
        wait_until(lambda: "90 s" in (rig.read().notice or ""), 20, lambda: "not said again")
        os.kill(rig.child.process.pid, signal.SIGCONT)
        wait_until(lambda: rig.read().silent_since is None, 20, lambda: "still said")
        seen.append(rig.read())
        rig.child.process.kill()

    rig.supervise(BEATS_WHEN_WOKEN, speed=FAST, during=watch_and_wake)
    hung, woken = seen
    assert hung.status is JobStatus.RUNNING
    assert hung.notice is not None
    found = re.match(r"The training process was stopped from outside, and no step for more than (\d+) s\. ", hung.notice)
    assert found is not None
    assert 5 <= int(found[1]) < 45, "there is nothing to be patient about"
    assert "ends this attempt at 600 s" in hung.notice
    assert (woken.status, woken.notice) == (JobStatus.RUNNING, None)
    assert rig.read().notice is None


def test_a_child_that_loops_without_a_step_is_told_and_what_was_healed_comes_back(rig: Rig) -> None:
    rig.bench.attempts.note_waiting(rig.claim, "The newest checkpoint is damaged.")
    code = (
        "import os, sys, time\nbeat = int(sys.argv[1]); os.write(beat, b'.'); print('ready', flush=True); end = time.monotonic() + 3\n"
        "while time.monotonic() < end: pass\nwhile True: os.write(beat, b'.'); time.sleep(0.02)"
    )

    def watch() -> None:
        assert rig.child is not None
        wait_until(lambda: (rig.read().notice or "").startswith("No step for more than 45 s."), 20, lambda: f"{rig.read().notice}")
        wait_until(lambda: rig.read().silent_since is None, 20, lambda: "still said")
        assert rig.read().notice == "The newest checkpoint is damaged."
        rig.child.process.kill()

    rig.supervise(code, speed=FAST, during=watch)


@pytest.mark.parametrize(("sign", "words"), [("", "Starting"), ("p", "Preparing the data"), ("x", "Exporting and measuring the network")])
def test_a_quiet_stretch_before_and_after_the_steps_is_told_without_alarm(rig: Rig, sign: str, words: str) -> None:
    def watch() -> None:
        assert rig.child is not None
        wait_until(lambda: rig.read().notice is not None, 20, lambda: "nothing was said")
        assert (rig.read().notice or "").startswith(f"{words}, and no sign of progress for more than 45 s")
        assert rig.read().silent_since is None
        rig.child.process.kill()

    code = f"import os, signal, sys; os.write(int(sys.argv[1]), {sign!r}.encode()); print('ready', flush=True); signal.pause()"
    rig.supervise(code, speed=FAST, during=watch)


def test_a_worker_that_was_frozen_with_its_child_does_not_blame_the_child(rig: Rig) -> None:
    """Its clock leaps by an hour between two looks; the child beats before and after."""
    leap = [0.0]
    rig.monotonic = lambda: time.monotonic() + leap[0]

    def freeze() -> None:
        leap[0] = 3600.0
        wait_until(lambda: "still here" in rig.log(), 10, lambda: f"{rig.log()}")

    code = "import time; print('ready', flush=True); time.sleep(1.5); print('still here', flush=True); time.sleep(0.5)"
    rig.supervise(code, during=freeze)
    assert "made no step" not in rig.log()[-1]
    assert not [frame for frame in rig.bench.jobs.events(rig.job.id)[0] if frame.data.get("reason") == "waiting"]


def test_a_lost_lease_ends_the_child_and_touches_nothing(rig: Rig) -> None:
    def lose() -> None:
        rig.bench.registry.gone.add("w1")
        rig.bench.sweeper.sweep()
        rig.bench.claim(rig.job, "w2")

    assert rig.supervise(STUBBORN, during=lose) is None
    assert rig.child is not None
    assert rig.child.process.returncode is not None
    assert rig.bench.jobs.get(rig.job.id).attempt == 2
    assert rig.status is JobStatus.RUNNING


def test_a_stopping_worker_asks_and_gives_the_job_back(rig: Rig) -> None:
    obedient = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('ready', flush=True); signal.pause()"
    rig.supervise(obedient, during=lambda: rig.set_request(StopRequest.DRAIN))
    assert rig.status is JobStatus.PENDING
    assert rig.bench.event_types(rig.job.id)[-1] == "training_requeued"


def test_a_stopping_worker_does_not_wait_for_a_child_that_never_stepped(rig: Rig) -> None:
    """It loads its libraries and hears nothing yet; there is no checkpoint to wait for."""
    rig.settings = rig.settings.model_copy(update={"stop_grace_s": 600.0})
    started = time.monotonic()
    rig.supervise(STUBBORN, during=lambda: rig.set_request(StopRequest.DRAIN))
    assert time.monotonic() - started < 5
    assert rig.status is JobStatus.PENDING
    assert rig.bench.event_types(rig.job.id)[-1] == "training_requeued"


def test_a_stop_at_once_does_not_wait_for_the_grace(rig: Rig) -> None:
    started = time.monotonic()
    rig.supervise(STUBBORN, during=lambda: rig.set_request(StopRequest.AT_ONCE))
    assert time.monotonic() - started < 5
    assert rig.status is JobStatus.PENDING


def test_a_database_that_is_away_for_a_while_does_not_end_the_child(rig: Rig) -> None:
    def go_away_and_come_back() -> None:
        rig.bench.store.is_away = True
        threading.Event().wait(1.2)
        rig.bench.store.is_away = False

    code = "import time; print('ready', flush=True); time.sleep(2.5); print('still here')"
    rig.supervise(code, during=go_away_and_come_back)
    assert "still here" in rig.log()


def test_the_end_of_a_killed_child_waits_for_a_store_that_is_away_however_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.left = [rig.bench.report(rig.claim, epoch) for epoch in (1, 2)]
    read_control, refused_at = rig.bench.attempts.read_control, []

    def note_refusal(claim: Claim) -> PendingAction | None:
        try:
            return read_control(claim)
        except UnavailableError:
            assert rig.child is not None
            if rig.child.process.poll() is not None:
                refused_at.append(FAST * time.monotonic())
            raise

    monkeypatch.setattr(rig.bench.attempts, "read_control", note_refusal)

    def go_away_and_kill() -> None:
        rig.bench.store.is_away = True
        assert rig.child is not None
        rig.child.process.kill()
        wait_until(lambda: len(refused_at) > 1 and refused_at[-1] - refused_at[0] > 40, 20, lambda: f"given up: {refused_at}")
        rig.bench.store.is_away = False

    assert rig.supervise(SLEEPER, speed=FAST, during=go_away_and_kill) is not None
    assert (rig.status, rig.read().current_epoch) == (JobStatus.PENDING, 2)


def test_a_worker_that_is_asked_to_stop_does_not_wait_for_a_store_for_ever(rig: Rig) -> None:
    def go_away_and_stop() -> None:
        rig.bench.store.is_away = True
        rig.set_request(StopRequest.AT_ONCE)

    assert rig.supervise(SLEEPER, speed=FAST, during=go_away_and_stop) is None
    rig.bench.store.is_away = False
    assert rig.status is JobStatus.RUNNING


def test_a_child_frozen_while_the_database_is_locked_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is stopped inside a transaction of SQLite holds its lock: nobody could write until someone woke it."""
    heartbeat = rig.bench.attempts.heartbeat

    def wait_for_the_lock(claim: Claim) -> PendingAction | None:
        assert rig.child is not None
        if rig.child.process.poll() is None and psutil.Process(rig.child.process.pid).status() == psutil.STATUS_STOPPED:
            raise LockedError("Someone else holds the write lock.")
        return heartbeat(claim)

    monkeypatch.setattr(rig.bench.attempts, "heartbeat", wait_for_the_lock)
    code = "import os, signal; print('ready', flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    rig.supervise(code)
    assert rig.status is JobStatus.PENDING
    assert "stopped from outside" in rig.log()[-1]


def test_a_locked_database_alone_ends_no_child(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_claim: Claim) -> PendingAction | None:
        raise LockedError("Someone else holds the write lock.")

    monkeypatch.setattr(rig.bench.attempts, "heartbeat", refuse)
    rig.supervise("print('ready', flush=True); print('to the end')")
    assert "to the end" in rig.log()


def test_a_child_that_closes_its_output_is_watched_all_the_same(rig: Rig) -> None:
    code = (
        "import os, sys, time; print('ready', flush=True); os.close(1); os.close(2); os.close(int(sys.argv[1])); time.sleep(1); os._exit(7)"
    )
    before = time.process_time()
    rig.supervise(code)
    assert time.process_time() - before < 0.5, "no busy loop"
    assert "exit code 7" in rig.log()[-1]
