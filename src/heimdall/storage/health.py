"""What ``/health/ready`` asks of the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from heimdall.domain.errors import UnavailableError


def free_bytes(folder: Path) -> int:
    """Return the bytes free on the disk of ``folder``. UnavailableError where the folder is not there."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UnavailableError(f"The data folder cannot be read: {error.strerror or error}. Check that it exists.") from error
