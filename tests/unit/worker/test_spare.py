"""The warm child that nobody needed: it ends by itself and leaves nothing behind. Real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

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
