"""Reads a bundle file up to the point where its network can be run: size, JSON, schema, integrity."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from heimdall.domain.bundles import (
    ONNX_FIELD,
    Bundle,
    BundleSummary,
    check_integrity,
    identify,
    make_integrity,
    parse_bundle,
)
from heimdall.domain.errors import BundleError, StorageFullError, TooLargeError, UnavailableError
from heimdall.domain.models import VerificationCheck
from heimdall.domain.texts import clean_text
from heimdall.services.bundle_samples import join_samples
from heimdall.services.bundle_scanner import BundleScanner, ScanLimits


@dataclass(frozen=True)
class ReadBundle:
    """A bundle that passed every check that needs no runtime; its files lie in the folder it was read into."""

    bundle: Bundle
    bundle_hash: str
    onnx_path: Path
    onnx_sha256: str
    onnx_size_bytes: int
    samples_path: Path | None
    checks: tuple[VerificationCheck, ...]

    def summarize(self) -> BundleSummary:
        """Return what a person is told about the file, as safe text."""
        bundle = self.bundle
        return BundleSummary(
            format_version=bundle.format_version,
            bundle_id=clean_text(bundle.bundle_metadata.bundle_id, limit=100),
            created_at=clean_text(bundle.bundle_metadata.created_at, limit=50),
            model_name=clean_text(bundle.model.model_name, limit=255),
            version=clean_text(bundle.model.version, limit=50),
            architecture=clean_text(bundle.model.architecture, limit=100),
            onnx_opset=bundle.model.onnx_opset,
            onnx_sha256=self.onnx_sha256,
            onnx_size_bytes=self.onnx_size_bytes,
            bundle_hash=self.bundle_hash,
            num_samples=len(bundle.sample_predictions or ()),
            num_repeatable_samples=len(bundle.repeatable_samples),
            has_integrity=bundle.integrity is not None,
        )


def read_bundle(path: Path, folder: Path, *, max_bytes: int, limits: ScanLimits | None = None) -> ReadBundle:
    """Read and check a file in the contract's order; the network goes to ``folder/model.onnx``.

    Raises
    ------
    TooLargeError, UnsupportedMediaError
        Over ``max_bytes``; not JSON at all.
    BundleError
        Codes ``bundle_json``, ``bundle_schema``, ``bundle_integrity`` with the JSON path.
    StorageFullError
        No room for the network's bytes.
    """
    size = path.stat().st_size
    if size > max_bytes:
        limit_mb, size_mb = max_bytes / 1e6, size / 1e6
        raise TooLargeError(
            f"The bundle has {size_mb:.0f} MB, the limit is {limit_mb:.0f} MB. Raise HEIMDALL_MAX_UPLOAD_MB to take it.", field="file"
        )
    onnx_path = folder / "model.onnx"
    with explain_disk(), path.open("rb") as source, onnx_path.open("wb") as target:
        scanned = BundleScanner(source, target, limits=limits).scan()
    bundle = parse_bundle(scanned.document)
    if scanned.diverted_sha256 is None or scanned.diverted_bytes == 0:
        message = "The bundle carries no network: onnx_model_base64 must be base64 text. Export the model again."
        raise BundleError(message, field=f"$.model.{ONNX_FIELD}", code="bundle_schema")
    document = scanned.document
    document["model"].pop(ONNX_FIELD, None)
    actual = make_integrity(document, scanned.diverted_sha256)
    if bundle.integrity is not None:
        check_integrity(bundle.integrity, actual)
    samples = join_samples(bundle)
    samples_path = None
    if samples is not None:
        samples_path = folder / "samples.safetensors"
        with explain_disk():
            samples_path.write_bytes(samples)
    return ReadBundle(
        bundle=bundle,
        bundle_hash=identify(actual),
        onnx_path=onnx_path,
        onnx_sha256=scanned.diverted_sha256,
        onnx_size_bytes=scanned.diverted_bytes,
        samples_path=samples_path,
        checks=_describe_checks(bundle),
    )


def _describe_checks(bundle: Bundle) -> tuple[VerificationCheck, ...]:
    hashes = bundle.integrity
    return (
        VerificationCheck(name="format", status="passed", detail=f"bundle format {bundle.format_version}"),
        VerificationCheck(
            name="integrity",
            status="skipped" if hashes is None else "passed",
            detail="the bundle carries no hashes" if hashes is None else f"network and {len(hashes.blocks)} blocks match their SHA-256",
        ),
    )


@contextmanager
def explain_disk() -> Iterator[None]:
    """Turn a disk's refusal into the house's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFullError("The disk is full; nothing was kept. Free some space and try again.") from error
        raise UnavailableError(f"The file could not be read or stored: {error.strerror}. Nothing was kept; try again.") from error
