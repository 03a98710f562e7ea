"""The port that knows the workers of this machine."""

from __future__ import annotations

from typing import Protocol


class WorkerRegistry(Protocol):
    """Knows which workers of this machine are gone, without waiting for their leases to run out."""

    def enter(self, worker_id: str) -> None:
        """Sign in; the entry counts as living until this process ends, however it ends."""

    def is_gone(self, worker_id: str) -> bool:
        """Return True only where the worker's process has certainly ended. False for living ones and for other machines' workers."""

    def close(self) -> None:
        """Sign out."""
