"""A bundle becomes the same model on every kind of store, also for two processes at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from heimdall.domain.models import Examination, ExportOptions, OnCheck
from heimdall.domain.ports import Store
from heimdall.services.bundles import BundleService
from heimdall.services.models import ModelService
from heimdall.storage.artifacts import open_artifacts
from tests.unit.services.bundle_world import MAX_BYTES, StandingClock, TrustingVerifier, add_model, make_world


def _make_service(store: Store, folder: Path, verifier: Any = None) -> BundleService:
    return BundleService(
        store=store,
        artifacts=open_artifacts(str(folder)),
        verifier=verifier or TrustingVerifier(),
        clock=StandingClock(),
        max_bytes=MAX_BYTES,
    )


def _write_bundle(tmp_path: Path, **options: Any) -> Path:
    origin = make_world(tmp_path / "origin")
    add_model(origin)
    return origin.write_bundle("model-1", tmp_path / "demo.heimdall", **options)


def test_a_bundle_is_stored_found_again_renamed_exported_and_deleted(backend: Any, tmp_path: Path) -> None:
    store, folder = backend.open(), tmp_path / "artifacts"
    service, models = _make_service(store, folder), ModelService(store=store, artifacts=open_artifacts(str(folder)), clock=StandingClock())
    path = _write_bundle(tmp_path)

    got, is_new = service.import_file(path)
    assert is_new
    assert models.get(got.id) == got
    assert service.import_file(path) == (got, False)

    other, is_new = service.import_file(_write_bundle(tmp_path, num_samples=1))
    assert (is_new, other.name, other.version) == (True, got.name, got.version + 1)

    renamed = models.rename(got.id, "Other")
    assert (renamed.name, renamed.version) == ("Other", 1)
    assert service.import_file(_write_bundle(tmp_path))[1]

    name, chunks = service.export(got.id, ExportOptions())
    assert name == "Other-v1.heimdall"
    assert b"".join(chunks).endswith(b"}}}\n")

    models.delete(got.id)
    assert got.id not in {model.id for model in models.find_all()}


def test_two_processes_that_import_one_bundle_at_once_make_one_model(backend: Any, tmp_path: Path) -> None:
    path = _write_bundle(tmp_path)
    barrier = threading.Barrier(2)

    class Meeting(TrustingVerifier):
        def examine(self, onnx_path: Path, samples_path: Path | None, on_check: OnCheck | None = None) -> Examination:
            barrier.wait(20)
            return super().examine(onnx_path, samples_path, on_check)

    answers: list[tuple[str, bool]] = []

    def run(store: Store) -> None:
        model, is_new = _make_service(store, tmp_path / "artifacts", Meeting()).import_file(path)
        answers.append((model.id, is_new))

    threads = [threading.Thread(target=run, args=(backend.open(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(is_new for _, is_new in answers) == [False, True]
    assert len({model_id for model_id, _ in answers}) == 1
    assert len(open_artifacts(str(tmp_path / "artifacts")).find("models")) == 2
