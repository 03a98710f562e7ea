"""What is kept of jobs that ended, and for how long. What a waiting, running or paused job needs is never touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from heimdall.domain.errors import NotFoundError
from heimdall.domain.events import EventType
from heimdall.domain.ports import Clock, Store, Transaction
from heimdall.services.disposal import checkpoint_folder
from heimdall.services.transitions import change_job

CHECKPOINT_EXPIRED: Final = "checkpoint_expired"
"""Reason in the event of a job whose checkpoint went; it tells this from a job that never had one."""
_BATCH: Final = 100


@dataclass(frozen=True)
class RetentionPolicy:
    """How long what is kept; 0 keeps it for ever."""

    checkpoint_days: float = 0.0
    log_days: float = 0.0
    log_lines: int = 0


@dataclass(frozen=True)
class RetentionReport:
    """What one sweep removed."""

    num_checkpoints: int = 0
    num_logs: int = 0
    num_log_lines: int = 0

    @property
    def is_quiet(self) -> bool:
        """True where there was nothing to do."""
        return not (self.num_checkpoints or self.num_logs or self.num_log_lines)


class Retention:
    """Removes what is older or longer than the policy says; several workers may sweep at the same time.

    Each job is one short transaction that looks again under the row's lock. Files are only buried here: they go as every
    deletion goes, after the commit and not while a backup holds them.
    """

    def __init__(self, *, store: Store, clock: Clock, policy: RetentionPolicy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    def sweep(self) -> RetentionReport:
        """Apply the policy once. UnavailableError."""
        now = self._clock.now()
        return RetentionReport(self._sweep_checkpoints(now), self._sweep_old_logs(now), self._sweep_long_logs())

    def _sweep_checkpoints(self, now: datetime) -> int:
        if not self._policy.checkpoint_days:
            return 0
        before = now - timedelta(days=self._policy.checkpoint_days)
        due = self._list(lambda tx: tx.upkeep.list_checkpoints_before(before, limit=_BATCH))
        return sum(self._expire_checkpoint(job_id, before, now) for job_id in due)

    def _expire_checkpoint(self, job_id: str, before: datetime, now: datetime) -> int:
        with suppress(NotFoundError), self._store.write() as tx:
            job = tx.jobs.get(job_id, lock=True)
            # Looked at again under the lock: another worker may have swept, or a person deleted.
            if job_id not in tx.upkeep.list_checkpoints_before(before, job_id=job_id):
                return 0
            change_job(tx, job, EventType.UPDATED, now=now, reason=CHECKPOINT_EXPIRED, checkpoint=None)
            tx.upkeep.bury(checkpoint_folder(job_id), now=now)
            return 1
        return 0

    def _sweep_old_logs(self, now: datetime) -> int:
        if not self._policy.log_days:
            return 0
        before = now - timedelta(days=self._policy.log_days)
        return sum(self._cut(job_id, 0) > 0 for job_id in self._list(lambda tx: tx.upkeep.list_logs_before(before, limit=_BATCH)))

    def _sweep_long_logs(self) -> int:
        longest = self._policy.log_lines
        if not longest:
            return 0
        return sum(self._cut(job_id, longest) for job_id in self._list(lambda tx: tx.upkeep.list_logs_beyond(longest, limit=_BATCH)))

    def _cut(self, job_id: str, num_kept: int) -> int:
        with self._store.write() as tx:
            return tx.logs.cut(job_id, num_kept=num_kept)

    def _list(self, ask: Callable[[Transaction], list[str]]) -> Iterator[str]:
        """Yield what is due, in batches; ends where a batch brings nothing new."""
        seen: set[str] = set()
        while True:
            with self._store.read() as tx:
                fresh = [job_id for job_id in ask(tx) if job_id not in seen]
            if not fresh:
                return
            seen.update(fresh)
            yield from fresh
