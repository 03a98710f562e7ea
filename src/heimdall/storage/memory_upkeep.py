"""Tombstones and holds of the in-memory store."""

from __future__ import annotations

from datetime import datetime

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

    def is_held(self, now: datetime) -> bool:
        """Return whether any hold lasts."""
        return any(until > now for until in self._state.holds.values())
