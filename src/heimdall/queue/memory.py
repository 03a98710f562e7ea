"""The JobQueue port in memory, for tests and for trying things out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from heimdall.domain.errors import UnavailableError


@dataclass
class MemoryQueue:
    """Keeps what was sent; ``is_away`` makes it a broker that does not answer."""

    is_away: bool = False
    jobs: deque[tuple[str, bool]] = field(default_factory=deque)
    datasets: deque[str] = field(default_factory=deque)

    def enqueue_job(self, job_id: str, *, needs_gpu: bool) -> None:
        """Remember the message. UnavailableError where ``is_away``."""
        self.ping()
        self.jobs.append((job_id, needs_gpu))

    def enqueue_dataset(self, dataset_id: str) -> None:
        """Remember the message. UnavailableError where ``is_away``."""
        self.ping()
        self.datasets.append(dataset_id)

    def ping(self) -> None:
        """Raise UnavailableError where ``is_away``."""
        if self.is_away:
            raise UnavailableError("The message broker does not answer. Start it or check its URL.")

    def prepare(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to give back."""
