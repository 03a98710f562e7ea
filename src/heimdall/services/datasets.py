"""Data sets: asked for, built in a worker, deleted. The row says what is true; the arrays are artifacts.

NumPy and everything that reads arrays is imported only inside a build, so the API process stays small.
"""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.audit import AuditAction, AuditSubject
from heimdall.domain.base import new_id
from heimdall.domain.canonical import hash_canonical
from heimdall.domain.datasets import (
    VOICE_WAVEFORMS,
    Dataset,
    DatasetKind,
    DatasetPreview,
    DatasetStatus,
    ImportDatasetConfig,
    SyntheticDatasetConfig,
)
from heimdall.domain.errors import ConflictError, HeimdallError, InvalidInputError, NotFoundError, StorageFullError, UnavailableError
from heimdall.services.audit import record
from heimdall.services.disposal import Disposal, dataset_folder, incoming_folder
from heimdall.services.source_files import describe_source, incoming_key, local_sources, options_of

if TYPE_CHECKING:
    from heimdall.datasets.build import BuiltDataset
    from heimdall.domain.ports import ArtifactStore, Clock, JobQueue, Store

logger = logging.getLogger(__name__)

DEMO_DATASET_ID: Final = str(uuid.uuid5(uuid.NAMESPACE_URL, "heimdall:demo-dataset"))
"""Always the same, so that two processes starting at once seed one demo."""

DEMO_CONFIG: Final = SyntheticDatasetConfig(
    name="Demo: synchronized network (simulated)",
    description="6,000 simulated transmissions at 145 MHz in north-west Italy: enough to see a network learn in seconds.",
    num_examples=6_000,
    min_receivers=4,
    margin_km=0.0,
    clock_sigma_ns=50.0,
    shadowing_sigma_db=4.0,
)

_NATURAL_SPLITS: Final = {"locards": "session"}
"""What an importer splits by where the request leaves it open: aircraft fly on, so location cells leak."""

AnyConfig = SyntheticDatasetConfig | ImportDatasetConfig

_PROGRESS_INTERVAL: Final = timedelta(seconds=0.5)


