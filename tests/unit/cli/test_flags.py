from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from heimdall.cli.flags import name_flags
from heimdall.domain.errors import InvalidInputError
from tests.unit.cli.fakes import FakeServer

Run = Callable[..., tuple[int, str, str]]
READY = {"id": "d1", "name": "July", "status": "ready"}


@pytest.mark.parametrize(
    ("detail", "field", "words"),
    [
        (
            "job_name must not be empty. epochs should be at least 1.",
            "job_name",
            "--name must not be empty. --epochs should be at least 1.",
        ),
        ("There is no architecture 'x'. Choose from: a, b.", "model_architecture", "There is no architecture 'x'. Choose from: a, b."),
        ("Choose another.", "device", "--device: Choose another."),
        ("The checkpoint already holds 3 epochs.", "epochs", "The checkpoint already holds 3 epochs."),
        ("dataset_id is required.", "dataset_id", "--dataset is required."),
    ],
)
def test_servers_sentence_names_the_flags_of_the_command(run_cli: Run, detail: str, field: str, words: str) -> None:
    problem = httpx.Response(422, json={"code": "invalid_input", "detail": detail, "field": field})
    server = FakeServer({"GET /training/datasets": {"datasets": [READY]}, "POST /training/jobs": problem})
    code, _, err = run_cli("train", "--detach", server=server)
    assert (code, err.splitlines()[-1]) == (1, words)
    found = json.loads(run_cli("train", "--detach", "--json", server=server)[2])
    assert found == {"code": "invalid_input", "detail": words, "field": field}


def test_word_of_a_sentence_that_is_also_a_field_stays_a_word() -> None:
    error = InvalidInputError("The seed of the split is stored; min_seed_count is not.", field=None)
    name_flags(error, {"seed": "--seed"})
    assert error.detail == "The seed of the split is stored; min_seed_count is not."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "--epochs", "0"], "--epochs should be at least 1. See: heimdall train --help\n"),
        (["train", "--learning-rate", "fast"], "--learning-rate should be a number. See: heimdall train --help\n"),
        (["up", "--port", "99999"], "--port should be at most 65535. See: heimdall up --help\n"),
        (["job", "show"], "Missing argument 'JOB'. See: heimdall job show --help\n"),
        (["tarin"], "No such command 'tarin'. Did you mean 'train'? See: heimdall --help\n"),
        (["train", "--foo"], "No such option: --foo. See: heimdall train --help\n"),
    ],
)
def test_usage_error_is_one_sentence_without_the_parsers_words(run_cli: Run, words: list[str], sentence: str) -> None:
    assert run_cli(*words) == (2, "", sentence)
