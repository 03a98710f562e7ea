"""The hot paths cost what the table says. Counted, not timed: a busy machine changes nothing (see ``judging.py`` for the table)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.budget.judging import VERSION, find_excess, read_table, read_version
from tests.budget.seeded import MISTAKES

ROOT = Path(__file__).parents[2]
PATHS = read_table()

pytestmark = pytest.mark.skipif(read_version() != VERSION, reason=f"the table is of Python {read_version()}")


@pytest.fixture(scope="module")
def counted() -> Any:
    """Count in a process of its own, into which no other test has put anything."""
    command = [sys.executable, "-m", "tests.budget.judging"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.parametrize("path", PATHS)
def test_a_hot_path_stays_within_its_budget(path: str, counted: Any) -> None:
    assert not find_excess(counted["plain"][path], PATHS[path]), "cheaper is possible, or say why not in the commit and run: make budget"


def test_every_path_has_a_budget(counted: Any) -> None:
    assert set(counted["plain"]) == set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_a_fifth_more_work_is_seen_and_noise_is_not(path: str, counted: Any) -> None:
    plain, seeded = counted["plain"][path], counted["seeded"][path]
    assert find_excess(seeded["20%"], plain)
    assert not find_excess(seeded["3%"], plain)


@pytest.mark.parametrize("path", MISTAKES)
def test_a_mistake_in_the_product_is_seen(path: str, counted: Any) -> None:
    assert find_excess(counted["seeded"][path]["mistake"], counted["plain"][path])
