"""What a process wrote on its slate is there when the process is not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from heimdall.domain.jobs import Claim, DeviceInfo
from heimdall.domain.training import EpochReport
from heimdall.worker.slate import NUM_SLOTS, SLOT_BYTES, Slate, open_slate
from tests.serving import make_report

CLAIM = Claim(job_id="job", worker_id="w1", attempt=2)
KILLED_BEHIND_ITS_WORD = """
import os, signal, sys
from heimdall.worker.slate import Slate
from tests.unit.worker.test_slate import make_full_report
slate = Slate(int(sys.argv[1]))
for epoch in (1, 2, 3):
    slate.note(make_full_report(epoch))
os.kill(os.getpid(), signal.SIGKILL)
"""
AT = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)


def make_full_report(epoch: int) -> EpochReport:
    """Every field filled, with numbers that have no short decimal form."""
    report = make_report(CLAIM, epoch, 1000, train_loss=1 / 3 + epoch, val_nll=float("nan"), grad_norm=2e-310)
    changes = {
        "metric": report.metric.evolve(timestamp=AT),
        "estimated_completion": AT,
        "best_val_error_median_m": 100 / 7,
        "device": DeviceInfo(kind="cpu", name="cpu", threads=2),
    }
    return EpochReport(**{**report.__dict__, **changes})


def refuse(_name: str) -> int:
    raise OSError(errno.EPERM, "not permitted")


@pytest.fixture(params=["memory", "file"])
def slate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slate]:
    if request.param == "file":
        monkeypatch.setattr(os, "memfd_create", refuse)
    slate = open_slate()
    yield slate
    slate.close()


def test_an_empty_slate_holds_nothing(slate: Slate) -> None:
    assert slate.read() == []


def test_what_a_killed_process_noted_is_read_to_the_last_bit(slate: Slate) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED_BEHIND_ITS_WORD, str(slate.fd)], pass_fds=(slate.fd,), check=False)
    assert process.returncode == -signal.SIGKILL
    assert slate.read() == [make_full_report(epoch) for epoch in (1, 2, 3)]


def test_the_newest_are_kept_in_the_same_room(slate: Slate) -> None:
    for epoch in range(1, 3 * NUM_SLOTS):
        slate.note(make_report(CLAIM, epoch, 10_000))
    assert [report.metric.epoch for report in slate.read()] == list(range(2 * NUM_SLOTS, 3 * NUM_SLOTS))
    assert os.fstat(slate.fd).st_size == NUM_SLOTS * SLOT_BYTES


def test_half_a_report_is_not_taken_for_one(slate: Slate) -> None:
    for epoch in (1, 2, 3):
        slate.note(make_report(CLAIM, epoch, 10))
    os.pwrite(slate.fd, b"#", 2 * SLOT_BYTES + 40)
    assert [report.metric.epoch for report in slate.read()] == [1, 3]
    os.pwrite(slate.fd, b"\xff\xff\xff\xff", 3 * SLOT_BYTES)
    assert [report.metric.epoch for report in slate.read()] == [1]


def test_what_does_not_fit_is_left_out_and_stops_nobody(slate: Slate) -> None:
    slate.note(make_report(CLAIM, 1, 10, non_finite={"val_nll": "n" * SLOT_BYTES}))
    slate.note(make_report(CLAIM, 2, 10))
    assert [report.metric.epoch for report in slate.read()] == [2]
