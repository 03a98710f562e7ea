"""Names that would lie on a screen are refused where they come in."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from heimdall.domain.base import BIDI_CONTROLS
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.jobs import TrainingJobConfig


@pytest.mark.parametrize("letter", sorted(BIDI_CONTROLS))
def test_a_letter_that_turns_the_writing_is_refused_with_a_sentence(letter: str) -> None:
    name = f"run{letter}gnp.exe"
    with pytest.raises(ValidationError, match="turn the direction of writing"):
        TrainingJobConfig(job_name=name, dataset_id="d")
    with pytest.raises(ValidationError, match="turn the direction of writing"):
        SyntheticDatasetConfig(name=name)


@pytest.mark.parametrize("name", ["عربي", "עברית", "Über 塔 🗼", "x" * 255])
def test_names_in_any_script_are_taken(name: str) -> None:
    assert TrainingJobConfig(job_name=name, dataset_id="d").job_name == name
