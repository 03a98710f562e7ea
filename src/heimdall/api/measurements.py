"""The numbers of ``/metrics``. What the database knows is read from it when asked for, never counted along: a restart loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heimdall.domain.errors import HeimdallError

if TYPE_CHECKING:
    from heimdall.api.tail import EventTail
    from heimdall.services.disk import DiskGuard
    from heimdall.services.operations import OperationsService

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_IMPORT_BUCKETS_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Measurements:
    """The counters of one application.

    Parameters
    ----------
    operations
        Reads the present state of the jobs.
    tail
        Knows the sockets.
    disk
        Knows the size of the data folder.
    """

    def __init__(self, operations: OperationsService, tail: EventTail, disk: DiskGuard) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter("heimdall_requests", "HTTP requests.", ["method", "route", "status"], registry=self.registry)
        self.latency = Histogram(
            "heimdall_request_seconds",
            "s from the request's head to the end of its answer.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.import_verdicts = Counter(
            "heimdall_import_verdicts",
            "Imports of bundles by what became of them: verified, unverified, known, or the code of the check that refused.",
            ["verdict"],
            registry=self.registry,
        )
        self.import_seconds = Histogram(
            "heimdall_import_seconds",
            "s from the whole bundle being here to its verdict.",
            buckets=_IMPORT_BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(_JobsCollector(operations))
        self.registry.register(_SocketsCollector(tail))
        self.registry.register(_DiskCollector(disk))
        self.registry.register(_ProcessCollector())
        self._turn = threading.Lock()

    def write(self) -> bytes:
        """Return all numbers as Prometheus text. Blocking: it asks the database, for one reader at a time."""
        with self._turn:
            return generate_latest(self.registry)


class _JobsCollector(Collector):
    """Reads the jobs; without a database it says so instead of leaving the whole page unanswered."""

    def __init__(self, operations: OperationsService) -> None:
        self._operations = operations

    def collect(self) -> Iterator[Metric]:
        try:
            seen = self._operations.look()
        except HeimdallError:
            yield GaugeMetricFamily("heimdall_database_up", "1 while the database answers.", 0)
            return
        yield GaugeMetricFamily("heimdall_database_up", "1 while the database answers.", 1)
        by_status = GaugeMetricFamily("heimdall_jobs", "Jobs by status.", labels=["status"])
        for status, count in seen.count_by_status.items():
            by_status.add_metric([status.value], count)
        yield by_status
        yield GaugeMetricFamily("heimdall_queue_depth", "Jobs that wait for a worker.", seen.queue_depth)
        yield GaugeMetricFamily("heimdall_queue_oldest_seconds", "s that the job that waits longest has waited.", seen.oldest_wait_s)
        yield GaugeMetricFamily("heimdall_lease_age_seconds", "s since the stalest heartbeat of a running job.", seen.lease_age_s)
        yield GaugeMetricFamily("heimdall_leases_expired", "Running jobs whose lease ran out.", seen.num_expired)
        dispatch = GaugeMetricFamily(
            "heimdall_dispatch_seconds",
            "s from a job's creation to its first start, over the newest hundred that started.",
            labels=["quantile"],
        )
        for quantile, seconds in seen.dispatch_s.items():
            dispatch.add_metric([quantile], seconds)
        yield dispatch
        yield GaugeMetricFamily(
            "heimdall_checkpoint_seconds", "s that the slowest of the running jobs' newest checkpoints took.", seen.checkpoint_s
        )
        yield GaugeMetricFamily(
            "heimdall_checkpoint_age_seconds", "s since the oldest of the running jobs' newest checkpoints.", seen.checkpoint_age_s
        )


class _SocketsCollector(Collector):
    def __init__(self, tail: EventTail) -> None:
        self._tail = tail

    def collect(self) -> Iterator[Metric]:
        tail = self._tail
        yield GaugeMetricFamily("heimdall_socket_clients", "Sockets open now.", tail.num_clients)
        yield GaugeMetricFamily("heimdall_event_position", "Newest event that the sockets were given.", tail.position)
        yield GaugeMetricFamily("heimdall_event_lag_seconds", "s between the newest event's commit and its fan-out.", tail.lag_s)
        yield CounterMetricFamily("heimdall_socket_frames_sent", "Frames handed to sockets since the start.", tail.num_sent)
        yield CounterMetricFamily("heimdall_socket_clients_dropped", "Sockets closed for being too slow since the start.", tail.num_dropped)


class _DiskCollector(Collector):
    def __init__(self, disk: DiskGuard) -> None:
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        try:
            seen = self._disk.look()
        except HeimdallError:
            return
        yield GaugeMetricFamily("heimdall_disk_free_bytes", "Bytes free on the data folder's disk.", seen.free_bytes)
        yield GaugeMetricFamily("heimdall_disk_warning", "1 while the disk or the quota is nearly full.", int(seen.warning is not None))
        if seen.used_bytes is not None:
            yield GaugeMetricFamily("heimdall_disk_used_bytes", "Bytes that the data folder holds.", seen.used_bytes)
            yield GaugeMetricFamily("heimdall_disk_quota_bytes", "Bytes that it may hold before new work is refused.", seen.quota_bytes)


class _ProcessCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        # Loaded with the first look: a server that nobody looks at needs it not at all.
        from psutil import Process

        process = Process()
        memory = process.memory_info()
        yield GaugeMetricFamily("heimdall_process_resident_bytes", "Memory of the server's process.", memory.rss)
        yield GaugeMetricFamily("heimdall_process_threads", "Threads of the server's process.", process.num_threads())
