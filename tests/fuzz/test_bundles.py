"""The short form of the campaign of ``bundles.py``: the whole corpus, then some hundred new ways to break a bundle."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from heimdall.domain.errors import BundleError
from tests.fuzz.bundles import CORPUS, Workshop, shake


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_was_ever_hard_stays_harmless(workshop: Workshop, path: Path) -> None:
    workshop.judge(path)


def test_a_bundle_broken_anyhow_is_refused_in_words_and_leaves_nothing(workshop: Workshop) -> None:
    shake(workshop, num_files=150, num_networks=5)


def test_the_judges_can_say_no(workshop: Workshop) -> None:
    """A fault put in on purpose is found: an import that keeps its file although it refuses."""
    keeping = replace_bundles(workshop)
    with pytest.raises(AssertionError):
        keeping.judge_file(b"{}")


def replace_bundles(workshop: Workshop) -> Workshop:
    faulty = copy.copy(workshop)
    artifacts = workshop.there.artifacts

    class Keeping:
        def import_file(self, path: Path) -> NoReturn:
            with artifacts.write("models/kept/model.onnx") as target:
                target.write(path.read_bytes())
            raise BundleError("no", code="bundle_json")

    faulty.there = replace(workshop.there, bundles=Keeping())  # type: ignore[arg-type]
    return faulty
