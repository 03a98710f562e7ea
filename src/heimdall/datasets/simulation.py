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
from heimdall.datasets.importers.sources import SourceFile
from heimdall.datasets.limits import describe_assumptions, limit_of
from heimdall.datasets.manifest import CAPTURE_FEATURES, RECEIVER_FEATURES, IqFormat, pick_features
from heimdall.datasets.simulator import describe_loss, make_simulator
from heimdall.datasets.storage import DatasetWriter, ExampleChunk
from heimdall.datasets.voice_files import read_voice
from heimdall.domain.datasets import DatasetKind, SyntheticDatasetConfig
from heimdall.rf.captured import CaptureGenerator
from heimdall.rf.spectra import SPECTRA
from heimdall.rf.synthetic import BLOCK_EXAMPLES, SyntheticBlock

SYNTHETIC_CELL_M: Final = 5000.0
"""m; a network must place transmitters between the places it was trained on."""

SYNTHETIC_ACCURACY_RADIUS_M: Final = 1000.0
"""m; what a synchronized narrowband network can honestly promise."""

SYNTHETIC_SOURCE: Final = "Simulated by Heimdall (path loss, shadowing, exact delays, clock error); no licence needed"
CAPTURE_SOURCE: Final = "Simulated by Heimdall as IQ captures and measured from these; no licence needed"

CHUNK_BLOCKS: Final = {"log-distance": 32, "terrain": 1}
"""Blocks of a chunk, by propagation: a few seconds of work, so that a kill costs no more; no byte of the data set depends on them."""

CAPTURE_CHUNK_EXAMPLES: Final = 128
_CAPTURE_CHUNK_SAMPLES: Final = 1 << 19
"""Of one receiver, in a chunk of captures: long captures come in smaller chunks."""

_REVISION: Final = 3
"""Of what a config and a seed give. Raise it where they give other bytes: a build begun before an upgrade then makes its chunks again."""
_REVISION_NAME: Final = "revision"


