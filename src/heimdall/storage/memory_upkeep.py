"""Tombstones and holds of the in-memory store."""

from __future__ import annotations

from datetime import datetime

from heimdall.domain.jobs import Job
from heimdall.storage.memory_state import MemoryState


class MemoryUpkeep:
    """``UpkeepRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def bury(self, *keys: str, now: datetime) -> None:
        """Note that nothing points to these keys any more. Burying one twice is the same."""
        for key in keys:
            self._state.tombstones.setdefault(key, now)

    def list_buried(self, *, limit: int = 100) -> list[str]:
        """Return keys whose files may go, oldest first."""
        return sorted(self._state.tombstones, key=lambda key: (self._state.tombstones[key], key))[:limit]

    def forget(self, *keys: str) -> None:
        """Remove tombstones: the files are gone, or the key lives again. Unknown keys are no error."""
        for key in keys:
            self._state.tombstones.pop(key, None)

    def hold(self, holder: str, *, until: datetime) -> None:
        """Forbid, until then, that any file goes that a row pointed to when the hold began; calling again prolongs it."""
        self._state.holds[holder] = until

    def release(self, holder: str) -> None:
        """End a hold."""
        self._state.holds.pop(holder, None)

    def list_checkpoints_before(self, before: datetime, *, job_id: str | None = None, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still point to a checkpoint, or whether this one is such a job."""
        ended = self._list_ended(before)
        return [job.id for job in ended if job.checkpoint is not None and job_id in (None, job.id)][:limit]

    def list_logs_before(self, before: datetime, *, limit: int = 100) -> list[str]:
        """Return final jobs that ended before then and still have log lines."""
        return [job.id for job in self._list_ended(before) if self._state.logs.get(job.id)][:limit]

    def list_logs_beyond(self, num_lines: int, *, limit: int = 100) -> list[str]:
        """Return jobs of any state whose log has more lines than this."""
        return sorted(job_id for job_id, lines in self._state.logs.items() if len(lines) > num_lines)[:limit]

    def _list_ended(self, before: datetime) -> list[Job]:
        ended = [
            (row.job.completed_at, row.job.id) for row in self._state.jobs.values() if row.job.status.is_final and row.job.completed_at
        ]
        return [self._state.jobs[job_id].job for at, job_id in sorted(ended) if at < before]

    def is_held(self, now: datetime) -> bool:
        """Return whether any hold lasts."""
        return any(until > now for until in self._state.holds.values())
