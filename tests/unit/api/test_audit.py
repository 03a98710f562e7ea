"""Every act over the border leaves its line: who, through which request, to what; what was refused or read leaves none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import Served, make_container, serve
from tests.unit.services.bundle_world import add_model, make_world

TOKEN = "the spare key of this test"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("audited"), token=TOKEN)) as running:
        running.api.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


def entries(served: Served, **query: Any) -> list[dict[str, Any]]:
    answer = served.api.get("/audit", params={"limit": 1000, **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


def acts(served: Served, subject_id: str) -> list[str]:
    return [entry["action"] for entry in reversed(entries(served, subject_id=subject_id))]


def test_a_jobs_life_is_written_down(served: Served) -> None:
    dataset = served.add_dataset()
    job = served.create_job(dataset, job_name="night run")
    served.api.get(f"/training/jobs/{job}")
    assert served.api.post(f"/training/jobs/{job}/resume").status_code == 409
    for path, number in (("pause", 202), ("resume", 202), ("pause", 202)):
        answer = served.api.post(f"/training/jobs/{job}/{path}", headers={"X-Request-Id": f"request-{path}"})
        assert answer.status_code == number
        assert answer.headers["x-request-id"] == f"request-{path}"
    assert served.api.delete(f"/training/jobs/{job}").status_code == 200
    assert served.api.delete(f"/training/jobs/{job}").status_code == 204
    assert acts(served, job) == ["create", "pause", "resume", "pause", "cancel", "delete"]
    [newest, *_] = entries(served, subject_id=job, limit=1)
    assert (newest["who"], newest["means"], newest["role"], newest["client"]) == ("token", "token", "admin", "127.0.0.1")
    assert newest["subject_name"] == "night run"
    assert entries(served, action="pause", subject_id=job)[0]["request_id"] == "request-pause"


def test_data_sets_are_written_down(served: Served) -> None:
    made = served.api.post("/training/datasets", json={"kind": "synthetic", "name": "made", "num_examples": 1000}).json()["id"]
    files = {"file": ("a.csv", b"x,y\n1,2\n", "text/csv")}
    brought = served.api.post("/training/datasets", data={"kind": "rssi-csv", "name": "brought"}, files=files).json()["id"]
    for dataset in (made, brought):
        assert served.api.delete(f"/training/datasets/{dataset}").status_code == 204
    assert acts(served, made) == ["create", "delete"]
    assert acts(served, brought) == ["import", "delete"]


def test_models_coming_going_and_refused_are_written_down(served: Served, tmp_path: Any) -> None:
    world = make_world(tmp_path)
    add_model(world)
    bundle = world.write_bundle("model-1", tmp_path / "m.heimdall")
    with bundle.open("rb") as file:
        answer = served.api.post("/training/models/import", files={"file": file})
    assert answer.status_code == 201, answer.text
    model = answer.json()["model_id"]
    assert served.api.patch(f"/training/models/{model}", json={"name": "renamed"}).status_code == 200
    assert served.api.get(f"/training/models/{model}/export").status_code == 200
    assert served.api.delete(f"/training/models/{model}").status_code == 204
    assert acts(served, model) == ["import", "rename", "export", "delete"]
    assert served.api.post("/training/models/import", files={"file": ("x", b'{"a": 1}')}).status_code == 422
    [refused] = entries(served, action="import_refused")
    assert (refused["subject_id"], refused["detail"]["code"][:6]) == (None, "bundle")
    verdicts = served.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'heimdall_import_verdicts_total{verdict="verified"} 1.0' in verdicts
    assert f'heimdall_import_verdicts_total{{verdict="{refused["detail"]["code"]}"}} 1.0' in verdicts


def test_pages_join_without_a_gap(served: Served) -> None:
    for _ in range(3):
        served.create_job(served.add_dataset("pages") if not entries(served, action="create") else "dataset-ready")
    whole, pieces, before = entries(served), [], None
    while True:
        page = served.api.get("/audit", params={"limit": 2, **({"before": before} if before else {})}).json()
        pieces += page["entries"]
        before = page["next_before"]
        if before is None:
            break
    assert pieces == whole
