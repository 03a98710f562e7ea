"""A model leaves one instance as a file and arrives at another, or not at all."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from heimdall.domain.audit import AuditQuery
from heimdall.domain.bundles import Integrity, check_integrity, make_integrity
from heimdall.domain.datasets import CoordinateFrame
from heimdall.domain.errors import (
    BundleError,
    ConflictError,
    HeimdallError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)
from heimdall.domain.models import CheckFailure, Examination, ExportOptions, OnCheck, TrainedModelDetail, Verification
from heimdall.services import bundle_reader
from heimdall.verification.sandbox import SandboxVerifier
from tests.unit.services.bundle_world import NOW, TrustingVerifier, World, add_model, make_world, read_json
from tests.unit.verification import networks

OLD_BUNDLES = sorted((Path(__file__).parents[1] / "domain" / "bundles_1_0_0").glob("*.json"))


@pytest.fixture(scope="module")
def sandbox() -> SandboxVerifier:
    return SandboxVerifier(memory_mb=4096, timeout_s=60)


@pytest.fixture
def here(tmp_path: Path) -> World:
    return make_world(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> World:
    return make_world(tmp_path / "there")


@pytest.fixture
def bundle(here: World, tmp_path: Path) -> Path:
    add_model(here)
    return here.write_bundle("model-1", tmp_path / "demo.heimdall")


def change(path: Path, action: Callable[[dict[str, Any]], Any], *, is_resealed: bool = False) -> Path:
    """Rewrite a bundle; resealed, its hashes are made to fit again (an attacker can do that)."""
    document = read_json(path)
    action(document)
    if is_resealed:
        network = document["model"].pop("onnx_model_base64")
        document.pop("integrity", None)
        sha256 = hashlib.sha256(base64.b64decode(network)).hexdigest()
        document["integrity"] = make_integrity(document, sha256).model_dump()
        document["model"]["onnx_model_base64"] = network
    changed = path.with_name("changed.heimdall")
    changed.write_text(json.dumps(document))
    return changed


def assert_untouched(world: World) -> None:
    assert world.models.find_all() == []
    assert world.files() == []
    assert world.leftovers() == []


# -- export ----------------------------------------------------------------------------------------------------------


def test_an_export_has_every_block_and_hashes_that_fit(here: World, bundle: Path) -> None:
    document = read_json(bundle)

    assert list(document)[:3] == ["format_version", "bundle_metadata", "model"]
    assert document["format_version"] == "1.1.0"
    assert document["bundle_metadata"]["created_at"] == "2026-03-04T05:06:07.000000Z"
    network = base64.b64decode(document["model"].pop("onnx_model_base64"), validate=True)
    with here.artifacts.open("models/model-1/model.onnx") as stored:
        assert network == stored.read()
    stated = Integrity.model_validate(document.pop("integrity"))
    check_integrity(stated, make_integrity(document, hashlib.sha256(network).hexdigest()))
    assert set(stated.blocks) == set(document)
    assert document["model"]["input_shape"] == [-1, -1, 2]
    assert document["model"]["output_shape"] == [[-1, 2], [-1, 2, 2]]
    assert document["training_config"]["dataset_ids"] == ["dataset-1"]
    assert document["training_config"]["dataset_names"] == ["Autumn walk"]
    assert document["performance_metrics"]["final_val_loss"] == 0.625
    assert document["normalization_stats"] == {
        "feature_names": ["heard", "rssi_dbm"],
        "feature_means": [0.5, -80.0],
        "feature_stds": [0.5, 10.0],
    }


def test_samples_say_what_the_exported_network_answered_on_held_out_examples(here: World, bundle: Path) -> None:
    from heimdall.rf.geodesy import geodetic_to_enu

    with here.artifacts.open("models/model-1/samples.safetensors") as source:
        stored = load(source.read())
    samples = read_json(bundle)["sample_predictions"]
    frame = CoordinateFrame(latitude=45.0, longitude=8.0, altitude_m=200.0)

    assert len(samples) == 5
    for row, sample in enumerate(samples):
        for place, tensor in (("prediction", "expected.position_enu_m"), ("ground_truth", "truth.position_enu_m")):
            point = geodetic_to_enu(frame, np.array([sample[place]["latitude"]]), np.array([sample[place]["longitude"]]), np.array([200.0]))
            assert np.allclose(point[0, :2], stored[tensor][row], atol=1e-3)
        assert sample["prediction"]["uncertainty_x"] == pytest.approx(20.0)
        assert sample["prediction"]["uncertainty_y"] == pytest.approx(20.0)
        assert sample["error_meters"] == pytest.approx(30.0 * 2**0.5, rel=1e-3)
        assert sample["input_metadata"]["receivers_present"] == int(stored["input.mask"][row].sum())
        inputs = load(base64.b64decode(sample["input_base64"]))
        assert {name: tensor.shape for name, tensor in inputs.items()} == {"features": (1, 3, 2), "mask": (1, 3), "receiver_index": (1, 3)}
        assert np.array_equal(inputs["features"][0], stored["input.features"][row])
        outputs = load(base64.b64decode(sample["expected_output_base64"]))
        assert np.array_equal(outputs["position_enu_m"][0], stored["expected.position_enu_m"][row])


@pytest.mark.parametrize(
    ("option", "block"),
    [
        ("include_config", "training_config"),
        ("include_metrics", "performance_metrics"),
        ("include_normalization", "normalization_stats"),
        ("include_samples", "sample_predictions"),
    ],
)
def test_what_is_not_chosen_is_null_and_the_rest_stays(here: World, tmp_path: Path, option: str, block: str) -> None:
    add_model(here)
    document = read_json(here.write_bundle("model-1", tmp_path / "part.heimdall", **{option: False}))

    empty = {name for name, value in document.items() if value is None}
    assert empty == {block}
    assert block not in document["integrity"]["blocks"]


@pytest.mark.parametrize(("wanted", "stored", "written"), [(1, 10, 1), (10, 10, 10), (10, 3, 3)])
def test_as_many_samples_as_asked_for_and_there(here: World, tmp_path: Path, wanted: int, stored: int, written: int) -> None:
    add_model(here, num_samples=stored)
    document = read_json(here.write_bundle("model-1", tmp_path / "some.heimdall", num_samples=wanted, description="By hand"))

    assert len(document["sample_predictions"]) == written
    assert document["bundle_metadata"]["description"] == "By hand"


def test_the_file_name_is_name_and_version(here: World) -> None:
    add_model(here)
    assert here.bundles.export("model-1", ExportOptions())[0] == "Demo-model-v3.heimdall"


def test_an_unknown_model_or_a_lost_network_is_refused_before_the_first_byte(here: World) -> None:
    with pytest.raises(NotFoundError):
        here.bundles.export("nobody", ExportOptions())
    add_model(here)
    here.artifacts.delete("models/model-1/model.onnx")
    with pytest.raises(NotFoundError):
        here.bundles.export("model-1", ExportOptions())


def test_a_network_damaged_on_disk_breaks_the_stream_so_that_the_file_cannot_be_imported(here: World, there: World, tmp_path: Path) -> None:
    add_model(here, sha256="0" * 64)
    _, chunks = here.bundles.export("model-1", ExportOptions())
    broken = tmp_path / "broken.heimdall"
    with broken.open("wb") as target, pytest.raises(UnavailableError, match="damaged"):
        target.writelines(chunks)
    with pytest.raises(BundleError, match="cut off"):
        there.bundles.import_file(broken)
    assert_untouched(there)


# -- import ----------------------------------------------------------------------------------------------------------


def test_a_model_arrives_whole_and_repeats_its_samples(here: World, tmp_path: Path, sandbox: SandboxVerifier) -> None:
    there = make_world(tmp_path / "there", sandbox)
    sent = add_model(here)
    path = here.write_bundle("model-1", tmp_path / "demo.heimdall", description="From here")

    got, is_new = there.bundles.import_file(path)

    assert is_new
    verification = got.verification
    assert (verification.status, verification.matched, verification.total) == ("verified", 5, 5)
    assert verification.verified_at == NOW
    assert [check.name for check in verification.checks][:2] == ["format", "integrity"]
    assert {check.status for check in verification.checks} == {"passed"}
    for field in ("name", "architecture", "parameters_count", "final_metrics", "sha256", "size_bytes", "onnx_opset", "dataset_name"):
        assert getattr(got, field) == getattr(sent, field), field
    for field in ("baselines", "accuracy_radius_m", "best_epoch", "outputs", "receivers", "features", "coordinate_frame", "normalization"):
        assert getattr(got, field) == getattr(sent, field), field
    assert got.performance == sent.performance
    assert got.inputs[0] == sent.inputs[0]
    assert [spec.name for spec in got.inputs] == ["features", "mask", "receiver_index"]
    assert got.version == 1
    assert got.training_job_id is None
    assert got.dataset_id is None
    assert got.imported_from == read_json(path)["bundle_metadata"]["bundle_id"]
    assert got.description == "From here"
    assert got.id != sent.id
    assert there.models.get(got.id) == got
    assert there.files() == [f"models/{got.id}/model.onnx", f"models/{got.id}/samples.safetensors"]
    assert there.leftovers() == []


def test_an_imported_model_leaves_again_with_the_same_content(here: World, there: World, bundle: Path, tmp_path: Path) -> None:
    got, _ = there.bundles.import_file(bundle)
    again = read_json(there.write_bundle(got.id, tmp_path / "again.heimdall"))
    first = read_json(bundle)

    assert again["model"]["onnx_model_base64"] == first["model"]["onnx_model_base64"]
    for block in ("performance_metrics", "normalization_stats", "receivers", "coordinate_frame"):
        assert again[block] == first[block], block
    assert again["training_config"] == first["training_config"]
    for sent, resent in zip(first["sample_predictions"], again["sample_predictions"], strict=True):
        assert resent["input_base64"] == sent["input_base64"]
        assert resent["ground_truth"] == pytest.approx(sent["ground_truth"], abs=1e-8)
        assert resent["error_meters"] == pytest.approx(sent["error_meters"], abs=0.01)


def test_the_same_bundle_twice_is_the_same_model_whatever_its_layout(there: World, bundle: Path) -> None:
    first, is_new = there.bundles.import_file(bundle)
    document = read_json(bundle)
    bundle.write_text(json.dumps(dict(reversed(list(document.items()))), indent=4, sort_keys=False))

    second, is_new_again = there.bundles.import_file(bundle)

    assert (is_new, is_new_again) == (True, False)
    assert second == first
    assert len(there.models.find_all()) == 1
    assert len(there.files()) == 2


def test_the_version_counts_on_under_a_name_that_is_taken(there: World, bundle: Path) -> None:
    add_model(there, model_id="older", version=8)
    got, _ = there.bundles.import_file(bundle)
    assert (got.name, got.version) == ("Demo model", 9)


@pytest.mark.parametrize("path", OLD_BUNDLES, ids=lambda path: path.stem)
def test_a_bundle_of_1_0_0_arrives_unverified_with_the_reason(tmp_path: Path, sandbox: SandboxVerifier, path: Path) -> None:
    there = make_world(tmp_path / "there", sandbox)

    got, is_new = there.bundles.import_file(path)

    assert is_new
    assert got.verification.status == "unverified"
    assert {check.name: check.status for check in got.verification.checks}["samples"] == "skipped"
    assert got.onnx_opset == 14  # what the network is, whatever the bundle says
    assert [spec.name for spec in got.outputs] == ["position", "uncertainty"]
    assert got.samples_key is None
    assert there.files() == [f"models/{got.id}/model.onnx"]


def test_accuracies_in_metres_of_older_bundles_are_no_shares_and_left_out(there: World) -> None:
    path = next(path for path in OLD_BUNDLES if path.stem == "nan")
    got, _ = there.bundles.import_file(path)
    assert got.final_metrics.val_accuracy is None
    assert got.final_metrics.train_loss == 0.123
    assert got.final_metrics.val_loss is None
    assert got.normalization is None
    assert got.parameters_count is None


def test_nothing_of_a_bundle_becomes_a_path_or_a_control_character(there: World, bundle: Path, tmp_path: Path) -> None:
    evil = "../../../etc/cron.d/evil\x00\x1b[2J\u202e<script>"

    def poison(document: dict[str, Any]) -> None:
        for block, field in (("model", "model_name"), ("model", "architecture"), ("model", "model_id"), ("bundle_metadata", "bundle_id")):
            document[block][field] = evil
        document["bundle_metadata"]["description"] = evil
        document["training_config"]["optimizer"] = evil
        document["training_config"][evil] = {evil: [evil]}
        document["receivers"][0]["name"] = evil
        document["sample_predictions"][0]["sample_id"] = evil

    got, _ = there.bundles.import_file(change(bundle, poison, is_resealed=True))

    assert got.name == "../../../etc/cron.d/evil[2J<script>"
    dump = got.model_dump_json()
    assert "\\u0000" not in dump
    assert "\\u001b" not in dump
    assert "\u202e" not in dump
    assert all(key.startswith(f"models/{got.id}/") for key in there.files())
    assert there.bundles.export(got.id, ExportOptions())[0] == "etc-cron.d-evil-2J-script-v1.heimdall"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed.heimdall", "demo.heimdall", "here", "there"]


def test_a_name_of_nothing_but_unsafe_characters_gets_another(there: World, bundle: Path) -> None:
    got, _ = there.bundles.import_file(change(bundle, lambda document: document["model"].update(model_name="\x00\u202e"), is_resealed=True))
    assert got.name == "imported model"


def test_a_name_beyond_the_limit_is_refused_and_nothing_is_kept(there: World, bundle: Path) -> None:
    long_named = change(bundle, lambda document: document["model"].update(model_name="x" * 256), is_resealed=True)
    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(long_named)
    assert (caught.value.code, caught.value.field) == ("bundle_schema", "$.model.model_name")
    assert "255" in caught.value.detail


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code", "field"),
    [
        (lambda document: document.update(format_version="2.0.0"), "bundle_schema", "$.format_version"),
        (lambda document: document["model"].update(onnx_model_base64=""), "bundle_schema", "$.model.onnx_model_base64"),
        (lambda document: document["model"].pop("onnx_model_base64"), "bundle_schema", "$.model.onnx_model_base64"),
        (lambda document: document["model"].update(onnx_model_base64=None), "bundle_schema", "$.model.onnx_model_base64"),
        (lambda document: document["model"].update(onnx_model_base64="@@@@"), "bundle_json", "$.model.onnx_model_base64"),
        (lambda document: document["model"].update(onnx_model_base64="AAAA" * 1000), "bundle_integrity", "$.model.onnx_model_base64"),
        (lambda document: document["integrity"].update(onnx_sha256="0" * 64), "bundle_integrity", "$.model.onnx_model_base64"),
        (lambda document: document["performance_metrics"].update(final_val_loss=0.001), "bundle_integrity", "$.performance_metrics"),
        (lambda document: document["receivers"].pop(), "bundle_integrity", "$.receivers"),
        (lambda document: document.pop("training_config"), "bundle_integrity", "$.integrity.blocks.training_config"),
    ],
)
def test_a_changed_bundle_is_refused_by_the_right_check_and_nothing_is_kept(
    there: World, bundle: Path, action: Callable[[dict[str, Any]], Any], code: str, field: str
) -> None:
    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(change(bundle, action))

    assert (caught.value.code, caught.value.field) == (code, field)
    assert_untouched(there)
    assert isinstance(there.verifier, TrustingVerifier)
    assert there.verifier.calls == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_base64", "@@@@"),
        ("input_base64", base64.b64encode(b"no safetensors").decode()),
        ("input_base64", base64.b64encode((2**40).to_bytes(8, "little") + b"{}").decode()),
        ("expected_output_base64", ""),
    ],
)
def test_samples_that_are_no_tensors_are_refused_with_their_path(there: World, bundle: Path, field: str, value: str) -> None:
    changed = change(bundle, lambda document: document["sample_predictions"][2].update({field: value}), is_resealed=True)
    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(changed)
    assert (caught.value.code, caught.value.field) == ("bundle_schema", f"$.sample_predictions[2].{field}")
    assert_untouched(there)


def test_a_file_over_the_cap_is_refused_before_it_is_read(there: World, tmp_path: Path) -> None:
    path = tmp_path / "large.heimdall"
    with path.open("wb") as target:
        target.truncate(50_000_001)
    with pytest.raises(TooLargeError, match="limit is 50 MB"):
        there.bundles.import_file(path)
    assert_untouched(there)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x00" * 1000, "è un modello".encode()])
def test_another_kind_of_file_is_refused_as_such(there: World, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.heimdall"
    path.write_bytes(data)
    with pytest.raises(UnsupportedMediaError):
        there.bundles.import_file(path)
    assert_untouched(there)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.8, 0.999])
def test_a_bundle_cut_off_anywhere_leaves_nothing(there: World, bundle: Path, share: float) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(bundle)
    assert caught.value.code == "bundle_json"
    assert_untouched(there)


@pytest.mark.parametrize(
    "name", ["external in a subgraph", "custom domain", "cyclic graph", "opset from the future", "1 GB declared, 16 bytes there"]
)
def test_a_hostile_network_in_an_honest_wrapping_is_refused(bundle: Path, tmp_path: Path, sandbox: SandboxVerifier, name: str) -> None:
    there = make_world(tmp_path / "there", sandbox)
    make, code = networks.HOSTILE[name]
    network = base64.b64encode(make().SerializeToString()).decode()

    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(change(bundle, lambda document: document["model"].update(onnx_model_base64=network), is_resealed=True))

    assert (caught.value.code, caught.value.field) == (code, "$.model.onnx_model_base64")
    assert_untouched(there)


def test_a_network_that_does_not_repeat_its_samples_is_refused_and_verify_says_failed(
    bundle: Path, tmp_path: Path, sandbox: SandboxVerifier
) -> None:
    there = make_world(tmp_path / "there", sandbox)
    network = base64.b64encode(networks.make_network(scale=1001.0).SerializeToString()).decode()
    forged = change(bundle, lambda document: document["model"].update(onnx_model_base64=network), is_resealed=True)

    with pytest.raises(BundleError) as caught:
        there.bundles.import_file(forged)
    assert (caught.value.code, caught.value.field) == ("sample_mismatch", "$.sample_predictions")
    assert_untouched(there)

    summary, verification = there.bundles.verify_file(forged)
    assert summary.model_name == "Demo model"
    assert summary.num_repeatable_samples == 5
    assert (verification.status, verification.total) == ("failed", 5)
    assert verification.matched is not None
    assert verification.matched < 5
    assert verification.checks[-1].status == "failed"


def test_verify_touches_neither_database_nor_artifacts(here: World, bundle: Path, sandbox: SandboxVerifier, tmp_path: Path) -> None:
    there = make_world(tmp_path / "there", sandbox)
    summary, verification = there.bundles.verify_file(bundle)

    assert (verification.status, verification.matched, verification.total) == ("verified", 5, 5)
    assert (summary.format_version, summary.version, summary.has_integrity) == ("1.1.0", "3", True)
    assert_untouched(there)


# -- faults ----------------------------------------------------------------------------------------------------------


class Fault(Exception):
    """Stands for anything that can go wrong, a kill of the request's thread included."""


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def act(*_: Any, **__: Any) -> NoReturn:
        raise error

    return act


