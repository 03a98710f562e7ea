"""A child never outlives its worker."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def bind_to_parent(parent_pid: int) -> None:
    """End this process when its parent ends, however that ends.

    The kernel sends the signal when the parent's *thread* that started this process ends, so that
    thread must live as long as the child.

    Raises
    ------
    SystemExit
        The parent was gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit("The worker that started this process is gone.")
