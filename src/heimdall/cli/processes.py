"""A child process of the supervisor: started so that it cannot outlive it, ended with everything it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

FIRST_BACKOFF_S: Final = 0.2
LONGEST_BACKOFF_S: Final = 10.0
_PROVEN_S: Final = 20.0
"""s a child must live before its next death counts as the first again."""

_PR_SET_PDEATHSIG: Final = 1


class ChildProcess:
    """A program that is kept running.

    It gets its own session, so that Ctrl-C in the terminal reaches the supervisor alone and the
    supervisor decides the order; and it asks the kernel (Linux) to be killed with the supervisor.

    Parameters
    ----------
    name
        What the log calls it.
    command
        Program and arguments.
    environment
        Its whole environment.
    monotonic
        Clock in seconds.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.num_deaths = 0
        self.start_at: float | None = None
        self._command = list(command)
        self._environment = dict(environment)
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._tie_to_parent = _make_parent_tie()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """True from start until :meth:`collect` has seen the end."""
        return self._process is not None

    def start(self) -> None:
        """Start the program."""
        self.start_at = None
        self._started_at = self._monotonic()
        # The supervisor has one thread, which makes preexec_fn safe here.
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=self._tie_to_parent
        )

    def collect(self) -> int | None:
        """Return the exit code if the program ended since the last call; whatever it left behind is ended too."""
        if self._process is None:
            return None
        # Look without reaping: until the number is given back, the group can be no one else's.
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.signal_group(signal.SIGKILL)
        code = self._process.wait()
        self._process = None
        return code

    def plan_restart(self) -> float:
        """Set the time of the next start and return the wait in s: 0.2 doubling to 10, from the start again after a long life."""
        now = self._monotonic()
        if now - self._started_at >= _PROVEN_S:
            self._backoff_s = FIRST_BACKOFF_S
            self.num_deaths = 0
        wait_s = self._backoff_s
        self.num_deaths += 1
        self.start_at = now + wait_s
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
        return wait_s

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the program (not to what it started: that is its own to end well)."""
        self.start_at = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the program and everything in its session's group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _make_parent_tie() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)

    return tie


def describe_exit(code: int) -> str:
    """Return ``exit code 1`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
