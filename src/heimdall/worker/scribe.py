"""Makes what the loop reports durable, in order, on a thread of its own: training waits for no disk and no database.

One transaction at a time. Epochs that were reported while it ran go into the next one together, so that a run of short epochs costs a
commit for some dozens of them and a run of long epochs has each on disk a few milliseconds after it ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from heimdall.domain.training import CheckpointFile, EpochReport

MAX_EPOCHS: Final = 64
"""In one transaction: more save little, and a transaction keeps others out."""
MAX_WAITING: Final = 4 * MAX_EPOCHS
"""Epochs that may wait before the loop does: what a database that is away may cost in memory, and a kill in epochs to train again."""

WriteCheckpoint = Callable[[], CheckpointFile]


class Scribe:
    """The thread and its queue. What fails there is raised to the loop at its next word, and nothing behind it is written.

    Parameters
    ----------
    record_epochs
        Makes consecutive epochs durable.
    store_checkpoint
        Writes a checkpoint's file and makes it durable.
    """

    def __init__(
        self, *, record_epochs: Callable[[Sequence[EpochReport]], None], store_checkpoint: Callable[[WriteCheckpoint], None]
    ) -> None:
        self._record_epochs = record_epochs
        self._store_checkpoint = store_checkpoint
        self._queue: deque[EpochReport | WriteCheckpoint] = deque()
        self._changed = threading.Condition()
        self._num_checkpoints = 0
        self.num_waits = 0
        """How often the loop had to wait for room."""
        self._is_closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
        self._thread.start()

    def put_epoch(self, report: EpochReport) -> None:
        """Have an epoch made durable; waits only where too many wait already. Raises what failed before."""
        self._put(report, lambda: len(self._queue) < MAX_WAITING)

    def put_checkpoint(self, write: WriteCheckpoint) -> None:
        """Have a checkpoint made durable; waits until the one before is: each holds a copy of the run. Raises what failed before."""
        self._put(write, lambda: self._num_checkpoints == 0)

    def check(self) -> None:
        """Raise what failed; costs the look at an attribute."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Wait until everything is durable and end the thread. Raises what failed."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self.check()

    def _put(self, item: EpochReport | WriteCheckpoint, has_room: Callable[[], bool]) -> None:
        with self._changed:
            if self._failure is None and not has_room():
                self.num_waits += 1
                self._changed.wait_for(lambda: self._failure is not None or has_room())
            self.check()
            self._queue.append(item)
            self._num_checkpoints += not isinstance(item, EpochReport)
            self._changed.notify_all()

    def _run(self) -> None:
        while (write := self._take()) is not None:
            try:
                write()
            except Exception as error:  # noqa: BLE001  (it is the training thread's to hear)
                with self._changed:
                    self._failure = error
                    self._queue.clear()
                    self._changed.notify_all()
                return

    def _take(self) -> Callable[[], None] | None:
        """Wait for the next checkpoint, or for the next epochs up to a checkpoint; return what writes them, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            if not self._queue:
                return None
            first = self._queue.popleft()
            if not isinstance(first, EpochReport):
                return partial(self._write_checkpoint, first)
            reports = [first]
            while self._queue and len(reports) < MAX_EPOCHS and isinstance(following := self._queue[0], EpochReport):
                reports.append(following)
                self._queue.popleft()
            self._changed.notify_all()
            return partial(self._record_epochs, reports)

    def _write_checkpoint(self, write: WriteCheckpoint) -> None:
        self._store_checkpoint(write)
        with self._changed:
            self._num_checkpoints -= 1
            self._changed.notify_all()
