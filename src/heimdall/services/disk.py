"""How full the data folder is: a warning in time, and no new work beyond the quota. What runs goes on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from heimdall.domain.errors import ConflictError, HeimdallError

MEASURE_EVERY_S: Final = 10.0
"""s that a measured size is believed: measuring walks through every file of the folder."""
_MB: Final = 1_000_000

logger = logging.getLogger(__name__)


class QuotaExceededError(ConflictError):
    """The data folder holds more than its quota; room must be made first."""

    code = "quota_exceeded"


@dataclass(frozen=True)
class DiskPolicy:
    """What the settings say; 0 turns each off."""

    quota_bytes: int = 0
    warn_share: float = 0.9
    warn_free_bytes: int = 0


@dataclass(frozen=True)
class DiskLook:
    """The folder at one moment. ``used_bytes`` is None where no quota asks for it."""

    free_bytes: int
    used_bytes: int | None
    quota_bytes: int
    warning: str | None = None
    is_over_quota: bool = False

    @property
    def advice(self) -> str | None:
        """The warning, what it already stops, and what to do; None while there is room."""
        return f"{self.warning} Nothing new is taken until there is room; what runs goes on." if self.is_over_quota else self.warning


class DiskGuard:
    """Measures at most every :data:`MEASURE_EVERY_S` and says a change once. Thread-safe.

    Parameters
    ----------
    measure_free, measure_used
        Bytes free on the data folder's disk, and bytes of the files in it.
    policy
        Quota and thresholds.
    """

    def __init__(
        self,
        *,
        measure_free: Callable[[], int],
        measure_used: Callable[[], int],
        policy: DiskPolicy,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure_free = measure_free
        self._measure_used = measure_used
        self._policy = policy
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._last: DiskLook | None = None
        self._looked_at = 0.0

    def look(self) -> DiskLook:
        """Return how full the folder is. UnavailableError where it cannot be read."""
        with self._turn:
            if self._last is None or self._monotonic() - self._looked_at >= MEASURE_EVERY_S:
                fresh = self._measure()
                self._say(before=self._last.warning if self._last else None, now=fresh.warning)
                self._last, self._looked_at = fresh, self._monotonic()
            return self._last

    def admit(self) -> None:
        """Refuse new work beyond the quota; a folder that cannot be read is another check's matter.

        Raises
        ------
        QuotaExceededError
            With what can be done.
        """
        if not self._policy.quota_bytes:
            return
        try:
            seen = self.look()
        except HeimdallError:
            return
        if seen.is_over_quota:
            raise QuotaExceededError(str(seen.advice))

    def _measure(self) -> DiskLook:
        policy, free_bytes = self._policy, self._measure_free()
        used_bytes = self._measure_used() if policy.quota_bytes else None
        warning, is_over = None, False
        if used_bytes is not None and used_bytes >= policy.quota_bytes * policy.warn_share:
            is_over = used_bytes >= policy.quota_bytes
            warning = (
                f"The data folder holds {_to_gb(used_bytes)} of its quota of {_to_gb(policy.quota_bytes)}. "
                "Delete jobs, models or data sets that are not needed, or raise HEIMDALL_DISK_QUOTA_MB."
            )
        elif free_bytes < policy.warn_free_bytes:
            warning = f"The disk of the data folder has only {_to_gb(free_bytes)} left. Make room before it is full."
        return DiskLook(free_bytes, used_bytes, policy.quota_bytes, warning, is_over)

    @staticmethod
    def _say(*, before: str | None, now: str | None) -> None:
        """Log when a warning comes and when it is over, not each time its figures change."""
        if now is not None and before is None:
            logger.warning("disk_nearly_full", extra={"reason": now})
        elif now is None and before is not None:
            logger.info("disk_has_room_again")


def make_policy(*, quota_mb: int, warn_percent: float, warn_free_mb: int) -> DiskPolicy:
    """Return the policy of the settings' numbers."""
    return DiskPolicy(quota_bytes=quota_mb * _MB, warn_share=warn_percent / 100, warn_free_bytes=warn_free_mb * _MB)


def _to_gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
