"""What ``/health/ready`` asks of the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from heimdall.domain.errors import UnavailableError


def free_bytes(folder: Path) -> int:
    """Return the bytes free on the disk of ``folder``. UnavailableError where the folder is not there."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UnavailableError(f"The data folder cannot be read: {error.strerror or error}. Check that it exists.") from error


def used_bytes(folder: Path) -> int:
    """Return the bytes that the files below ``folder`` take on the disk; what vanishes meanwhile counts nothing."""
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _allocated(entry)
        except OSError:
            continue
    return total


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0
