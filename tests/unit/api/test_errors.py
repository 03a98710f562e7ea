"""Every error of the product has one status, and validation speaks in sentences."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from heimdall.api import errors
from heimdall.api.bodies import parse_json, validate
from heimdall.domain.errors import BundleError, HeimdallError, InvalidInputError, StorageFullError
from heimdall.domain.jobs import TrainingJobConfig


def all_errors(kind: type[HeimdallError] = HeimdallError) -> list[type[HeimdallError]]:
    return [found for child in kind.__subclasses__() for found in (child, *all_errors(child)) if found.__module__.startswith("heimdall.")]


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.__module__ == "heimdall.domain.errors"])
def test_no_error_of_the_domain_is_the_server_s_fault(kind: type[HeimdallError]) -> None:
    assert errors.status_of(kind("a sentence.")) in {401, 404, 409, 413, 415, 422, 429, 503}


def test_a_bare_error_is_500() -> None:
    assert errors.status_of(HeimdallError("?")) == 500


def test_a_subclass_takes_its_parent_s_status() -> None:
    assert errors.status_of(StorageFullError("full.")) == 503
    assert errors.status_of(BundleError("bad.", code="bundle_hash")) == 422


def test_a_full_disk_says_when_to_try_again() -> None:
    assert errors.error_response(StorageFullError("full.")).headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "job_name", "job_name is required."),
        ({"job_name": "a", "dataset_id": "d", "epochs": 0}, "epochs", "epochs should be at least 1."),
        ({"job_name": "a\t", "dataset_id": "d", "x": 1}, "x", "There is no field 'x'. Known are: job_name, epochs"),
        ({"job_name": "a\tb", "dataset_id": "d"}, "job_name", "job_name must not contain control characters."),
        ({"job_name": "", "dataset_id": "d"}, "job_name", "job_name must not be empty."),
        ([], None, "JSON object"),
    ],
)
def test_validation_says_what_is_wrong(body: object, field: str | None, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        validate(TrainingJobConfig, body)
    assert caught.value.field == field
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "raw", [b"NaN", b"[Infinity]", b"", b"{'a': 1}", b'{"a": 1,}', b'"\\ud800"', b'"\\u0000"', b"[" * 2000 + b"]" * 2000]
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_json(raw)


def test_a_hostile_name_is_cut_in_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingJobConfig.model_validate({"y" * 5000: 1})
    error = errors.invalid_body(caught.value, TrainingJobConfig)
    assert len(error.detail) < 1000
