import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from heimdall.domain.errors import LeaseLostError, UnavailableError
from heimdall.domain.events import Tick
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import Phase
from heimdall.worker.control import ControlThread
from tests.instance import wait_until


def make_tick(batch: int) -> Tick:
    return Tick(
        job_id="j",
        attempt=1,
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        current_epoch=1,
        progress_percent=1.0,
        batch=batch,
        total_batches=9,
    )


class Word:
    """What the database answers."""

    def __init__(self) -> None:
        self.answer: PendingAction | Exception | None = None
        self.num_reads = 0

    def read(self) -> PendingAction | None:
        self.num_reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def wait_reads(self, more: int) -> None:
        target = self.num_reads + more
        wait_until(lambda: self.num_reads >= target, 5, lambda: "the thread does not look")


@pytest.fixture
def word() -> Word:
    return Word()


@pytest.fixture
def ticks() -> list[Tick]:
    return []


@pytest.fixture
def start(word: Word, ticks: list[Tick]) -> Iterator[Callable[..., ControlThread]]:
    started: list[ControlThread] = []

    def make(beat_fd: int | None = None) -> ControlThread:
        control = ControlThread(read_control=word.read, publish=ticks.append, beat_fd=beat_fd, poll_s=0.01)
        control.start()
        started.append(control)
        return control

    yield make
    for control in started:
        control.stop()


def test_the_loop_hears_what_was_asked_and_a_later_cancel(start: Callable[..., ControlThread], word: Word) -> None:
    control = start()
    assert control.read() is None
    for action in (PendingAction.PAUSE, PendingAction.CANCEL):
        word.answer = action
        word.wait_reads(2)
        assert control.read() is action


def test_a_stopping_worker_is_a_pause_that_nobody_asked_for(start: Callable[..., ControlThread], word: Word) -> None:
    control = start()
    control.drain()
    assert control.read() is PendingAction.PAUSE
    assert control.asked is None
    word.answer = PendingAction.CANCEL
    word.wait_reads(2)
    assert control.read() is PendingAction.CANCEL, "a person's word comes first"


def test_a_lost_lease_ends_the_loop(start: Callable[..., ControlThread], word: Word) -> None:
    control = start()
    word.answer = LeaseLostError("gone")
    wait_until(lambda: not control._thread.is_alive(), 5, lambda: "still alive")
    with pytest.raises(LeaseLostError):
        control.read()
    with pytest.raises(LeaseLostError):
        control.check_lease()


def test_a_database_that_is_away_changes_nothing(start: Callable[..., ControlThread], word: Word) -> None:
    control = start()
    word.answer = UnavailableError("away")
    word.wait_reads(3)
    assert control.read() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_loop_notices_that_the_thread_died(start: Callable[..., ControlThread], word: Word) -> None:
    control = start()
    word.answer = ZeroDivisionError("a bug")
    wait_until(lambda: not control._thread.is_alive(), 5, lambda: "still alive")
    with pytest.raises(RuntimeError, match="died"):
        control.read()


def test_ticks_are_thinned_to_four_a_second_and_the_newest_is_said(
    start: Callable[..., ControlThread], word: Word, ticks: list[Tick]
) -> None:
    control = start()
    stop = threading.Event()
    number = 0
    deadline = threading.Timer(1.2, stop.set)
    deadline.start()
    while not stop.wait(0.002):
        number += 1
        control.offer_tick(lambda number=number: make_tick(number))
    deadline.join()
    assert 3 <= len(ticks) <= 6
    batches = [tick.batch for tick in ticks]
    assert batches == sorted(batches)


def test_steps_are_heard_by_the_worker_and_silence_too(start: Callable[..., ControlThread], word: Word) -> None:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    control = start(write_fd)
    word.wait_reads(60)
    assert _read(read_fd) == 0, "no step, no beat"
    control.read()
    wait_until(lambda: _read(read_fd) > 0, 5, lambda: "no beat after a step")
    control.stop()
    os.close(read_fd)
    os.close(write_fd)


def test_the_worker_hears_what_the_attempt_does(start: Callable[..., ControlThread]) -> None:
    read_fd, write_fd = os.pipe()
    control = start(write_fd)
    for phase in (Phase.PREPARING, Phase.STEPS, Phase.EXPORTING):
        control.note_phase(phase)
        assert os.read(read_fd, 1) == phase.encode()
    control.stop()
    os.close(read_fd)
    os.close(write_fd)


def _read(descriptor: int) -> int:
    try:
        return len(os.read(descriptor, 100))
    except BlockingIOError:
        return 0
