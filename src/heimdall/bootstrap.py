"""Wires ports to adapters: the one place that knows both. Needs no torch and starts nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from heimdall.queue.celery_queue import CeleryQueue
from heimdall.queue.names import EMBEDDED_FOLDER
from heimdall.services.attempts import AttemptService
from heimdall.services.audit import AuditService
from heimdall.services.datasets import DatasetService
from heimdall.services.disk import DiskGuard, make_policy
from heimdall.services.jobs import JobService, JobSettings
from heimdall.services.metrics import MetricService
from heimdall.services.models import ModelService
from heimdall.services.operations import OperationsService
from heimdall.services.sweeper import Sweeper
from heimdall.storage.artifacts import open_artifacts
from heimdall.storage.database import SqlStore
from heimdall.storage.health import free_bytes, used_bytes
from heimdall.storage.live import open_live_channel
from heimdall.storage.presence import FolderRegistry
from heimdall.verification.sandbox import SandboxVerifier

if TYPE_CHECKING:
    from celery import Celery

    from heimdall.domain.backups import RowArchive
    from heimdall.domain.ports import ArtifactStore, Clock, JobQueue, LiveChannel, ModelVerifier, Store
    from heimdall.domain.workers import WorkerRegistry
    from heimdall.services.backups import BackupService
    from heimdall.services.bundles import BundleService
    from heimdall.services.restores import RestoreService
    from heimdall.services.retention import Retention
    from heimdall.settings import Settings


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """Return the present instant."""
        return datetime.now(UTC)


def make_queue_application(settings: Settings) -> Celery:
    """Return the sender's Celery application; Celery's import waits for the first message."""
    from heimdall.queue.celery_app import make_celery

    return make_celery(settings.broker_url, settings.data_dir, prefix=settings.queue_prefix)


def has_cuda() -> bool:
    """Say whether this machine shows an NVIDIA device, without importing torch."""
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists() or shutil.which("nvidia-smi") is not None


@dataclass(frozen=True)
class Container:
    """Every service of one process, wired."""

    settings: Settings
    clock: Clock
    store: Store
    artifacts: ArtifactStore
    queue: JobQueue
    live: LiveChannel
    verifier: ModelVerifier
    registry: WorkerRegistry
    jobs: JobService
    attempts: AttemptService
    sweeper: Sweeper
    metrics: MetricService
    datasets: DatasetService
    models: ModelService
    audit: AuditService
    operations: OperationsService
    disk: DiskGuard

    @cached_property
    def bundles(self) -> BundleService:
        """Bundles. What they are made of is loaded with the first look: a server needs it not to start."""
        from heimdall.services.bundles import BundleService

        return BundleService(
            store=self.store,
            artifacts=self.artifacts,
            verifier=self.verifier,
            clock=self.clock,
            max_bytes=self.settings.max_upload_mb * 1_000_000,
        )

    def close(self) -> None:
        """Give back what the process holds."""
        self.queue.close()
        self.live.close()
        self.artifacts.close()
        self.registry.close()
        self.store.close()


def build_container(settings: Settings) -> Container:
    """Wire every service for this process. Connections are opened on first use.

    Parameters
    ----------
    settings
        Checked settings; the data folder is made if it is not there.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    clock = SystemClock()
    store = SqlStore(settings.resolved_database_url, busy_timeout_s=settings.busy_timeout_s)
    artifacts = open_artifacts(settings.resolved_artifacts_url, cache_dir=settings.data_dir / "artifact-cache")
    live = open_live_channel(settings.resolved_database_url, settings.data_dir)
    queue = CeleryQueue(
        lambda: make_queue_application(settings),
        embedded_folder=settings.data_dir / EMBEDDED_FOLDER if settings.broker_url is None else None,
    )
    verifier = SandboxVerifier(memory_mb=settings.verify_memory_mb, timeout_s=settings.verify_timeout_s)
    registry = FolderRegistry(settings.data_dir / "workers")
    disk = make_disk_guard(settings)
    job_settings = JobSettings(
        max_attempts=settings.max_attempts,
        enqueue_doubt_s=settings.enqueue_doubt_s,
        lease_s=settings.lease_s,
        has_cuda=has_cuda,
        admit=disk.admit,
    )
    return Container(
        settings=settings,
        clock=clock,
        store=store,
        artifacts=artifacts,
        queue=queue,
        live=live,
        verifier=verifier,
        registry=registry,
        jobs=JobService(store=store, queue=queue, artifacts=artifacts, clock=clock, settings=job_settings),
        attempts=AttemptService(store=store, artifacts=artifacts, clock=clock, settings=job_settings),
        sweeper=Sweeper(store=store, queue=queue, clock=clock, settings=job_settings, registry=registry),
        metrics=MetricService(store=store),
        datasets=DatasetService(store=store, queue=queue, artifacts=artifacts, clock=clock, terrain_folder=settings.terrain_folder),
        models=ModelService(store=store, artifacts=artifacts, clock=clock),
        audit=AuditService(store=store),
        operations=OperationsService(store=store, clock=clock),
        disk=disk,
    )


def make_disk_guard(settings: Settings) -> DiskGuard:
    """Wire what watches the data folder's size."""
    return DiskGuard(
        measure_free=lambda: free_bytes(settings.data_dir),
        measure_used=lambda: used_bytes(settings.data_dir),
        policy=make_policy(
            quota_mb=settings.disk_quota_mb, warn_percent=settings.disk_warn_percent, warn_free_mb=settings.disk_warn_free_mb
        ),
    )


def make_retention(container: Container) -> Retention:
    """Wire what ends the time of old checkpoints and logs."""
    from heimdall.services.retention import Retention, RetentionPolicy

    settings = container.settings
    policy = RetentionPolicy(
        checkpoint_days=settings.keep_checkpoints_days, log_days=settings.keep_logs_days, log_lines=settings.keep_log_lines
    )
    return Retention(store=container.store, clock=container.clock, policy=policy)


def make_backups(container: Container) -> BackupService:
    """Wire what writes backups; needed by one command only."""
    from heimdall.services.backups import BackupService

    return BackupService(store=container.store, archive=_open_archive(container), artifacts=container.artifacts, clock=container.clock)


def make_restores(container: Container) -> RestoreService:
    """Wire what restores backups; needed by one command only."""
    from heimdall.services.restores import RestoreService

    return RestoreService(archive=_open_archive(container), artifacts=container.artifacts, clock=container.clock)


def _open_archive(container: Container) -> RowArchive:
    from heimdall.storage.archive import SqlArchive

    assert isinstance(container.store, SqlStore)
    return SqlArchive(container.store)
