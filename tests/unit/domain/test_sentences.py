from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from heimdall.domain.jobs import TrainingJobConfig
from heimdall.domain.sentences import describe_fault


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("epochs", 0, "epochs should be at least 1."),
        ("epochs", "many", "epochs should be a whole number."),
        ("learning_rate", 2, "learning_rate should be at most 1."),
        ("learning_rate", "fast", "learning_rate should be a number."),
        ("job_name", 5, "job_name should be text."),
        ("job_name", "", "job_name must not be empty."),
        ("job_name", "a\tb", "job_name must not contain control characters."),
        ("device", "tpu", "device should be 'auto', 'cpu' or 'cuda'."),
    ],
)
def test_every_kind_of_fault_is_one_sentence_without_the_validators_words(field: str, value: object, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingJobConfig.model_validate({"job_name": "a", "dataset_id": "d", field: value})
    [fault] = caught.value.errors()
    assert describe_fault(field, fault["msg"]) == sentence


def test_missing_value_is_required() -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingJobConfig.model_validate({"job_name": "a"})
    assert describe_fault("dataset_id", caught.value.errors()[0]["msg"]) == "dataset_id is required."


def test_truth_is_not_called_a_boolean() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(bool).validate_python("perhaps")
    assert describe_fault("--flag", caught.value.errors()[0]["msg"]) == "--flag should be true or false."
