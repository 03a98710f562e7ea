"""The temporary files of one process, told from those of dead ones by a lock the kernel gives back.

``<root>/<owner>.lock`` is held (flock) while the process lives, however it dies; ``<root>/<owner>/`` is its folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
import uuid
from pathlib import Path

_guard = threading.Lock()
"""Held by the thread that claims a folder. A forked child gets a new one: the thread that held the old one is not in the child."""


def _renew_guard() -> None:
    global _guard
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_renew_guard)


class Workbench:
    """A folder for what this process has not finished. Made at first use; a forked child makes its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._pid = -1
        self._folder = root
        self._lock_fd = -1

    def new_path(self) -> Path:
        """Return a fresh path; nothing is there yet. Safe from any thread."""
        with _guard:
            if self._pid != os.getpid() or not self._folder.is_dir():
                self._claim()
            return self._folder / uuid.uuid4().hex

    def _claim(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        owner = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._lock_fd = _take(self.root / f"{owner}.lock")
        self._folder = self.root / owner
        self._folder.mkdir()
        self._pid = os.getpid()

    def sweep(self, older_than_s: float) -> int:
        """Remove the folders whose process is gone and which are older than ``older_than_s``; returns how many."""
        self.root.mkdir(parents=True, exist_ok=True)
        latest = time.time() - older_than_s
        count = 0
        for lock in sorted(self.root.glob("*.lock")):
            count += self._sweep_one(lock, latest)
        for entry in self.root.iterdir():
            if entry.suffix != ".lock" and not entry.with_name(f"{entry.name}.lock").exists() and _modified(entry) <= latest:
                _remove(entry)
                count += 1
        return count

    def _sweep_one(self, lock: Path, latest: float) -> int:
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        else:
            if os.fstat(fd).st_mtime > latest:
                return 0
            _remove(lock.with_suffix(""))
            lock.unlink(missing_ok=True)
            return 1
        finally:
            os.close(fd)

    def close(self) -> None:
        """Remove this process's folder and give the lock back."""
        if self._pid != os.getpid():
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.with_name(f"{self._folder.name}.lock").unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._pid, self._lock_fd = -1, -1


def _take(path: Path) -> int:
    """Create and lock a file; again where a sweeper removed it between the two."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink > 0:
            return fd
        os.close(fd)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
