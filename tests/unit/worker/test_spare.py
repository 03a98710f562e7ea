"""The warm child that nobody needed: it ends by itself and leaves nothing behind. Real processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from heimdall.domain.jobs import Claim
from heimdall.settings import Settings
from heimdall.worker.spare import Children
from tests.instance import wait_until


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(Settings(data_dir=tmp_path), spare_life_s=0.0)
    yield made
    made.close()


def find_spares() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE or "--spare" in child.cmdline()]


def test_an_unused_spare_that_ended_leaves_no_entry_among_the_processes(children: Children) -> None:
    before = set(find_spares())
    children.keep_spare()
    (spare,) = set(find_spares()) - before
    children.reap()
    assert spare.is_running()  # a living one is left alone
    wait_until(lambda: spare.status() == psutil.STATUS_ZOMBIE, 120, lambda: "the spare does not end")

    def is_gone() -> bool:
        children.reap()  # the last of its threads may still be ending
        return not psutil.pid_exists(spare.pid)

    wait_until(is_gone, 20, lambda: "the entry of the ended spare stays")


def refuse(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("broken", ["heimdall.worker.spare.open_slate", "heimdall.worker.spare.os.pipe", "subprocess.Popen"])
def test_a_child_that_cannot_be_started_leaves_nothing_open(children: Children, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    claim = Claim(job_id="job", worker_id="w1", attempt=1)
    monkeypatch.setattr(broken, refuse)
    with pytest.raises(OSError, match="Too many"):
        children.start(claim)
    before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(OSError, match="Too many"):
            children.start(claim)
    assert psutil.Process().num_fds() == before


def test_a_spare_that_does_not_take_its_order_is_ended_and_another_child_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(Settings(data_dir=tmp_path), spare_life_s=60)
    before = psutil.Process().num_fds()
    children.keep_spare()
    (spare,) = find_spares()
    monkeypatch.setattr("heimdall.worker.spare._give_order", lambda *_: False)
    child = children.start(Claim(job_id="job", worker_id="w1", attempt=1))
    assert child.process.pid != spare.pid
    assert not psutil.pid_exists(spare.pid)
    child.process.kill()
    child.process.wait()
    child.close()
    assert psutil.Process().num_fds() == before
    children.close()