class Simulation:
    """The making of one simulated data set.

    Parameters
    ----------
    config
        What to simulate.
    terrain_folder
        The user's heights, for a config that asks for them.
    voice
        The user's audio files, for a config that sends voice. They are read here and not needed afterwards.

    Raises
    ------
    InvalidInputError
        Where it asks for terrain and there is none, or the voice cannot be used.
    """

    def __init__(self, config: SyntheticDatasetConfig, terrain_folder: Path | None, voice: list[SourceFile] | None = None) -> None:
        self._config = config
        self._num_voices = len(voice or [])
        audio = read_voice(voice, config.capture_rate_hz) if voice else None
        self._generator = make_simulator(config, terrain_folder)
        self._captures = CaptureGenerator(config, self._generator.network, audio) if config.signal == "captures" else None
        self._chunk_examples = CHUNK_BLOCKS[config.propagation] * BLOCK_EXAMPLES
        if self._captures:
            self._chunk_examples = max(8, min(CAPTURE_CHUNK_EXAMPLES, _CAPTURE_CHUNK_SAMPLES // config.capture_samples))
        self._last_block: tuple[int, SyntheticBlock] | None = None
        self.num_chunks = -(-config.num_examples // self._chunk_examples)

    @property
    def source(self) -> str:
        """What is said of where the data come from."""
        voice = f"; voice of {self._num_voices} file{'s' if self._num_voices > 1 else ''} of your own" if self._num_voices else ""
        return f"{CAPTURE_SOURCE if self._captures else SYNTHETIC_SOURCE}{describe_loss(self._generator)}{voice}"

    def make(self, number: int, progress: Callable[[float], None]) -> ExampleChunk:
        """Simulate chunk ``number``; ``progress`` is told the share of it that is done.

        Raises
        ------
        InvalidInputError
            Where hardly any place is heard by enough receivers.
        """
        start = number * self._chunk_examples
        stop = min(start + self._chunk_examples, self._config.num_examples)
        parts, done = [], start
        while done < stop:
            block_number = done // BLOCK_EXAMPLES
            first = block_number * BLOCK_EXAMPLES
            # Captures are slow: a chunk of them may end anywhere, and says how far it is.
            end = min(stop, first + BLOCK_EXAMPLES, done + 16 if self._captures else stop)
            parts.append(self._make_rows(self._block(block_number), first, range(done - first, end - first)))
            done = end
            progress((done - start) / (stop - start))
        return ExampleChunk(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _block(self, number: int) -> SyntheticBlock:
        if self._last_block is None or self._last_block[0] != number:
            self._last_block = number, self._generator.block(number)
        return self._last_block[1]

    def write(self, chunks: Iterable[ExampleChunk], directory: Path, progress: Callable[[float], None]) -> None:
        """Write all chunks, in the order of their numbers, as a data set into an existing, empty folder."""
        network = self._generator.network
        features = pick_features(*_FEATURES["captures" if self._captures else "features"], *RECEIVER_FEATURES)
        config = self._config
        kept = IqFormat(sample_rate_hz=config.capture_rate_hz, bandwidth_hz=_bandwidth_hz(config)) if config.keep_iq else None
        groups, bounds, done = [], [], 0
        with DatasetWriter(
            directory,
            num_tokens=len(network.receivers),
            receivers=network.receivers,
            features=features,
            has_bounds=True,
            iq=kept,
            num_samples=config.capture_samples if kept else 0,
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

    def _make_rows(self, block: SyntheticBlock, first: int, rows: range) -> dict[str, np.ndarray[Any, Any]]:
        chosen = slice(rows.start, rows.stop)
        shape, network = block.heard[chosen].shape, self._generator.network
        site = np.broadcast_to(network.position_m, (*shape, 3))
        columns, iq = self._measure(block, first, rows)
        columns += [np.full(shape, self._config.clock_sigma_ns * 1e-3), *(np.moveaxis(site, -1, 0) / 1e3)]
        made = {
            "features": np.stack(columns, axis=-1).astype(np.float32),
            "mask": np.ones(shape, bool),
            "receiver_index": np.broadcast_to(np.arange(shape[1], dtype=np.int16), shape),
            "target": block.transmitter_m[chosen, :2],
            "target_up": block.transmitter_m[chosen, 2],
            "group": self._cells_of(block)[chosen],
            "time": np.zeros(shape[0]),
            "receiver_enu": site.astype(np.float32),
            # The limit of the whole is taken before the writer rounds.
            "bound_sigma_m": block.bound_sigma_m[chosen],
        }
        return made if iq is None else made | {"iq": iq}

    def _measure(self, block: SyntheticBlock, first: int, rows: range) -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any] | None]:
        """Return what receivers measured, in the order of ``_FEATURES``, and samples where they are kept."""
        if self._captures is None:
            chosen = slice(rows.start, rows.stop)
            heard = block.heard[chosen]
            strengths = (np.where(heard, values[chosen], 0.0) for values in (block.rssi_dbm, block.snr_db))
            return [heard, *strengths, block.toa_offset_us[chosen]], None
        found = self._captures.measure(block, first, rows)
        return found.features, found.iq

    def _cells_of(self, block: SyntheticBlock) -> np.ndarray[Any, np.dtype[np.int32]]:
        south_west, north_east = self._generator.region_m
        cells_north = int(np.ceil((north_east[1] - south_west[1]) / SYNTHETIC_CELL_M))
        east, north = np.floor((block.transmitter_m[:, :2] - south_west) / SYNTHETIC_CELL_M).T
        return np.asarray(east * cells_north + north, np.int32)


_FEATURES: Final = {
    "features": ("heard", "rssi_dbm", "snr_db", "toa_offset_us"),
    "captures": CAPTURE_FEATURES,
}


def _bandwidth_hz(config: SyntheticDatasetConfig) -> float:
    return SPECTRA[config.waveform].noise_bandwidth_hz if config.waveform else 0.0


def save_chunk(chunk: ExampleChunk, path: Path) -> None:
    """Write a chunk as a file of its own, ``.npz``."""
    values = {name: values for name, values in vars(chunk).items() if values is not None}
    np.savez(path, allow_pickle=False, **values, **{_REVISION_NAME: np.int64(_REVISION)})


def load_chunk(path: Path) -> ExampleChunk | None:
    """Read what :func:`save_chunk` wrote, or None where the file is damaged or of another revision."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        return ExampleChunk(**values) if values.pop(_REVISION_NAME, None) == _REVISION else None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None
