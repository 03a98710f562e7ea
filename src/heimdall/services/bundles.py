"""Models leave as ``.heimdall`` files and prove themselves on arrival."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from heimdall.domain.audit import AuditAction, AuditSubject
from heimdall.domain.base import new_id
from heimdall.domain.bundles import BundleSummary, make_file_name
from heimdall.domain.errors import (
    BundleError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)
from heimdall.domain.models import CheckFailure, Examination, ExportOptions, OnCheck, TrainedModelDetail, Verification, VerificationCheck
from heimdall.domain.ports import ArtifactStore, Clock, ModelVerifier, Store, Transaction
from heimdall.services.audit import record
from heimdall.services.bundle_reader import ReadBundle, explain_disk, read_bundle
from heimdall.services.bundle_samples import make_sample_blocks
from heimdall.services.bundle_scanner import ScanLimits
from heimdall.services.bundle_writer import build_document, stream_bundle
from heimdall.services.disposal import model_folder
from heimdall.services.imported_models import make_imported_model


class BundleService:
    """Export, import and offline verification of bundles.

    Parameters
    ----------
    max_bytes
        Largest file that is read.
    limits
        Bounds of the JSON beside the network; the defaults suit everyone.
    """

    def __init__(
        self,
        *,
        store: Store,
        artifacts: ArtifactStore,
        verifier: ModelVerifier,
        clock: Clock,
        max_bytes: int,
        limits: ScanLimits | None = None,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._verifier = verifier
        self._clock = clock
        self._max_bytes = max_bytes
        self._limits = limits or ScanLimits()

    def export(self, model_id: str, options: ExportOptions) -> tuple[str, Iterator[bytes]]:
        """Return a file name that is safe in a header, and the bundle's bytes as a stream.

        Raises
        ------
        NotFoundError
            No such model, or its network is gone; raised before the first byte.
        """
        with self._store.read() as tx:
            model = tx.models.get(model_id)
        self._artifacts.size(model.onnx_path)
        samples = None
        if options.include_samples and model.samples_key is not None:
            with self._artifacts.open(model.samples_key) as source:
                samples = make_sample_blocks(source.read(), model, options.num_samples)
        document = build_document(model, options, samples, bundle_id=new_id(), clock=self._clock)
        with self._store.write() as tx:
            record(tx, AuditAction.EXPORT, AuditSubject.MODEL, model_id, now=self._clock.now(), name=model.name)
        return make_file_name(model.name, model.version), self._stream(document, model)

    def _stream(self, document: dict[str, object], model: TrainedModelDetail) -> Iterator[bytes]:
        with self._artifacts.open(model.onnx_path) as onnx:
            yield from stream_bundle(document, onnx, expected_sha256=model.sha256)

    def import_file(self, path: Path, on_check: OnCheck | None = None) -> tuple[TrainedModelDetail, bool]:
        """Check a bundle in the contract's order, run it, and store it as a model.

        ``on_check`` hears of each check as soon as it is done; of a bundle that is already here, of those of the file alone.

        Returns
        -------
        tuple
            The model, and whether it is new: the same bundle twice gives the same model.

        Raises
        ------
        TooLargeError, UnsupportedMediaError, BundleError
            The failing check by its code and JSON path. Nothing is kept.
        StorageFullError, UnavailableError
            Nothing is kept.
        """
        try:
            return self._import(path, on_check)
        except (InvalidInputError, TooLargeError, UnsupportedMediaError) as error:
            with suppress(UnavailableError), self._store.write() as tx:
                record(
                    tx, AuditAction.IMPORT_REFUSED, AuditSubject.MODEL, None, now=self._clock.now(), code=error.code, reason=error.detail
                )
            raise

    def _import(self, path: Path, on_check: OnCheck | None) -> tuple[TrainedModelDetail, bool]:
        with self._artifacts.scratch() as folder:
            read = read_bundle(path, folder, max_bytes=self._max_bytes, limits=self._limits)
            if on_check is not None:
                for check in read.checks:
                    on_check(check)
            known = self._find(read.bundle_hash)
            if known is None:
                # A network that came from here is run all the same: its samples and its description may be others.
                examination = self._verifier.examine(read.onnx_path, read.samples_path, on_check)
                failure = examination.failure or _check_opset(read, examination)
                if failure is not None:
                    raise BundleError(failure.detail, field=failure.field, code=failure.code)
                known = self._find_origin(read)
            if known is None:
                return self._keep(read, examination)
            with self._store.write() as tx:
                self._note_import(tx, known, is_known=True)
            return known, False

    def _note_import(self, tx: Transaction, model: TrainedModelDetail, *, is_known: bool) -> None:
        detail = {"already_here": True} if is_known else {}
        record(
            tx,
            AuditAction.IMPORT,
            AuditSubject.MODEL,
            model.id,
            now=self._clock.now(),
            name=model.name,
            sha256=model.sha256,
            **detail,
        )

    def verify_file(self, path: Path) -> tuple[BundleSummary, Verification]:
        """Check a file and run its network without touching database or artifacts.

        A network that fails a check is an answer (``failed``); a file that is no bundle raises as in :meth:`import_file`.
        """
        with explain_disk(), tempfile.TemporaryDirectory(prefix="heimdall-bundle-") as folder:
            read = read_bundle(path, Path(folder), max_bytes=self._max_bytes, limits=self._limits)
            examination = self._verifier.examine(read.onnx_path, read.samples_path)
        return read.summarize(), self._conclude(read, examination)

    def _find(self, bundle_hash: str) -> TrainedModelDetail | None:
        with self._store.read() as tx:
            return tx.models.find_by_bundle_hash(bundle_hash)

    def _find_origin(self, read: ReadBundle) -> TrainedModelDetail | None:
        """Return the model that the bundle was exported from here: the same id with the same network."""
        with self._store.read() as tx, suppress(NotFoundError):
            model = tx.models.get(read.bundle.model.model_id)
            return model if model.sha256 == read.onnx_sha256 else None
        return None

    def _conclude(self, read: ReadBundle, examination: Examination) -> Verification:
        """Put the checks of the file before those of the network; a wrong opset in the description fails, or is noted of an old bundle."""
        verification = examination.verification
        checks = [*read.checks, *verification.checks]
        stated, actual = read.bundle.model.onnx_opset, examination.onnx_opset
        if (failure := _check_opset(read, examination)) is not None:
            checks.append(VerificationCheck(name="description", status="failed", detail=failure.detail))
            verification = verification.evolve(status="failed")
        elif actual is not None and stated != actual:
            detail = f"the bundle says opset {stated}, the network itself {actual}, which counts"
            checks.append(VerificationCheck(name="description", status="skipped", detail=detail))
        return verification.evolve(checks=tuple(checks), verified_at=self._clock.now())

    def _keep(self, read: ReadBundle, examination: Examination) -> tuple[TrainedModelDetail, bool]:
        """Put the files, then the row in one transaction; whatever goes wrong takes the files back."""
        model_id = new_id()
        folder = model_folder(model_id)
        model = make_imported_model(
            read,
            examination,
            self._conclude(read, examination),
            model_id=model_id,
            folder=folder,
            now=self._clock.now(),
        )
        is_kept = is_asked = False
        try:
            self._artifacts.put(model.onnx_path, read.onnx_path)
            if model.samples_key is not None and read.samples_path is not None:
                self._artifacts.put(model.samples_key, read.samples_path)
            is_asked = True
            stored = self._add(model)
            is_kept = stored.id == model_id
            return stored, is_kept
        except UnavailableError as error:
            is_kept = is_asked and not isinstance(error, StorageFullError) and self._may_be_stored(model)
            raise
        finally:
            if not is_kept:
                self._artifacts.delete(folder)

    def _add(self, model: TrainedModelDetail) -> TrainedModelDetail:
        """Return the stored model: this one, or the one the same bundle became in the meantime."""
        bundle_hash = model.bundle_hash or ""
        try:
            with self._store.write() as tx:
                version = tx.models.next_version(model.name)
                known = tx.models.find_by_bundle_hash(bundle_hash)
                if known is not None:
                    return known
                numbered = model.evolve(version=version)
                tx.models.add(numbered)
                self._note_import(tx, numbered, is_known=False)
            return numbered
        except ConflictError:
            known = self._find(bundle_hash)
            if known is None:
                raise
            return known

    def _may_be_stored(self, model: TrainedModelDetail) -> bool:
        """After a database that went away in the middle: only a clear no allows taking the files back."""
        with suppress(UnavailableError):
            known = self._find(model.bundle_hash or "")
            return known is not None and known.id == model.id
        return True


def _check_opset(read: ReadBundle, examination: Examination) -> CheckFailure | None:
    """Refuse a description that names another opset than the network has; bundles of 1.0 are known to guess it, which is only noted."""
    stated, actual = read.bundle.model.onnx_opset, examination.onnx_opset
    is_old = read.bundle.format_version.split(".")[1] == "0"
    if is_old or actual is None or stated == actual:
        return None
    detail = f"The bundle says opset {stated}, the network itself has {actual}: the description is not this network's. Export it again."
    return CheckFailure(code="onnx_opset", detail=detail, field="$.model.onnx_opset")
