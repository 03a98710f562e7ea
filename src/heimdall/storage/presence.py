"""Which workers of this machine still live, told by locks that the kernel gives back however a process ends.

``<folder>/<worker>.lock`` is held (flock) by the worker. A file that can be locked belongs to a worker that is gone. Workers
of other machines are never judged: their leases are.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_FORGET_AFTER_S: Final = 24 * 3600.0
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class FolderRegistry:
    """``WorkerRegistry`` in the data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._path: Path | None = None

    def enter(self, worker_id: str) -> None:
        """Sign in. Where that cannot be done (full disk, a file system without locks) the lease alone decides."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old()
            path = self._place(worker_id)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor, self._path = descriptor, path
            if self.is_gone(worker_id):  # this file system's locks mean nothing
                self.close()

    def is_gone(self, worker_id: str) -> bool:
        """Return True only where the worker's process has certainly ended."""
        if worker_id.partition(":")[0] != socket.gethostname():
            return False
        try:
            descriptor = os.open(self._place(worker_id), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Sign out."""
        if self._descriptor is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = self._path = None

    def _place(self, worker_id: str) -> Path:
        return self._folder / f"{_UNSAFE.sub('-', worker_id)}.lock"

    def _forget_old(self) -> None:
        """Remove entries of long ago that nobody holds."""
        latest = time.time() - _FORGET_AFTER_S
        for path in self._folder.glob("*.lock"):
            with suppress(OSError), path.open("r+b") as file:
                if os.fstat(file.fileno()).st_mtime < latest:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


class MemoryRegistry:
    """``WorkerRegistry`` in memory, for tests; ``gone`` names the workers that ended."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def enter(self, worker_id: str) -> None:
        """Sign in."""
        self.gone.discard(worker_id)

    def is_gone(self, worker_id: str) -> bool:
        """Return whether the worker was named as gone."""
        return worker_id in self.gone

    def close(self) -> None:
        """Nothing to give back."""
