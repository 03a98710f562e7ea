"""What a child prints becomes lines of its job's log, a few writes a second however much it prints."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from heimdall.domain.errors import UnavailableError

_FLUSH_S: Final = 0.25
_MAX_LINES_A_FLUSH: Final = 1000
_MAX_WAITING: Final = 20_000
_MAX_LINE: Final = 4000
_NUM_TAIL: Final = 60


class OutputLog:
    """Cuts bytes into lines and hands them to ``append`` in batches. For one thread.

    Parameters
    ----------
    append
        Stores lines; may raise UnavailableError, then they are tried again at the next flush.
    """

    def __init__(self, append: Callable[[Sequence[str]], None], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._append = append
        self._monotonic = monotonic
        self._rest = b""
        self._waiting: deque[str] = deque()
        self._num_dropped = 0
        self._flushed_at = monotonic() - _FLUSH_S
        self.tail: deque[str] = deque(maxlen=_NUM_TAIL)

    def feed(self, chunk: bytes) -> None:
        """Take what was read from the child; a carriage return ends a line, as progress bars use it."""
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > _MAX_LINE:
            lines.append(self._rest[:_MAX_LINE])
            self._rest = b""
        for line in lines:
            self.say(line[:_MAX_LINE].decode(errors="replace").rstrip())

    def say(self, line: str) -> None:
        """Take one line."""
        if not line:
            return
        self.tail.append(line)
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append(line)
        else:
            self._num_dropped += 1

    def flush_if_due(self) -> None:
        """Store what waits, at most four times a second."""
        now = self._monotonic()
        if now - self._flushed_at >= _FLUSH_S and (self._waiting or self._num_dropped):
            self._flushed_at = now
            self._flush_batch()

    def close(self) -> None:
        """Store everything, the unfinished last line too, as far as the store answers."""
        self.say(self._rest[:_MAX_LINE].decode(errors="replace").rstrip())
        self._rest = b""
        while (self._waiting or self._num_dropped) and self._flush_batch():
            pass

    def _flush_batch(self) -> bool:
        batch = [self._waiting[index] for index in range(min(len(self._waiting), _MAX_LINES_A_FLUSH))]
        num_lines = len(batch)
        is_last = num_lines == len(self._waiting)
        if is_last and self._num_dropped:
            batch.append(f"… {self._num_dropped} lines were left out: the process printed faster than they could be stored.")
        try:
            self._append(batch)
        except UnavailableError:
            return False
        for _ in range(num_lines):
            self._waiting.popleft()
        if is_last:
            self._num_dropped = 0
        return True
