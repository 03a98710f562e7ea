from __future__ import annotations

import os
import sys

from heimdall.cli.processes import ChildProcess, describe_exit


def test_waits_double_up_to_ten_seconds_and_start_again_after_a_long_life() -> None:
    now = 0.0
    child = ChildProcess("worker", [sys.executable, "-c", ""], os.environ, monotonic=lambda: now)
    assert [child.plan_restart() for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert child.num_deaths == 8
    now = 100.0
    assert child.plan_restart() == 0.2
    assert (child.num_deaths, child.start_at) == (1, 100.2)


def test_end_is_described_by_code_or_signal() -> None:
    assert [describe_exit(code) for code in (0, 3, -9, -200)] == ["exit code 0", "exit code 3", "signal SIGKILL", "signal 200"]
