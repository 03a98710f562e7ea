"""What the end of a training process means, in a sentence."""

from __future__ import annotations

import os
import signal
from enum import IntEnum
from typing import Final

_HINTS: Final = {
    signal.SIGKILL: ", perhaps out of memory",
    signal.SIGSEGV: ", a crash inside a native library",
    signal.SIGABRT: ", a failure inside a native library",
    signal.SIGBUS: ", perhaps a file that was cut while in use",
    signal.SIGILL: ", an instruction this processor does not know",
}


class ExitCode(IntEnum):
    """How a child says that it ended on purpose."""

    DONE = 0
    LEASE_LOST = 3
    GAVE_UP = 75
    """A dependency did not answer for as long as could be waited (EX_TEMPFAIL)."""


def describe_exit(return_code: int) -> str:
    """Return one plain sentence for a process that ended without saying why."""
    if return_code < 0:
        try:
            number = signal.Signals(-return_code)
        except ValueError:
            return f"The training process was ended by signal {-return_code}."
        return f"The training process was killed ({number.name}){_HINTS.get(number, '')}."
    if return_code == ExitCode.GAVE_UP:
        return "The training process gave up: the database or the file store did not answer."
    if return_code == os.EX_OK:
        return "The training process ended without a result."
    return f"The training process ended with exit code {return_code}; its log says why."
