"""The server's threads share one arena of the C library, so that none keeps for itself what it freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT_ARENAS = """
import ctypes, sys, threading

from heimdall.api.allocator import share_one_arena

if sys.argv[1] == "shared":
    share_one_arena()
held, are_there = [], threading.Barrier(9)

def hold():
    held.append([bytes(1000) for _ in range(1000)])
    are_there.wait()
    are_there.wait()

threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
are_there.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
are_there.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has an arena for each thread")
@pytest.mark.parametrize(("how", "is_one"), [("shared", True), ("apart", False)])
def test_threads_share_one_arena(how: str, is_one: bool) -> None:
    told = subprocess.run([sys.executable, "-c", COUNT_ARENAS, how], capture_output=True, text=True, check=True, timeout=60).stdout
    assert (told.count("<heap nr=") == 1) is is_one
