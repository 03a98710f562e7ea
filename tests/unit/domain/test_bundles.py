"""The bundle's schema: what is read, what is refused with which path, and what the hashes cover."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.domain.bundles import (
    check_integrity,
    identify,
    make_file_name,
    make_integrity,
    parse_bundle,
)
from heimdall.domain.errors import BundleError

FIXTURES = sorted((Path(__file__).parent / "bundles_1_0_0").glob("*.json"))


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((Path(__file__).parent / "bundles_1_0_0" / f"{name}.json").read_text())
    return document


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_bundles_of_1_0_0_are_read(path: Path) -> None:
    bundle = parse_bundle(json.loads(path.read_text()))
    assert bundle.format_version == "1.0.0"
    assert bundle.repeatable_samples == ()


def test_what_is_no_number_is_left_out() -> None:
    bundle = parse_bundle(load("nan"))
    assert bundle.performance_metrics is not None
    assert bundle.performance_metrics.final_val_loss is None
    assert bundle.performance_metrics.best_epoch is None
    assert bundle.performance_metrics.final_train_loss == 0.123
    assert bundle.model.parameters_count is None
    assert bundle.normalization_stats is not None
    assert bundle.normalization_stats.feature_means == (None, 1.0)


def test_a_single_data_set_is_a_list_of_one_and_unknown_keys_are_kept_where_they_are_harmless() -> None:
    bundle = parse_bundle(load("singular-and-unknown"))
    assert bundle.training_config is not None
    assert bundle.training_config.dataset_ids == ("11111111-2222-4333-8444-555555555555",)
    assert bundle.training_config.dataset_names == ("Autumn",)
    assert bundle.training_config.model_extra == {"early_stopping": True, "early_stopping_patience": 10}
    assert bundle.model.version == "1"


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("format_version",), None, "$.format_version"),
        (("format_version",), "2.0.0", "$.format_version"),
        (("format_version",), "1", "$.format_version"),
        (("format_version",), 1.0, "$.format_version"),
        (("bundle_metadata",), ..., "$.bundle_metadata"),
        (("bundle_metadata",), [], "$.bundle_metadata"),
        (("bundle_metadata", "bundle_id"), ..., "$.bundle_metadata.bundle_id"),
        (("bundle_metadata", "bundle_id"), "", "$.bundle_metadata.bundle_id"),
        (("model",), None, "$.model"),
        (("model", "model_name"), ..., "$.model.model_name"),
        (("model", "model_name"), 7, "$.model.model_name"),
        (("model", "architecture"), None, "$.model.architecture"),
        (("model", "onnx_opset"), "17", "$.model.onnx_opset"),
        (("model", "onnx_opset"), True, "$.model.onnx_opset"),
        (("model", "parameters_count"), -1, "$.model.parameters_count"),
        (("model", "parameters_count"), "many", "$.model.parameters_count"),
        (("training_config", "epochs"), "100", "$.training_config.epochs"),
        (("training_config", "dataset_ids"), "one", "$.training_config.dataset_ids"),
        (("performance_metrics", "final_val_loss"), "low", "$.performance_metrics.final_val_loss"),
        (("performance_metrics", "final_val_loss"), True, "$.performance_metrics.final_val_loss"),
        (("normalization_stats", "feature_means"), [1.0, "x"], "$.normalization_stats.feature_means[1]"),
        (("sample_predictions",), {"a": 1}, "$.sample_predictions"),
        (("sample_predictions", 0, "sample_id"), ..., "$.sample_predictions[0].sample_id"),
        (("sample_predictions", 0, "ground_truth"), "here", "$.sample_predictions[0].ground_truth"),
        (("sample_predictions", 0, "input_base64"), "AAAA", "$.sample_predictions[0]"),
        (("sample_predictions", 0, "ground_truth"), {"latitude": 999}, "$.sample_predictions[0].ground_truth.latitude"),
        (("sample_predictions", 0, "prediction"), {"longitude": -180.5}, "$.sample_predictions[0].prediction.longitude"),
        (("sample_predictions", 0, "prediction"), {"uncertainty_x": -1.0}, "$.sample_predictions[0].prediction.uncertainty_x"),
        (("sample_predictions", 0, "prediction"), {"uncertainty_y": -1e-9}, "$.sample_predictions[0].prediction.uncertainty_y"),
        (("sample_predictions", 0, "error_meters"), -3.0, "$.sample_predictions[0].error_meters"),
        (("bundle_metadata", "bundle_id"), "b" * 101, "$.bundle_metadata.bundle_id"),
        (("bundle_metadata", "description"), "d" * 2001, "$.bundle_metadata.description"),
        (("model", "model_name"), "n" * 256, "$.model.model_name"),
        (("model", "architecture"), "a" * 101, "$.model.architecture"),
        (("model", "version"), "1" * 101, "$.model.version"),
        (("training_config", "dataset_names"), ["short", "n" * 256], "$.training_config.dataset_names[1]"),
        (("receivers",), [{"id": "a", "latitude": 91}], "$.receivers[0].latitude"),
        (("coordinate_frame",), {"latitude": math.nan, "longitude": 0}, "$.coordinate_frame.latitude"),
        (("coordinate_frame",), {"kind": "utm", "latitude": 1, "longitude": 0}, "$.coordinate_frame.kind"),
        (("integrity",), {"onnx_sha256": "0" * 63, "blocks": {}}, "$.integrity.onnx_sha256"),
        (("integrity",), {"algorithm": "md5", "onnx_sha256": "0" * 64, "blocks": {}}, "$.integrity.algorithm"),
    ],
)
def test_a_fault_is_refused_with_its_json_path(path: tuple[Any, ...], value: Any, field: str) -> None:
    document = load("complete")
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value

    with pytest.raises(BundleError) as caught:
        parse_bundle(document)

    assert (caught.value.code, caught.value.field) == ("bundle_schema", field)


def test_a_name_is_refused_with_its_limit_and_never_cut() -> None:
    document = load("complete")
    document["model"]["model_name"] = "n" * 255
    assert parse_bundle(document).model.model_name == "n" * 255

    document["model"]["model_name"] += "n"
    with pytest.raises(BundleError) as caught:
        parse_bundle(document)
    assert caught.value.detail == "The bundle's $.model.model_name should have at most 255 characters."


def test_a_sample_without_numbers_is_no_fault() -> None:
    document = load("complete")
    document["sample_predictions"][0].update(
        ground_truth={"latitude": math.nan}, prediction={"uncertainty_x": math.inf, "longitude": None}, error_meters=math.nan
    )
    sample = (parse_bundle(document).sample_predictions or ())[0]
    assert sample.ground_truth is not None
    assert sample.prediction is not None
    assert (sample.ground_truth.latitude, sample.prediction.uncertainty_x, sample.error_meters) == (None, None, None)


@pytest.mark.parametrize("document", [[], "text", 7, None, {}])
def test_what_is_no_bundle_is_refused(document: Any) -> None:
    with pytest.raises(BundleError) as caught:
        parse_bundle(document)
    assert caught.value.code == "bundle_schema"


def _blocks() -> dict[str, Any]:
    document = load("complete")
    document["model"].pop("onnx_model_base64")
    return document


def test_hashes_of_an_unchanged_document_agree_whatever_the_order_of_keys() -> None:
    document = _blocks()
    turned = json.loads(json.dumps(document, sort_keys=True, indent=1))
    stated, actual = make_integrity(document, "a" * 64), make_integrity(turned, "a" * 64)
    check_integrity(stated, actual)
    assert identify(stated) == identify(actual)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda document: document["performance_metrics"].update(final_val_loss=0.1), "$.performance_metrics"),
        (lambda document: document["model"].update(model_name="better"), "$.model"),
        (lambda document: document.update(training_config=None), "$.integrity.blocks.training_config"),
        (lambda document: document.update(receivers=[]), "$.integrity.blocks.receivers"),
        (lambda document: document["sample_predictions"].append({}), "$.sample_predictions"),
    ],
)
def test_any_change_of_a_block_is_found_and_named(change: Any, field: str) -> None:
    document = _blocks()
    stated = make_integrity(document, "a" * 64)
    changed = copy.deepcopy(document)
    change(changed)

    with pytest.raises(BundleError) as caught:
        check_integrity(stated, make_integrity(changed, "a" * 64))

    assert (caught.value.code, caught.value.field) == ("bundle_integrity", field)
    assert identify(stated) != identify(make_integrity(changed, "a" * 64))


def test_a_changed_network_is_found() -> None:
    document = _blocks()
    with pytest.raises(BundleError) as caught:
        check_integrity(make_integrity(document, "a" * 64), make_integrity(document, "b" * 64))
    assert caught.value.field == "$.model.onnx_model_base64"


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("demo", 1, "demo-v1.heimdall"),
        ("My Model (2)", 12, "My-Model-2-v12.heimdall"),
        ("../../etc/passwd", 1, "etc-passwd-v1.heimdall"),
        ("a\r\nSet-Cookie: x", 1, "a-Set-Cookie-x-v1.heimdall"),
        ("Fréquence é", 2, "Frequence-e-v2.heimdall"),
        ("模型", 3, "model-v3.heimdall"),
        ("...", 1, "model-v1.heimdall"),
        ("x" * 300, 1, "x" * 100 + "-v1.heimdall"),
    ],
)
def test_file_names_are_safe_in_a_header_without_quotes(name: str, version: int, expected: str) -> None:
    assert make_file_name(name, version) == expected


@settings(deadline=None)
@given(st.text(), st.integers(1, 10**6))
def test_no_name_escapes_the_safe_letters(name: str, version: int) -> None:
    made = make_file_name(name, version)
    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert not made.startswith((".", "-"))
