"""One large simulated data set made by whoever is free: its chunks lie among the artifacts as soon as they are made.

No chunk is ever waited for. Who is free takes a chunk that nobody has begun; where all are begun, one that is not there yet, because its
maker may be dead. Equal chunks have equal bytes, so work done twice costs time at the very end and changes nothing; no clock is compared.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from heimdall.services.disposal import incoming_folder

if TYPE_CHECKING:
    from heimdall.datasets.build import BuiltDataset
    from heimdall.datasets.simulation import Simulation
    from heimdall.datasets.storage import ExampleChunk
    from heimdall.domain.ports import ArtifactStore

_MAKING_SHARE: Final = 0.95
_KEY: Final = re.compile(r"/(\d{6})\.(npz|begun)$")


class JointBuild:
    """What one process does for a data set in chunks.

    Parameters
    ----------
    artifacts
        Where chunks lie, in the data set's incoming folder: removed with it when the data set is ready, failed or deleted.
    dataset_id
        The data set.
    simulation
        Makes the chunks.
    invite
        Called while there are chunks that nobody has begun: wakes another worker.
    check_in
        Called before a chunk is stored; it ends the build by raising where the data set is no longer wanted.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        dataset_id: str,
        simulation: Simulation,
        *,
        invite: Callable[[], None],
        check_in: Callable[[], None],
    ) -> None:
        self._artifacts = artifacts
        self._folder = f"{incoming_folder(dataset_id)}/chunks"
        self._simulation = simulation
        self._invite = invite
        self._check_in = check_in

    def run(self, scratch: Path, progress: Callable[[float], None]) -> BuiltDataset | None:
        """Make chunks until all are there, then the data set in ``scratch / "dataset"``, an existing folder.

        Returns
        -------
        BuiltDataset or None
            None where another process that made chunks, too, has begun to put them together. A process that finds all chunks made
            always does that itself: the one before it may have died.
        """
        from heimdall.datasets.build import write_simulation

        num_chunks = self._simulation.num_chunks
        has_made = is_mending = False
        while True:
            self._check_in()
            made, begun = self._look()
            if missing := [number for number in range(num_chunks) if number not in made]:
                self._make(missing, begun, scratch, progress)
                has_made = not is_mending
                continue
            if has_made and num_chunks in begun:
                return None
            self._mark_begun(num_chunks)
            try:
                return write_simulation(
                    self._simulation,
                    self._load(num_chunks),
                    scratch / "dataset",
                    lambda share: progress(_MAKING_SHARE + (1 - _MAKING_SHARE) * share),
                )
            except _DamagedChunkError as damaged:
                self._artifacts.delete(damaged.key)
                is_mending = True

    def _look(self) -> tuple[set[int], set[int]]:
        """Return the numbers of chunks that are made and of those begun; the number after the last stands for putting together."""
        found: dict[str, set[int]] = {"npz": set(), "begun": set()}
        for key in self._artifacts.find(self._folder):
            if match := _KEY.search(key):
                found[match[2]].add(int(match[1]))
        return found["npz"], found["begun"]

    def _make(self, missing: list[int], begun: set[int], scratch: Path, progress: Callable[[float], None]) -> None:
        from heimdall.datasets.simulation import save_chunk

        fresh = [number for number in missing if number not in begun]
        number = fresh[0] if fresh else secrets.choice(missing)
        if fresh:
            self._mark_begun(number)
        if len(fresh) > 1:
            self._invite()
        path, num_chunks = scratch / f"{number:06d}.npz", self._simulation.num_chunks
        chunk = self._simulation.make(number, lambda share: progress(_MAKING_SHARE * (1 - (len(missing) - share) / num_chunks)))
        save_chunk(chunk, path)
        self._check_in()
        self._artifacts.put(self._key(number), path)

    def _mark_begun(self, number: int) -> None:
        with self._artifacts.write(f"{self._folder}/{number:06d}.begun"):
            pass

    def _load(self, num_chunks: int) -> Iterator[ExampleChunk]:
        from heimdall.datasets.simulation import load_chunk

        for number in range(num_chunks):
            self._check_in()
            with self._artifacts.local(self._key(number)) as path:
                chunk = load_chunk(path)
            if chunk is None:
                raise _DamagedChunkError(self._key(number))
            yield chunk

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:06d}.npz"


class _DamagedChunkError(Exception):
    """A stored chunk cannot be read: it is made again."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key
