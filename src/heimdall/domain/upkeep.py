"""The port of what must still be done to the artifacts."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class UpkeepRepository(Protocol):
    """What must still be done to the artifacts, and what forbids it for now.

    Every deletion has two phases: the transaction that removes the row also buries the files' key; the files go
    afterwards, and the tombstone last. A crash between leaves only what the next sweep collects.
    """

    def bury(self, *keys: str, now: datetime) -> None:
        """Note that nothing points to these keys any more. Burying one twice is the same."""

    def list_buried(self, *, limit: int = 100) -> list[str]:
        """Return keys whose files may go, oldest first."""

    def forget(self, *keys: str) -> None:
        """Remove tombstones: the files are gone, or the key lives again. Unknown keys are no error."""

    def hold(self, holder: str, *, until: datetime) -> None:
        """Forbid, until then, that any file goes that a row pointed to when the hold began; calling again prolongs it."""

    def release(self, holder: str) -> None:
        """End a hold."""

    def list_checkpoints_before(self, before: datetime, *, job_id: str | None = None, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still point to a checkpoint, or whether this one is such a job."""

    def list_logs_before(self, before: datetime, *, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still have log lines."""

    def list_logs_beyond(self, num_lines: int, *, limit: int = 100) -> list[str]:
        """Return jobs of any state whose log has more lines than this."""

    def is_held(self, now: datetime) -> bool:
        """Return whether any hold lasts."""
