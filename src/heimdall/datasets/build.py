"""From a config to a stored data set: the one entry of the service into this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from heimdall.datasets.importers.examples import ImportedExamples, write_examples
from heimdall.datasets.importers.locards import read_locards
from heimdall.datasets.importers.powder import read_powder
from heimdall.datasets.importers.rssi_table import read_rssi_csv, read_rssi_parquet
from heimdall.datasets.importers.sources import ImportLog, SourceFile
from heimdall.datasets.manifest import Manifest
from heimdall.datasets.simulation import Simulation
from heimdall.datasets.storage import DatasetWriter, ExampleChunk, read_manifest, size_of
from heimdall.domain.datasets import ImportDatasetConfig, ImportReport, SyntheticDatasetConfig

Progress = Callable[[float], None]
Reader = Callable[[list[SourceFile], ImportDatasetConfig, ImportLog, Progress], ImportedExamples]

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
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="unpacked-") as scratch:
        examples = _pick_reader(config.kind, Path(scratch))(files, config, log, lambda share: progress(0.8 * share))
        with DatasetWriter(
            directory,
            num_tokens=examples.num_tokens,
            receivers=examples.receivers,
            features=examples.features,
            iq=examples.iq,
            num_samples=examples.num_samples,
            has_carriers=examples.carrier_hz is not None,
        ) as writer:
            write_examples(examples, config, writer, lambda share: progress(0.8 + 0.2 * share))
    return _describe(directory, examples.source, log.report())


def _pick_reader(kind: str, scratch: Path) -> Reader:
    if kind != "recordings":
        return _READERS[kind]
    # It brings the libraries of signal files along, which no other import needs.
    from heimdall.datasets.importers.recordings import read_recordings

    return partial(read_recordings, scratch=scratch)


def build_synthetic(
    config: SyntheticDatasetConfig,
    directory: Path,
    progress: Progress,
    *,
    terrain_folder: Path | None = None,
    voice: list[SourceFile] | None = None,
) -> BuiltDataset:
    """Simulate a data set into a folder, block by block; parameters and errors as in :func:`build_import`.

    ``terrain_folder`` holds the user's heights, ``voice`` the user's audio, for a config that asks for them.
    """
    return run_simulation(Simulation(config, terrain_folder, voice), directory, progress)


def run_simulation(simulation: Simulation, directory: Path, progress: Progress) -> BuiltDataset:
    """Make all chunks of a simulation here, one after the other, and its data set of them."""
    num_chunks = simulation.num_chunks
    # Each chunk is written while the next is not made yet, so one share counts for both.
    chunks = (
        simulation.make(number, lambda share, number=number: progress((number + share) / num_chunks))  # type: ignore[misc]
        for number in range(num_chunks)
    )
    return write_simulation(simulation, chunks, directory, lambda share: None)


def write_simulation(simulation: Simulation, chunks: Iterable[ExampleChunk], directory: Path, progress: Progress) -> BuiltDataset:
    """Make a data set of the chunks of a simulation, in order, that lie ready or are made as they are asked for."""
    simulation.write(chunks, directory, progress)
    return _describe(directory, simulation.source, None)


def _describe(directory: Path, source: str, report: ImportReport | None) -> BuiltDataset:
    manifest = read_manifest(directory)
    return BuiltDataset(manifest, manifest.content_hash(), size_of(directory), source, report)
