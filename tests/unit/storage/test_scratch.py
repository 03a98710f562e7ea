from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from heimdall.storage import scratch
from heimdall.storage.scratch import Workbench


@pytest.fixture
def hasty_threads():
    """Threads that change places at nearly every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_come_at_once_share_one_folder_that_is_there(tmp_path, hasty_threads):
    num_threads = 4
    with ThreadPoolExecutor(num_threads) as pool:
        for turn in range(100):
            bench = Workbench(tmp_path / str(turn))
            start = threading.Barrier(num_threads)

            def take(bench=bench, start=start):
                start.wait(30)
                path = bench.new_path()
                path.mkdir()
                return path

            paths = [future.result(30) for future in [pool.submit(take) for _ in range(num_threads)]]
            assert len(set(paths)) == num_threads
            assert len({path.parent for path in paths}) == 1
            assert len(list(bench.root.glob("*.lock"))) == 1
            assert bench.sweep(0.0) == 0  # the folder in use is locked
            bench.close()


def test_a_forked_child_works_in_its_own_folder_even_where_a_thread_of_its_parent_was_claiming(tmp_path):
    bench = Workbench(tmp_path)
    mine = bench.new_path().parent
    with scratch._guard:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if bench.new_path().parent not in (mine, tmp_path) else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.new_path().parent == mine
    bench.close()
