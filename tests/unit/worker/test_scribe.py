import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from heimdall.domain.errors import UnavailableError
from heimdall.domain.training import CheckpointFile, EpochReport
from heimdall.worker.scribe import MAX_EPOCHS, MAX_WAITING, Scribe, WriteCheckpoint
from tests.unit.services.job_bench import JobBench, write_checkpoint

WAIT_S = 10


class Desk:
    """A scribe whose writes are noted, and held back until the gate opens."""

    def __init__(self) -> None:
        bench = JobBench()
        claim = bench.claim(bench.create())
        self.make_report: Callable[[int], EpochReport] = lambda epoch: bench.report(claim, epoch)
        self.written: list[list[int] | int] = []
        self.gate = threading.Event()
        self.is_busy = threading.Event()
        self.fault: Exception | None = None
        self.scribe = Scribe(record_epochs=self.record, store_checkpoint=self.store)

    def record(self, reports: Sequence[EpochReport]) -> None:
        self._pass()
        self.written.append([report.metric.epoch for report in reports])

    def store(self, write: WriteCheckpoint) -> None:
        self._pass()
        self.written.append(write().step)

    def _pass(self) -> None:
        self.is_busy.set()
        assert self.gate.wait(WAIT_S)
        if self.fault is not None:
            raise self.fault

    def put_epochs(self, *epochs: int) -> None:
        for epoch in epochs:
            self.scribe.put_epoch(self.make_report(epoch))

    def hold_one(self) -> None:
        """Report epoch 1 and wait until its write has begun."""
        self.put_epochs(1)
        assert self.is_busy.wait(WAIT_S)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_epochs_reported_while_one_is_written_go_together(desk: Desk) -> None:
    desk.hold_one()
    desk.put_epochs(2, 3, 4)
    desk.gate.set()
    desk.scribe.close()
    assert desk.written == [[1], [2, 3, 4]]


def test_a_checkpoint_keeps_its_place_between_epochs(desk: Desk, tmp_path: Path) -> None:
    desk.hold_one()
    desk.put_epochs(2)
    desk.scribe.put_checkpoint(lambda: write_checkpoint(tmp_path, 20))
    desk.put_epochs(3, 4)
    desk.gate.set()
    desk.scribe.close()
    assert desk.written == [[1], [2], 20, [3, 4]]


def test_a_transaction_has_a_size(desk: Desk) -> None:
    desk.hold_one()
    desk.put_epochs(*range(2, MAX_EPOCHS + 10))
    desk.gate.set()
    desk.scribe.close()
    assert [len(epochs) for epochs in desk.written if isinstance(epochs, list)] == [1, MAX_EPOCHS, 8]


def test_the_loop_waits_for_a_commit_only_where_the_queue_is_full(desk: Desk) -> None:
    desk.hold_one()
    desk.put_epochs(*range(2, MAX_WAITING + 2))  # while the commit of epoch 1 takes as long as it likes
    assert desk.scribe.num_waits == 0
    loop = threading.Thread(target=desk.put_epochs, args=(MAX_WAITING + 2,))
    loop.start()
    while desk.scribe.num_waits == 0:
        assert loop.is_alive()
    assert desk.written == []
    desk.gate.set()
    loop.join(WAIT_S)
    desk.scribe.close()
    assert desk.scribe.num_waits == 1
    assert [epoch for group in desk.written if isinstance(group, list) for epoch in group] == list(range(1, MAX_WAITING + 3))


def test_a_second_checkpoint_waits_for_the_first(desk: Desk, tmp_path: Path) -> None:
    is_put = threading.Event()

    def put_two() -> None:
        for step in (10, 20):
            desk.scribe.put_checkpoint(lambda step=step: write_checkpoint(tmp_path, step))  # type: ignore[misc]
        is_put.set()

    loop = threading.Thread(target=put_two)
    loop.start()
    assert desk.is_busy.wait(WAIT_S)
    assert not is_put.is_set()
    desk.gate.set()
    assert is_put.wait(WAIT_S)
    loop.join()
    desk.scribe.close()
    assert desk.written == [10, 20]


def test_what_failed_is_raised_at_the_next_word_and_nothing_behind_it_is_written(desk: Desk, tmp_path: Path) -> None:
    desk.fault = UnavailableError("away")
    desk.hold_one()
    desk.put_epochs(2)
    desk.gate.set()
    with pytest.raises(UnavailableError):
        desk.scribe.close()
    for say in (
        desk.scribe.check,
        lambda: desk.put_epochs(3),
        lambda: desk.scribe.put_checkpoint(lambda: CheckpointFile(tmp_path, "", 1, 1, 0)),
    ):
        with pytest.raises(UnavailableError):
            say()
    assert desk.written == []


def test_a_loop_that_waits_for_room_hears_of_the_fault(desk: Desk, tmp_path: Path) -> None:
    desk.fault = UnavailableError("away")
    heard: list[Exception] = []

    def put_two() -> None:
        try:
            for _ in range(2):
                desk.scribe.put_checkpoint(lambda: write_checkpoint(tmp_path, 10))
        except UnavailableError as error:
            heard.append(error)

    loop = threading.Thread(target=put_two)
    loop.start()
    assert desk.is_busy.wait(WAIT_S)
    desk.gate.set()
    loop.join(WAIT_S)
    assert [error.detail for error in heard] == ["away"]
