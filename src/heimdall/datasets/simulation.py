"""The examples of a simulated data set in chunks that depend on nothing but the config and their number.

A large set is made chunk by chunk, by any number of processes, in any order; a small one is a single chunk.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from heimdall.datasets.grouping import describe_split
from heimdall.datasets.limits import describe_assumptions, limit_of
from heimdall.datasets.manifest import pick_features
from heimdall.datasets.simulator import describe_loss, make_simulator
from heimdall.datasets.storage import DatasetWriter, ExampleChunk
from heimdall.domain.datasets import DatasetKind, SyntheticDatasetConfig
from heimdall.rf.synthetic import BLOCK_EXAMPLES, SyntheticBlock

SYNTHETIC_CELL_M: Final = 5000.0
"""m; a network must place transmitters between the places it was trained on."""

SYNTHETIC_ACCURACY_RADIUS_M: Final = 1000.0
"""m; what a synchronized narrowband network can honestly promise."""

SYNTHETIC_SOURCE: Final = "Simulated by Heimdall (path loss, shadowing, exact delays, clock error); no licence needed"

CHUNK_BLOCKS: Final = {"log-distance": 32, "terrain": 1}
"""Blocks of a chunk, by propagation: a few seconds of work, so that a kill costs no more; no byte of the data set depends on them."""


class Simulation:
    """The making of one simulated data set.

    Parameters
    ----------
    config
        What to simulate.
    terrain_folder
        The user's heights, for a config that asks for them.

    Raises
    ------
    InvalidInputError
        Where it asks for terrain and there is none.
    """

    def __init__(self, config: SyntheticDatasetConfig, terrain_folder: Path | None) -> None:
        self._config = config
        self._generator = make_simulator(config, terrain_folder)
        self._chunk_blocks = CHUNK_BLOCKS[config.propagation]
        self._num_blocks = -(-config.num_examples // BLOCK_EXAMPLES)
        self.num_chunks = -(-self._num_blocks // self._chunk_blocks)

    @property
    def source(self) -> str:
        """What is said of where the data come from."""
        return f"{SYNTHETIC_SOURCE}{describe_loss(self._generator)}"

    def make(self, number: int, progress: Callable[[float], None]) -> ExampleChunk:
        """Simulate chunk ``number``; ``progress`` is told the share of it that is done.

        Raises
        ------
        InvalidInputError
            Where hardly any place is heard by enough receivers.
        """
        numbers = range(number * self._chunk_blocks, min((number + 1) * self._chunk_blocks, self._num_blocks))
        parts = []
        for done, block in enumerate(numbers, 1):
            parts.append(self._store_form(self._generator.block(block)))
            progress(done / len(numbers))
        return ExampleChunk(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def write(self, chunks: Iterable[ExampleChunk], directory: Path, progress: Callable[[float], None]) -> None:
        """Write all chunks, in the order of their numbers, as a data set into an existing, empty folder."""
        network = self._generator.network
        features = pick_features("heard", "rssi_dbm", "snr_db", "toa_offset_us", "clock_sigma_us", "rx_east_km", "rx_north_km", "rx_up_km")
        groups, bounds, done = [], [], 0
        with DatasetWriter(
            directory, num_tokens=len(network.receivers), receivers=network.receivers, features=features, has_bounds=True
        ) as writer:
            for chunk in chunks:
                writer.append(chunk)
                groups.append(chunk.group)
                bounds.append(np.asarray(chunk.bound_sigma_m, np.float64))
                done += len(chunk.group)
                progress(done / self._config.num_examples)
            writer.finish(
                kind=DatasetKind.SYNTHETIC,
                frame=network.frame,
                split=describe_split("cell", np.concatenate(groups), seed=0, cell_m=SYNTHETIC_CELL_M),
                groups=("cell",),
                accuracy_radius_m=SYNTHETIC_ACCURACY_RADIUS_M,
                physical_limit=limit_of(np.concatenate(bounds), describe_assumptions(self._config)),
            )

    def _store_form(self, block: SyntheticBlock) -> dict[str, np.ndarray[Any, Any]]:
        shape, network = block.heard.shape, self._generator.network
        site = np.broadcast_to(network.position_m, (*shape, 3))
        columns = [
            block.heard,
            np.where(block.heard, block.rssi_dbm, 0.0),
            np.where(block.heard, block.snr_db, 0.0),
            block.toa_offset_us,
            np.full(shape, self._config.clock_sigma_ns * 1e-3),
            *(np.moveaxis(site, -1, 0) / 1e3),
        ]
        return {
            "features": np.stack(columns, axis=-1).astype(np.float32),
            "mask": np.ones(shape, bool),
            "receiver_index": np.broadcast_to(np.arange(shape[1], dtype=np.int16), shape),
            "target": block.transmitter_m[:, :2],
            "target_up": block.transmitter_m[:, 2],
            "group": self._cells_of(block),
            "time": np.zeros(shape[0]),
            "receiver_enu": site.astype(np.float32),
            # The limit of the whole is taken before the writer rounds.
            "bound_sigma_m": block.bound_sigma_m,
        }

    def _cells_of(self, block: SyntheticBlock) -> np.ndarray[Any, np.dtype[np.int32]]:
        south_west, north_east = self._generator.region_m
        cells_north = int(np.ceil((north_east[1] - south_west[1]) / SYNTHETIC_CELL_M))
        east, north = np.floor((block.transmitter_m[:, :2] - south_west) / SYNTHETIC_CELL_M).T
        return np.asarray(east * cells_north + north, np.int32)


def save_chunk(chunk: ExampleChunk, path: Path) -> None:
    """Write a chunk as a file of its own, ``.npz``."""
    np.savez(path, allow_pickle=False, **{name: values for name, values in vars(chunk).items() if values is not None})


def load_chunk(path: Path) -> ExampleChunk | None:
    """Read what :func:`save_chunk` wrote, or None where the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return ExampleChunk(**{name: stored[name] for name in stored.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None