class DatasetService:
    """Use cases of data sets.

    Parameters
    ----------
    store, queue, artifacts, clock
        The ports.
    terrain_folder
        The user's heights, for simulations over terrain; None where there are none.
    """

    def __init__(
        self, *, store: Store, queue: JobQueue, artifacts: ArtifactStore, clock: Clock, terrain_folder: Path | None = None
    ) -> None:
        self._terrain_folder = terrain_folder
        self._store = store
        self._queue = queue
        self._artifacts = artifacts
        self._clock = clock
        self._disposal = Disposal(store=store, artifacts=artifacts, clock=clock)

    def create_synthetic(self, config: SyntheticDatasetConfig, voice: list[tuple[str, Path]] | None = None) -> Dataset:
        """Store a data set to be simulated and wake a worker; it is ``building`` on return.

        A broker that is away delays the build and loses nothing: the sweeper asks again.

        Parameters
        ----------
        config
            What to simulate.
        voice
            The user's audio for transmissions of voice, as in :meth:`create_import`. The files' hashes become part of the data set.

        Raises
        ------
        InvalidInputError
            Where the config sends no voice, or a file is empty.
        StorageFullError
            Where the disk is full; nothing is kept.
        """
        if not voice:
            return self._add(self._make_row(new_id(), config))
        if config.signal != "captures" or config.waveform not in VOICE_WAVEFORMS:
            raise InvalidInputError(
                f"Only captures of {' or '.join(VOICE_WAVEFORMS)} send a voice: set signal and waveform, or send no file.", field="waveform"
            )
        return self._add_with_files(config, voice)

    def preview(self, config: SyntheticDatasetConfig, target_m: float) -> DatasetPreview:
        """Say what could be reached with a simulated network; nothing is stored.

        Raises
        ------
        InvalidInputError
            Where too few transmissions are heard to say anything.
        """
        from heimdall.datasets.preview import preview_synthetic

        return preview_synthetic(config, target_m, terrain_folder=self._terrain_folder)

    def create_import(self, config: ImportDatasetConfig, files: list[tuple[str, Path]]) -> Dataset:
        """Take the files of an import and wake a worker.

        Parameters
        ----------
        config
            Which importer; what it leaves open gets the importer's natural choice.
        files
            Name as the user wrote it, and where the file lies. The files are moved away. Names are kept as text only.

        Raises
        ------
        InvalidInputError
            Where there is no file, or one is empty.
        StorageFullError
            Where the disk is full; nothing is kept.
        """
        if not files:
            raise InvalidInputError("An import needs at least one file.", field="file")
        if "split_column" not in config.model_fields_set:
            config = config.evolve(split_column=_NATURAL_SPLITS.get(config.kind, config.split_column))
        return self._add_with_files(config, files)

    def _add_with_files(self, config: AnyConfig, files: list[tuple[str, Path]]) -> Dataset:
        dataset_id = new_id()
        sources = [describe_source(name, path) for name, path in files]
        dataset = self._make_row(dataset_id, config, sources)
        try:
            for number, (_, path) in enumerate(files):
                self._artifacts.put(incoming_key(dataset_id, number, config.kind), path)
            return self._add(dataset)
        except HeimdallError:
            with contextlib.suppress(HeimdallError):
                self._artifacts.delete(incoming_folder(dataset_id))
            raise

    def export_sigmf(self, dataset_id: str, *, max_examples: int | None = None) -> tuple[str, Iterator[bytes]]:
        """Return a file name that is safe in a header, and a tar of SigMF collections as a stream.

        Raises
        ------
        NotFoundError
            Where there is none.
        ConflictError
            Where it is not ready.
        InvalidInputError
            Where it keeps no samples.
        """
        dataset = self.get(dataset_id)
        if dataset.status is not DatasetStatus.READY:
            raise ConflictError(
                f"The data set '{dataset.name}' is {dataset.status}, not ready. Wait until it is.", code="dataset_not_ready"
            )
        if not dataset.config.get("keep_iq", False):
            raise InvalidInputError(
                f"The data set '{dataset.name}' keeps no samples, so there is nothing to write as SigMF. Make one with keep_iq."
            )
        with self._store.write() as tx:
            record(tx, AuditAction.EXPORT, AuditSubject.DATASET, dataset_id, now=self._clock.now(), name=dataset.name)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset.name).strip("-.")[:80] or "dataset"
        return f"{stem}-sigmf.tar", self._stream_sigmf(dataset, max_examples)

    def _stream_sigmf(self, dataset: Dataset, max_examples: int | None) -> Iterator[bytes]:
        from heimdall.datasets.sigmf_export import export_sigmf
        from heimdall.datasets.storage import open_dataset

        with self._artifacts.local(dataset_folder(dataset.id)) as path:
            yield from export_sigmf(open_dataset(path), dataset.config, max_examples=max_examples)

    def find_all(self) -> list[Dataset]:
        """Return all data sets, newest first."""
        with self._store.read() as tx:
            return tx.datasets.find_all()

    def get(self, dataset_id: str) -> Dataset:
        """Return one data set. NotFoundError."""
        with self._store.read() as tx:
            return tx.datasets.get(dataset_id)

    def delete(self, dataset_id: str) -> None:
        """Remove a data set: first the row, then the files, so that no row ever points to nothing.

        Raises
        ------
        NotFoundError
            Where there is none.
        ConflictError
            Where active jobs use it.
        """
        with self._store.write() as tx:
            name = tx.datasets.get(dataset_id, lock=True).name
            tx.datasets.delete(dataset_id)
            record(tx, AuditAction.DELETE, AuditSubject.DATASET, dataset_id, now=self._clock.now(), name=name)
            tx.upkeep.bury(*_folders(dataset_id), now=self._clock.now())
        self._disposal.collect()
        logger.info("dataset_deleted", extra={"dataset_id": dataset_id})

    def ensure_demo(self) -> Dataset:
        """Return the demo data set, made here and now where there is none. A failed or unfinished one is made again."""
        with self._store.read() as tx:
            known = {dataset.id: dataset for dataset in tx.datasets.find_all()}
        demo = known.get(DEMO_DATASET_ID)
        if demo is not None and demo.status is DatasetStatus.FAILED:
            self.delete(demo.id)
            demo = None
        if demo is None:
            row = self._make_row(DEMO_DATASET_ID, DEMO_CONFIG, is_demo=True)
            with contextlib.suppress(ConflictError), self._store.write() as tx:
                tx.datasets.add(row)
        return self.build(DEMO_DATASET_ID)

    def build(self, dataset_id: str) -> Dataset:
        """Make the arrays of a ``building`` data set; does nothing to any other.

        Safe to repeat after a crash and to run several times at once: files appear as a whole, and equal configs give equal bytes. A large
        simulated set is made in chunks that are kept and shared (:mod:`heimdall.services.joint_builds`), and other workers are asked to
        join in. Progress is stored at most twice a second.

        Returns
        -------
        Dataset
            ``ready``, or ``failed`` with one plain sentence and no files; ``building`` where another process puts the chunks together.

        Raises
        ------
        UnavailableError
            Where the database or the artifacts do not answer: the data set stays ``building`` and may be tried again.
        NotFoundError
            Where the data set was deleted meanwhile; nothing of it is kept.
        """
        dataset = self.get(dataset_id)
        if dataset.status is not DatasetStatus.BUILDING:
            return dataset
        try:
            with self._artifacts.scratch() as scratch:
                folder = scratch / "dataset"
                folder.mkdir()
                built = self._build_into(dataset, folder, self._make_progress(dataset_id))
                self._require_building(dataset_id)
                if built is None:
                    return self.get(dataset_id)
                self._artifacts.put_folder(dataset_folder(dataset_id), folder)
            result = self._finish(dataset_id, _as_ready(built))
        except NotFoundError as error:
            result = self._explain_missing(dataset_id, error)
        except _AlreadyBuiltError:
            return self._leave(dataset_id)
        except HeimdallError as error:
            if isinstance(error, UnavailableError) and not isinstance(error, StorageFullError):
                # Where another process is done, its tidying may pull a folder from under this one.
                if self.get(dataset_id).status is DatasetStatus.BUILDING:
                    raise
                return self._leave(dataset_id)
            result = self._fail(dataset_id, error)
        self._disposal.collect()
        return result

    def _make_row(
        self, dataset_id: str, config: AnyConfig, sources: list[dict[str, Any]] | None = None, *, is_demo: bool = False
    ) -> Dataset:
        stored = config.model_dump(mode="json") | ({} if sources is None else {"sources": sources})
        hashed = {key: value for key, value in stored.items() if key not in ("name", "description")}
        if "sources" in hashed:
            hashed["sources"] = [source["sha256"] for source in hashed["sources"]]
        return Dataset(
            id=dataset_id,
            name=config.name,
            description=config.description,
            status=DatasetStatus.BUILDING,
            kind=DatasetKind(config.kind),
            created_at=self._clock.now(),
            config=stored,
            config_hash=hash_canonical(hashed),
            is_demo=is_demo,
        )

    def _add(self, dataset: Dataset) -> Dataset:
        with self._store.write() as tx:
            tx.datasets.add(dataset)
            action = AuditAction.CREATE if dataset.kind is DatasetKind.SYNTHETIC else AuditAction.IMPORT
            record(tx, action, AuditSubject.DATASET, dataset.id, now=dataset.created_at, name=dataset.name)
        self._wake_worker(dataset.id)
        return dataset

    def _wake_worker(self, dataset_id: str) -> None:
        try:
            self._queue.enqueue_dataset(dataset_id)
        except UnavailableError as error:
            logger.warning("dataset_not_enqueued", extra={"dataset_id": dataset_id, "reason": error.detail})

    def _simulate_into(self, dataset: Dataset, folder: Path, progress: Callable[[float], None]) -> BuiltDataset | None:
        from heimdall.datasets.build import run_simulation
        from heimdall.datasets.simulation import Simulation
        from heimdall.services.joint_builds import JointBuild

        config = SyntheticDatasetConfig.model_validate(options_of(dataset))
        with local_sources(self._artifacts, dataset) as voice:
            simulation = Simulation(config, self._terrain_folder, voice)
        if simulation.num_chunks == 1:
            return run_simulation(simulation, folder, progress)
        build = JointBuild(
            self._artifacts,
            dataset.id,
            simulation,
            invite=lambda: self._wake_worker(dataset.id),
            check_in=lambda: self._require_building(dataset.id),
        )
        return build.run(folder.parent, progress)

    def _build_into(self, dataset: Dataset, folder: Path, progress: Callable[[float], None]) -> BuiltDataset | None:
        from heimdall.datasets.build import build_import

        if dataset.kind is DatasetKind.SYNTHETIC:
            return self._simulate_into(dataset, folder, progress)
        with local_sources(self._artifacts, dataset) as files:
            return build_import(ImportDatasetConfig.model_validate(options_of(dataset)), files, folder, progress)

    def _make_progress(self, dataset_id: str) -> Callable[[float], None]:
        last = self._clock.now()

        def save(share: float) -> None:
            nonlocal last
            now = self._clock.now()
            if now - last < _PROGRESS_INTERVAL:
                return
            last = now
            with contextlib.suppress(UnavailableError):
                self._change_building(dataset_id, {"progress_percent": round(min(99.0, 100 * share), 1)})

        return save

    def _require_building(self, dataset_id: str) -> None:
        if self.get(dataset_id).status is not DatasetStatus.BUILDING:
            raise _AlreadyBuiltError

    def _change_building(self, dataset_id: str, changes: dict[str, Any]) -> Dataset:
        with self._store.write() as tx:
            current = tx.datasets.get(dataset_id, lock=True)
            if current.status is not DatasetStatus.BUILDING:
                raise _AlreadyBuiltError
            if "progress_percent" in changes:
                # Of several builders the one behind must not take back what the others have shown.
                changes = {**changes, "progress_percent": max(current.progress_percent, changes["progress_percent"])}
            changed = current.evolve(**changes, version=current.version + 1)
            tx.datasets.save(changed, expected_version=current.version)
            if changed.status is not DatasetStatus.BUILDING:
                # The source files have served; of a failed data set nothing is kept but the row, which says why.
                buried = _folders(dataset_id) if changed.status is DatasetStatus.FAILED else (incoming_folder(dataset_id),)
                tx.upkeep.bury(*buried, now=self._clock.now())
        return changed

    def _finish(self, dataset_id: str, changes: dict[str, Any]) -> Dataset:
        dataset = self._change_building(dataset_id, changes)
        logger.info("dataset_ready", extra={"dataset_id": dataset_id, "num_examples": dataset.num_examples})
        return dataset

    def _explain_missing(self, dataset_id: str, error: NotFoundError) -> Dataset:
        """Tell a data set that was deleted while it was built from one whose source files are gone."""
        try:
            self.get(dataset_id)
        except NotFoundError:
            with self._store.write() as tx:
                tx.upkeep.bury(*_folders(dataset_id), now=self._clock.now())
            self._disposal.collect()
            raise
        return self._fail(dataset_id, error)

    def _leave(self, dataset_id: str) -> Dataset:
        """Return what another process finished, and remove the chunk that this one may have stored after that."""
        dataset = self.get(dataset_id)
        with self._store.write() as tx:
            tx.upkeep.bury(incoming_folder(dataset_id), now=self._clock.now())
        self._disposal.collect()
        return dataset

    def _fail(self, dataset_id: str, error: HeimdallError) -> Dataset:
        logger.warning("dataset_failed", extra={"dataset_id": dataset_id, "reason": error.detail})
        try:
            return self._change_building(dataset_id, {"status": DatasetStatus.FAILED, "error_message": error.detail})
        except _AlreadyBuiltError:
            return self.get(dataset_id)


class _AlreadyBuiltError(Exception):
    """Another process finished the same data set first."""


def _as_ready(built: BuiltDataset) -> dict[str, Any]:
    manifest = built.manifest
    return {
        "status": DatasetStatus.READY,
        "progress_percent": 100.0,
        "num_examples": manifest.num_examples,
        "num_receivers": len(manifest.receivers),
        "content_hash": built.content_hash,
        "split": manifest.split,
        "groups": manifest.groups,
        "frame": manifest.frame,
        "receivers": manifest.receivers,
        "features": manifest.features,
        "accuracy_radius_m": manifest.accuracy_radius_m,
        "physical_limit": manifest.physical_limit,
        "size_bytes": built.size_bytes,
        "report": built.report,
        "source": built.source,
    }


def _folders(dataset_id: str) -> tuple[str, str]:
    return dataset_folder(dataset_id), incoming_folder(dataset_id)
