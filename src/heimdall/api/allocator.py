"""Keeps the C library from spreading the server's memory over an arena for each thread.

A view is read in whichever thread is free, and glibc lets each of them keep what it frees: 13 arenas after 40 000 epochs.
"""

from __future__ import annotations

from ctypes import CDLL
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Numbers of ``mallopt`` in glibc's ``malloc.h``."""
_THRESHOLD_BYTES: Final = 128 * 1024
"""glibc's own at first; unless it is set, one large block that is freed raises it, up to 32 MB, for good."""


def share_one_arena() -> None:
    """Let all threads share one arena that gives back its free end; call it before a thread starts.

    They hardly wait for each other: Python holds its lock over nearly all that they allocate. Where the C library is not
    glibc (musl, macOS, Windows), nothing happens.
    """
    try:
        mallopt = CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
