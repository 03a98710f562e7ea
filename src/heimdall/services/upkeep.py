"""What a worker does for the artifacts beside its jobs, in small steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from heimdall.domain.ports import ArtifactStore, Clock, Store
from heimdall.services.disposal import Disposal
from heimdall.services.fsck import Fsck
from heimdall.services.retention import Retention

STALE_S: Final = 60.0
HOURLY_S: Final = 3600.0

logger = logging.getLogger(__name__)


class Upkeep:
    """One per worker, for one thread; several workers may do the same at the same time."""

    def __init__(
        self,
        *,
        store: Store,
        artifacts: ArtifactStore,
        clock: Clock,
        retention: Retention,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifacts = artifacts
        self._disposal = Disposal(store=store, artifacts=artifacts, clock=clock)
        self._fsck = Fsck(store=store, artifacts=artifacts, clock=clock)
        self._retention = retention
        self._monotonic = monotonic
        self._looked_at: float | None = None

    def tidy(self) -> None:
        """Remove what dead processes left unfinished and what was deleted.

        At first and then once an hour also what retention ends, and files that no row owns.
        """
        self._artifacts.sweep_stale(older_than_s=STALE_S)
        if self._looked_at is None or self._monotonic() - self._looked_at >= HOURLY_S:
            self._tidy_hourly()
        self._disposal.collect()

    def _tidy_hourly(self) -> None:
        report = self._retention.sweep()
        if not report.is_quiet:
            logger.info("retention_swept", extra=asdict(report))
        self._looked_at = self._monotonic()
        for finding in list(self._fsck.find_orphans()):
            if finding.repair is not None and finding.repair():
                logger.warning("orphan_files_removed", extra={"key": finding.subject})
