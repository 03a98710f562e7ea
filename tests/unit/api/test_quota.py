"""Beyond the quota the server takes nothing new, says so where an operator looks, and stays ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Served, make_container, serve


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("full")
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "big").write_bytes(b"x" * 2_000_000)
    with serve(make_container(folder, disk_quota_mb=1)) as running:
        running.add_dataset()
        yield running


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/training/jobs", {"json": {"job_name": "job", "dataset_id": "dataset-ready"}}),
    ("/training/datasets", {"json": {"kind": "synthetic", "name": "more"}}),
    ("/training/models/import", {"files": {"file": ("a.heimdall", b"{}")}}),
]


@pytest.mark.parametrize(("path", "body"), REQUESTS, ids=[path for path, _ in REQUESTS])
def test_what_would_be_kept_is_refused_with_what_to_do(full: Served, path: str, body: dict[str, Any]) -> None:
    answer = full.api.post(path, **body)
    assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
    assert "HEIMDALL_DISK_QUOTA_MB" in answer.json()["detail"]


def test_the_server_stays_ready_and_names_the_warning(full: Served) -> None:
    answer = full.client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert [warning["name"] for warning in answer.json()["warnings"]] == ["disk"]
    assert "of its quota of 1 MB" in answer.json()["warnings"][0]["detail"]
    assert "/" not in answer.json()["warnings"][0]["detail"], "anybody may ask: no path of the machine"


def test_the_page_is_told_without_an_error(full: Served) -> None:
    answer = full.api.get("/health/warnings")
    assert answer.status_code == 200
    (warning,) = answer.json()["warnings"]
    assert warning["name"] == "disk"
    assert "raise HEIMDALL_DISK_QUOTA_MB. Nothing new is taken until there is room; what runs goes on." in warning["detail"]


def test_there_is_no_warning_while_there_is_room(tmp_path: Path) -> None:
    with serve(make_container(tmp_path, disk_quota_mb=10_000, disk_warn_free_mb=0)) as served:
        assert served.api.get("/health/warnings").json() == {"warnings": []}


def test_the_numbers_say_it(full: Served) -> None:
    lines = dict(line.rsplit(" ", 1) for line in full.client.get("/metrics").text.splitlines() if line.startswith("heimdall_disk"))
    assert lines["heimdall_disk_warning"] == "1.0"
    assert float(lines["heimdall_disk_used_bytes"]) > float(lines["heimdall_disk_quota_bytes"]) == 1e6
    assert float(lines["heimdall_disk_free_bytes"]) > 0


def test_a_job_that_runs_goes_on_and_a_repeated_create_still_finds_its_job(tmp_path: Path) -> None:
    with serve(make_container(tmp_path, disk_quota_mb=10_000)) as served:
        body = {"job_name": "job", "dataset_id": served.add_dataset(), "epochs": 5}
        first = served.api.post("/training/jobs", json=body, headers={"Idempotency-Key": "k"}).json()
        claim = served.claim(first["job_id"])
    with serve(make_container(tmp_path, disk_quota_mb=1)) as served:
        (tmp_path / "big").write_bytes(b"x" * 2_000_000)
        served.record(claim, 1)
        assert served.api.get(f"/training/jobs/{first['job_id']}").json()["current_epoch"] == 1
        again = served.api.post("/training/jobs", json=body, headers={"Idempotency-Key": "k"})
        assert (again.status_code, again.json()["job_id"]) == (201, first["job_id"])
