"""What the server says about itself: one log line per request that acts, and the numbers of ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import psutil
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from heimdall.api.tail import EventTail
    from heimdall.services.jobs import JobService

log = structlog.get_logger()

_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_KNOWN_METHODS: Final = _SAFE_METHODS | {"POST", "PATCH", "DELETE", "PUT"}


class Measurements:
    """The counters of one application. Counts of jobs are read from the database when asked for, never kept."""

    def __init__(self, jobs: JobService, tail: EventTail) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter("heimdall_requests", "HTTP requests.", ["method", "route", "status"], registry=self.registry)
        self.latency = Histogram(
            "heimdall_request_seconds",
            "s from the request's head to the end of its answer.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(_StateCollector(jobs, tail))

    def write(self) -> bytes:
        """Return all numbers as Prometheus text. Blocking: it asks the database."""
        return generate_latest(self.registry)


class _StateCollector(Collector):
    """Reads the present state when Prometheus asks."""

    def __init__(self, jobs: JobService, tail: EventTail) -> None:
        self._jobs = jobs
        self._tail = tail
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        by_status = GaugeMetricFamily("heimdall_jobs", "Jobs by status.", labels=["status"])
        for status, count in self._jobs.count_by_status().items():
            by_status.add_metric([status.value], count)
        yield by_status
        tail = self._tail
        yield GaugeMetricFamily("heimdall_socket_clients", "Sockets open now.", tail.num_clients)
        yield GaugeMetricFamily("heimdall_event_position", "Newest event that the sockets were given.", tail.position)
        yield GaugeMetricFamily("heimdall_event_lag_seconds", "s between the newest event's commit and its fan-out.", tail.lag_s)
        yield GaugeMetricFamily("heimdall_socket_frames_sent", "Frames handed to sockets since the start.", tail.num_sent)
        yield GaugeMetricFamily("heimdall_socket_clients_dropped", "Sockets closed for being too slow since the start.", tail.num_dropped)
        memory = self._process.memory_info()
        yield GaugeMetricFamily("heimdall_process_resident_bytes", "Memory of the server's process.", memory.rss)
        yield GaugeMetricFamily("heimdall_process_threads", "Threads of the server's process.", self._process.num_threads())


class Observation:
    """Pure ASGI middleware: counts and times every request, and logs those that act. Never logs a query, a header or a body."""

    def __init__(self, app: ASGIApp, measurements: Measurements, *, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._measurements = measurements
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = self._monotonic()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            self._note(scope, status, self._monotonic() - started_at)

    def _note(self, scope: Scope, status: int, elapsed_s: float) -> None:
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
        route = scope.get("route")
        name = getattr(route, "path", None) or ("page" if status < 400 else "none")
        self._measurements.requests.labels(method, name, str(status)).inc()
        self._measurements.latency.labels(name).observe(elapsed_s)
        say = log.warning if status >= 500 else log.debug if method in _SAFE_METHODS else log.info
        say("request_served", method=method, path=scope["path"][:200], status=status, ms=round(elapsed_s * 1000, 1))
