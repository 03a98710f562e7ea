"""From a config to a stored data set: the one entry of the service into this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from heimdall.datasets.grouping import describe_split
from heimdall.datasets.importers.examples import ImportedExamples, write_examples
from heimdall.datasets.importers.locards import read_locards
from heimdall.datasets.importers.powder import read_powder
from heimdall.datasets.importers.rssi_table import read_rssi_csv, read_rssi_parquet
from heimdall.datasets.importers.sources import ImportLog, SourceFile
from heimdall.datasets.limits import describe_assumptions, limit_of
from heimdall.datasets.manifest import Manifest, pick_features
from heimdall.datasets.simulator import describe_loss, make_simulator
from heimdall.datasets.storage import DatasetWriter, ExampleChunk, read_manifest, size_of
from heimdall.domain.datasets import DatasetKind, ImportDatasetConfig, ImportReport, SyntheticDatasetConfig
from heimdall.rf.network import Network
from heimdall.rf.synthetic import SyntheticBlock

Progress = Callable[[float], None]
Reader = Callable[[list[SourceFile], ImportDatasetConfig, ImportLog, Progress], ImportedExamples]

SYNTHETIC_CELL_M: Final = 5000.0
"""m; a network must place transmitters between the places it was trained on."""

SYNTHETIC_ACCURACY_RADIUS_M: Final = 1000.0
"""m; what a synchronized narrowband network can honestly promise."""

SYNTHETIC_SOURCE: Final = "Simulated by Heimdall (path loss, shadowing, exact delays, clock error); no licence needed"

_READERS: Final[dict[str, Reader]] = {
    "powder": read_powder,
    "locards": read_locards,
    "rssi-csv": read_rssi_csv,
    "rssi-parquet": read_rssi_parquet,
}


@dataclass(frozen=True)
class BuiltDataset:
    """A complete folder and what is said of it."""

    manifest: Manifest
    content_hash: str
    size_bytes: int
    source: str
    report: ImportReport | None = None


def build_import(config: ImportDatasetConfig, files: list[SourceFile], directory: Path, progress: Progress) -> BuiltDataset:
    """Read source files into a folder.

    Parameters
    ----------
    config
        Which importer, and how to split.
    files
        The uploaded files, in the user's order.
    directory
        An existing, empty folder.
    progress
        Told the share done, 0 to 1.

    Raises
    ------
    InvalidInputError
        Where the files cannot be used; the folder is then no data set.
    """
    log = ImportLog()
    examples = _READERS[config.kind](files, config, log, lambda share: progress(0.8 * share))
    with DatasetWriter(directory, num_tokens=examples.num_tokens, receivers=examples.receivers, features=examples.features) as writer:
        write_examples(examples, config, writer, lambda share: progress(0.8 + 0.2 * share))
    return _describe(directory, examples.source, log.report())


def build_synthetic(
    config: SyntheticDatasetConfig, directory: Path, progress: Progress, *, terrain_folder: Path | None = None
) -> BuiltDataset:
    """Simulate a data set into a folder, block by block; parameters and errors as in :func:`build_import`.

    ``terrain_folder`` holds the user's heights, for a config that asks for them.
    """
    generator = make_simulator(config, terrain_folder)
    network = generator.network
    features = pick_features("heard", "rssi_dbm", "snr_db", "toa_offset_us", "clock_sigma_us", "rx_east_km", "rx_north_km", "rx_up_km")
    south_west, north_east = generator.region_m
    cells_north = int(np.ceil((north_east[1] - south_west[1]) / SYNTHETIC_CELL_M))
    groups, bounds = [], []
    with DatasetWriter(
        directory, num_tokens=len(network.receivers), receivers=network.receivers, features=features, has_bounds=True
    ) as writer:
        done = 0
        for block in generator.blocks():
            east, north = np.floor((block.transmitter_m[:, :2] - south_west) / SYNTHETIC_CELL_M).T
            chunk = _make_chunk(block, network, (east * cells_north + north).astype(np.int32), config.clock_sigma_ns * 1e-3)
            writer.append(chunk)
            groups.append(chunk.group)
            bounds.append(block.bound_sigma_m)
            done += len(chunk.group)
            progress(done / config.num_examples)
        writer.finish(
            kind=DatasetKind.SYNTHETIC,
            frame=network.frame,
            split=describe_split("cell", np.concatenate(groups), seed=0, cell_m=SYNTHETIC_CELL_M),
            groups=("cell",),
            accuracy_radius_m=SYNTHETIC_ACCURACY_RADIUS_M,
            physical_limit=limit_of(np.concatenate(bounds), describe_assumptions(config)),
        )
    return _describe(directory, f"{SYNTHETIC_SOURCE}{describe_loss(generator)}", None)


def _make_chunk(block: SyntheticBlock, network: Network, group: np.ndarray, clock_sigma_us: float) -> ExampleChunk:
    shape = block.heard.shape
    site = np.broadcast_to(network.position_m, (*shape, 3))
    columns = [
        block.heard,
        np.where(block.heard, block.rssi_dbm, 0.0),
        np.where(block.heard, block.snr_db, 0.0),
        block.toa_offset_us,
        np.full(shape, clock_sigma_us),
        *(np.moveaxis(site, -1, 0) / 1e3),
    ]
    return ExampleChunk(
        features=np.stack(columns, axis=-1).astype(np.float32),
        mask=np.ones(shape, bool),
        receiver_index=np.broadcast_to(np.arange(shape[1], dtype=np.int16), shape),
        target=block.transmitter_m[:, :2],
        target_up=block.transmitter_m[:, 2],
        group=group,
        time=np.zeros(shape[0]),
        receiver_enu=site.astype(np.float32),
        bound_sigma_m=block.bound_sigma_m.astype(np.float32),
    )


def _describe(directory: Path, source: str, report: ImportReport | None) -> BuiltDataset:
    manifest = read_manifest(directory)
    return BuiltDataset(manifest, manifest.content_hash(), size_of(directory), source, report)