def _break_second_put(world: World, error: BaseException) -> None:
    put, calls = world.artifacts.put, []

    def act(key: str, source: Path) -> None:
        calls.append(key)
        if len(calls) == 2:
            raise error
        put(key, source)

    world.artifacts.put = act  # type: ignore[method-assign]


def _break_write(world: World, error: BaseException, *, is_after: bool) -> None:
    write = world.store.write

    @contextmanager
    def act() -> Iterator[Any]:
        if is_after:
            with write() as tx:
                yield tx
                raise error
        raise error

    world.store.write = act  # type: ignore[method-assign]


STEPS: dict[str, Callable[[World, BaseException], Any]] = {
    "verifying": lambda world, error: setattr(world.verifier, "examine", _raise(error)),
    "first put": lambda world, error: setattr(world.artifacts, "put", _raise(error)),
    "second put": _break_second_put,
    "before the transaction": lambda world, error: _break_write(world, error, is_after=False),
    "at the commit": lambda world, error: _break_write(world, error, is_after=True),
}


@pytest.mark.parametrize(
    "error",
    [Fault("boom"), UnavailableError("away"), StorageFullError("full"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_any_step_leaves_no_file_and_no_row_and_the_next_try_works(
    tmp_path: Path, bundle: Path, step: str, error: BaseException
) -> None:
    there = make_world(tmp_path / "there")
    STEPS[step](there, error)
    with pytest.raises(type(error)):
        there.bundles.import_file(bundle)
    assert_untouched(there)

    again = make_world(tmp_path / "there")
    assert again.bundles.import_file(bundle)[1]


def test_a_full_disk_while_reading_leaves_nothing(there: World, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_reader.BundleScanner, "scan", _raise(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(StorageFullError, match="full"):
        there.bundles.import_file(bundle)
    assert_untouched(there)


def test_a_database_lost_after_its_commit_keeps_the_files_of_the_row_it_has(there: World, bundle: Path) -> None:
    write = there.store.write

    @contextmanager
    def commit_then_vanish() -> Iterator[Any]:
        with write() as tx:
            yield tx
        raise UnavailableError("the answer to the commit was lost")

    there.store.write = commit_then_vanish  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        there.bundles.import_file(bundle)
    there.store.write = write  # type: ignore[method-assign]

    (listed,) = there.models.find_all()
    assert there.artifacts.exists(listed.onnx_path)
    assert there.bundles.import_file(bundle)[1] is False


def test_two_imports_of_one_bundle_at_once_make_one_model(there: World, bundle: Path) -> None:
    barrier = threading.Barrier(2)

    class Meeting(TrustingVerifier):
        def examine(self, onnx_path: Path, samples_path: Path | None, on_check: OnCheck | None = None) -> Examination:
            barrier.wait(10)
            return super().examine(onnx_path, samples_path, on_check)

    there.bundles._verifier = Meeting()
    second = bundle.with_name("second.heimdall")
    shutil.copy(bundle, second)
    answers: list[tuple[str, bool]] = []

    def run(path: Path) -> None:
        model, is_new = there.bundles.import_file(path)
        answers.append((model.id, is_new))

    threads = [threading.Thread(target=run, args=(path,)) for path in (bundle, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(is_new for _, is_new in answers) == [False, True]
    assert len({model_id for model_id, _ in answers}) == 1
    assert there.files() == [f"models/{answers[0][0]}/model.onnx", f"models/{answers[0][0]}/samples.safetensors"]


def test_a_conflict_with_the_import_that_won_gives_its_model(there: World, bundle: Path) -> None:
    won, _ = there.bundles.import_file(bundle)
    find, calls = there.bundles._find, []

    def miss_first(bundle_hash: str) -> Any:
        calls.append(bundle_hash)
        return None if len(calls) == 1 else find(bundle_hash)

    there.bundles._find = miss_first  # type: ignore[method-assign]
    there.store.write = _conflicting  # type: ignore[method-assign]

    got, is_new = there.bundles.import_file(bundle)

    assert (got, is_new) == (won, False)
    assert len(there.files()) == 2


@contextmanager
def _conflicting() -> Iterator[Any]:
    raise ConflictError("another import was first")
    yield


def test_a_failed_check_of_the_verifier_is_the_error_of_the_import(there: World, bundle: Path) -> None:
    failure = CheckFailure(code="limits", detail="It did not finish.", field="$.model.onnx_model_base64")
    found = Examination(verification=Verification(status="failed"), failure=failure)
    there.verifier.examine = lambda *_: found  # type: ignore[method-assign]
    with pytest.raises(HeimdallError, match=r"It did not finish\.") as caught:
        there.bundles.import_file(bundle)
    assert caught.value.code == "limits"
    assert_untouched(there)


# -- anything at all -------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_the_bytes_it_is_refused_in_words_or_it_is_the_same_model(
    bundle: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = bundle.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 50)))
    other = data.draw(st.binary(max_size=8) | st.sampled_from([b"null", b"{}", b"[]", b'"', b"1e99", b"NaN", b",", b"\\u0000", b"-1"]))
    changed = tmp_path / "changed.heimdall"
    changed.write_bytes(whole[:start] + other + whole[end:])
    world = make_world(tmp_path / f"fuzz-{uuid.uuid4()}")
    outcome = _try_import(world, changed)
    if isinstance(outcome, HeimdallError):
        assert outcome.detail.endswith(".")
        assert outcome.code in {"unsupported_media", "bundle_json", "bundle_schema", "bundle_integrity"}
        assert_untouched(world)
    else:
        assert outcome.sha256 == hashlib.sha256(base64.b64decode(read_json(bundle)["model"]["onnx_model_base64"])).hexdigest()


def _try_import(world: World, path: Path) -> TrainedModelDetail | HeimdallError:
    try:
        return world.bundles.import_file(path)[0]
    except HeimdallError as error:
        return error


def test_a_bundle_that_comes_back_to_where_it_was_made_is_here_already(tmp_path: Path) -> None:
    world = make_world(tmp_path / "artifacts")
    model = add_model(world)
    bundle = world.write_bundle("model-1", tmp_path / "own.heimdall")
    assert world.bundles.import_file(bundle) == (model, False)
    assert len(world.models.find_all()) == 1


def test_a_network_from_here_is_run_again_where_its_bundle_says_other_things(tmp_path: Path, sandbox: SandboxVerifier) -> None:
    world = make_world(tmp_path / "artifacts", sandbox)
    model = add_model(world)
    bundle = world.write_bundle("model-1", tmp_path / "own.heimdall")
    assert world.bundles.import_file(bundle) == (model, False)

    def lie(document: dict[str, Any]) -> None:
        first, second = document["sample_predictions"][:2]
        first["expected_output_base64"] = second["expected_output_base64"]

    with pytest.raises(BundleError):
        world.bundles.import_file(change(bundle, lie, is_resealed=True))
    with world.store.read() as tx:
        entries = tx.audit.find(AuditQuery())
    assert [entry.action for entry in entries] == ["import_refused", "import", "export"]
    assert (entries[1].subject_id, entries[1].detail["already_here"]) == ("model-1", True)


def test_a_bundle_with_the_id_of_another_network_is_a_model_of_its_own(tmp_path: Path) -> None:
    origin, world = make_world(tmp_path / "origin"), make_world(tmp_path / "artifacts")
    add_model(origin)
    add_model(world, sha256="f" * 64)
    found, is_new = world.bundles.import_file(origin.write_bundle("model-1", tmp_path / "own.heimdall"))
    assert (is_new, found.id == "model-1") == (True, False)


def test_a_description_that_names_another_opset_fails_by_name(tmp_path: Path) -> None:
    origin, world = make_world(tmp_path / "origin"), make_world(tmp_path / "artifacts")
    add_model(origin, onnx_opset=17)  # the network, as the verifier measures it, has 18
    bundle = origin.write_bundle("model-1", tmp_path / "odd.heimdall")
    with pytest.raises(BundleError, match="says opset 17, the network itself has 18") as caught:
        world.bundles.import_file(bundle)
    assert (caught.value.code, caught.value.field) == ("onnx_opset", "$.model.onnx_opset")
    assert (world.files(), world.models.find_all()) == ([], [])
    assert world.bundles.verify_file(bundle)[1].status == "failed"
