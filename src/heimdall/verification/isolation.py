"""Takes rights away from the present process. Runs in the verifying child, before anything untrusted is read.

Linux only where the kernel's own means are used; every step says whether it worked, nothing is assumed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_SECCOMP_ALLOW: Final = 0x7FFF0000
_SECCOMP_ERRNO_EPERM: Final = 0x00050001
_SECCOMP_KILL_PROCESS: Final = 0x80000000

_SECCOMP_ERRNO_ENOSYS: Final = 0x00050026
_CLONE_THREAD: Final = 0x00010000
_CLONE3: Final = 435

_SYSTEM_CALLS: Final[dict[str, tuple[int, int, tuple[int, ...]]]] = {
    # audit architecture; clone; socket connect accept sendto socketpair bind listen, fork vfork execve execveat ptrace kill io_uring_setup
    "x86_64": (0xC000003E, 56, (41, 42, 43, 44, 53, 49, 50, 57, 58, 59, 322, 101, 62, 425)),
    # the same without fork and vfork, which this architecture does not have
    "aarch64": (0xC00000B7, 220, (198, 203, 202, 206, 199, 200, 201, 221, 281, 117, 129, 425)),
}
"""System call numbers (Linux UAPI ``asm/unistd_64.h`` and ``asm-generic/unistd.h``; ``linux/audit.h``)."""


def limit_resources(*, memory_bytes: int, cpu_s: int) -> None:
    """Bound address space, processor time, open files; forbid writing files and core dumps."""
    for name, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(name)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bound, bound))


def leave_network() -> str:
    """Move into a network name space of its own, empty but for a loopback that is down; returns how, or ``none: why``.

    Must run before a second thread exists.
    """
    if sys.platform != "linux":
        return f"none: not on {sys.platform}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:
        return "network namespace"
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        return "user and network namespace"
    return f"none: {os.strerror(ctypes.get_errno())}"


def filter_system_calls() -> str:
    """Forbid sockets, new programs and reaching other processes by seccomp; returns ``seccomp``, or ``none: why``."""
    entry = _SYSTEM_CALLS.get(platform.machine())
    if sys.platform != "linux" or entry is None:
        return f"none: no table for {sys.platform} {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return f"none: {os.strerror(ctypes.get_errno())}"
    program = _make_filter(*entry)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)), 0, 0) != 0:
        return f"none: {os.strerror(ctypes.get_errno())}"
    return "seccomp"


def _make_filter(architecture: int, clone: int, forbidden: tuple[int, ...]) -> bytes:
    """Return a classic BPF program over ``struct seccomp_data`` (``linux/seccomp.h``).

    The system call's number stands at offset 0, the architecture at 4, the first argument (low half) at 16.
    """
    load, jump_equal, jump_from, jump_bits, give = 0x20, 0x15, 0x35, 0x45, 0x06

    def line(code: int, if_true: int, if_false: int, value: int) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    lines = [
        line(load, 0, 0, 4),
        line(jump_equal, 1, 0, architecture),
        line(give, 0, 0, _SECCOMP_KILL_PROCESS),
        line(load, 0, 0, 0),
        line(jump_from, 0, 1, 0x40000000),  # x32 calls on x86_64 would go around the table
        line(give, 0, 0, _SECCOMP_ERRNO_EPERM),
    ]
    lines += [  # threads are needed, processes are not; clone3 hides its flags from the filter: libc falls back to clone
        line(jump_equal, 0, 1, _CLONE3),
        line(give, 0, 0, _SECCOMP_ERRNO_ENOSYS),
        line(jump_equal, 0, 4, clone),
        line(load, 0, 0, 16),
        line(jump_bits, 1, 0, _CLONE_THREAD),
        line(give, 0, 0, _SECCOMP_ERRNO_EPERM),
        line(give, 0, 0, _SECCOMP_ALLOW),
    ]
    for number in forbidden:
        lines += [line(jump_equal, 0, 1, number), line(give, 0, 0, _SECCOMP_ERRNO_EPERM)]
    lines.append(line(give, 0, 0, _SECCOMP_ALLOW))
    return b"".join(lines)


def isolate(*, memory_bytes: int, cpu_s: int) -> dict[str, str]:
    """Apply everything there is and say what took hold."""
    network = leave_network()
    calls = filter_system_calls()
    limit_resources(memory_bytes=memory_bytes, cpu_s=cpu_s)
    return {
        "network": network,
        "system_calls": calls,
        "memory": f"{memory_bytes // 2**20} MB of address space",
        "processor": f"{cpu_s} s",
        "files": "no writing",
    }
