"""The dashboard of deploy/ asks only for numbers that the server gives, and the operations page explains each of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.serving import make_container, serve

ROOT = Path(__file__).parents[3]
_NAME = re.compile(r"\bheimdall_[a-z_]+")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with serve(make_container(tmp_path_factory.mktemp("measured"), disk_quota_mb=1000)) as served:
        served.create_job(served.add_dataset())
        claim = served.claim(served.create_job("dataset-ready"))
        served.record(claim, 1)
        text = served.client.get("/metrics").text
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(numbers["heimdall_queue_depth"]) == 1
    assert float(numbers['heimdall_jobs{status="running"}']) == 1
    assert 0 <= float(numbers['heimdall_dispatch_seconds{quantile="0.95"}']) < 60
    assert 0 <= float(numbers["heimdall_lease_age_seconds"]) < 60
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return families | {line.split("{")[0].split(" ")[0] for line in numbers}


def test_every_panel_asks_for_what_there_is(given: set[str]) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel["targets"] for name in _NAME.findall(target["expr"])}
    assert len(asked) > 15
    assert {name.removesuffix("_bucket") for name in asked} <= {name.removesuffix("_bucket") for name in given}


def test_the_operations_page_explains_every_number(given: set[str]) -> None:
    page = (ROOT / "docs" / "howto" / "observe.md").read_text()
    families = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in given}
    explained = {re.sub(r"_total$", "", name) for name in _NAME.findall(page)}
    assert families - explained == set()
