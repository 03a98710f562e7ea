"""The REST half of the contract, over a real server."""

from __future__ import annotations

import csv
import io
import json
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.storage.jobs import SqlJobs
from tests.contract.served import served as served
from tests.serving import Served
from tests.unit.services.bundle_world import add_model, make_world


def problem(answer: httpx.Response, status: int, field: str = "") -> dict[str, Any]:
    """Check that the answer is a Problem with a sentence, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"code", "detail", "field"}
    assert body["detail"].endswith(".")
    if field:
        assert body["field"] == field
    return dict(body)


@pytest.fixture
def dataset_id(served: Served) -> str:
    return served.add_dataset(uuid.uuid4().hex)


def test_create_answers_the_job_and_where_it_is(served: Served, dataset_id: str) -> None:
    answer = served.api.post("/training/jobs", json={"job_name": "first", "dataset_id": dataset_id})
    assert answer.status_code == 201
    created = answer.json()
    assert created["job_id"] == created["id"]
    assert created["status"] == "pending"
    assert created["created_at"].endswith("Z")
    assert answer.headers["location"] == f"/api/v1/training/jobs/{created['id']}"
    shown = served.client.get(answer.headers["location"]).json()
    assert {**shown, "job_id": shown["id"]} == created
    assert (created["id"], False) in served.container.queue.jobs


def test_a_repeated_create_under_one_key_is_one_job(served: Served, dataset_id: str) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"job_name": "once", "dataset_id": dataset_id}
    first = served.api.post("/training/jobs", json=body, headers=key)
    second = served.api.post("/training/jobs", json=body, headers=key)
    assert (second.status_code, second.json()["job_id"]) == (201, first.json()["job_id"])
    problem(served.api.post("/training/jobs", json={**body, "epochs": 7}, headers=key), 409)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 100_001}, "epochs"),
        ({"epochs": "10"}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": None}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 4097}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 1.0001}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"validation_split": 0.04}, "validation_split"),
        ({"validation_split": 0.51}, "validation_split"),
        ({"early_stopping_patience": -1}, "early_stopping_patience"),
        ({"early_stopping_patience": 1001}, "early_stopping_patience"),
        ({"checkpoint_every_n_epochs": 0}, "checkpoint_every_n_epochs"),
        ({"job_name": ""}, "job_name"),
        ({"job_name": "   "}, "job_name"),
        ({"job_name": "x" * 256}, "job_name"),
        ({"job_name": "a\nb"}, "job_name"),
        ({"job_name": 5}, "job_name"),
        ({"model_architecture": "resnet"}, "model_architecture"),
        ({"dataset_id": "nowhere"}, "dataset_id"),
        ({"device": "tpu"}, "device"),
        ({"device": "cuda"}, "device"),
        ({"precision": "fp8"}, "precision"),
        ({"optimizer": 1}, "optimizer"),
        ({"seed": -1}, "seed"),
        ({"validation_fold": 19}, "validation_fold"),
        ({"accuracy_radius_m": 0}, "accuracy_radius_m"),
        ({"epochz": 3}, "epochz"),
    ],
)
def test_a_bad_field_is_named(served: Served, dataset_id: str, change: dict[str, Any], field: str) -> None:
    total = served.api.get("/training/jobs").json()["total"]
    problem(served.api.post("/training/jobs", json={"job_name": "bad", "dataset_id": dataset_id, **change}), 422, field)
    assert served.api.get("/training/jobs").json()["total"] == total


def test_every_unknown_field_is_named(served: Served, dataset_id: str) -> None:
    body = problem(served.api.post("/training/jobs", json={"job_name": "a", "dataset_id": dataset_id, "lr": 1, "gpu": 2}), 422, "lr")
    assert "'lr'" in body["detail"]
    assert "'gpu'" in body["detail"]
    assert "learning_rate" in body["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"job_name": NaN}',
        b'{"learning_rate": Infinity}',
        b'{"job_name": "\xff"}',
        b'{"job_name": "a\\u0000b"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 60_000,
        b'{"learning_rate": 1e999, "job_name": "a", "dataset_id": "b"}',
    ],
    ids=["empty", "cut", "list", "null", "string", "nan", "infinity", "no utf-8", "nul", "deep object", "deep list", "overflow"],
)
def test_a_body_that_is_no_json_object_is_refused(served: Served, content: bytes) -> None:
    answer = served.api.post("/training/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_a_body_of_another_kind_is_refused(served: Served, content_type: str) -> None:
    problem(served.api.post("/training/jobs", content=b"{}", headers={"Content-Type": content_type}), 415)


def test_a_body_that_is_too_large_is_refused_whether_declared_or_not(served: Served) -> None:
    large = b'{"job_name": "' + b"x" * 70_000 + b'"}'
    json_type = {"Content-Type": "application/json"}
    assert "64 kB" in problem(served.api.post("/training/jobs", content=large, headers=json_type), 413)["detail"]
    for _ in range(3):  # far more than the sockets hold: the answer comes, and no reset in its place
        problem(served.api.post("/training/jobs", content=b'"' + b" " * 30_000_000 + b'"', headers=json_type), 413)
    problem(served.api.post("/training/jobs", content=(large[i : i + 1000] for i in range(0, len(large), 1000)), headers=json_type), 413)


def test_unknown_paths_and_methods_are_problems(served: Served) -> None:
    assert "/api/v1/nothing" in problem(served.api.get("/nothing"), 404)["detail"]
    problem(served.api.post("/nothing"), 404)
    problem(served.api.get("/training/jobs/"), 404)
    problem(served.client.get("/api"), 404)
    answer = served.api.delete("/training/jobs")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("name", ["x", "../../etc/passwd", "%00", "a" * 150, "ä ö", "' OR 1=1 --"])
def test_things_that_are_not_there_are_404(served: Served, name: str) -> None:
    for path in (f"/training/jobs/{name}", f"/training/models/{name}", f"/training/datasets/{name}", f"/training/jobs/{name}/metrics"):
        answer = served.api.get(httpx.URL(f"{served.url}/api/v1{path}"))
        assert answer.status_code in (404, 422), (path, answer.text)
        assert answer.json()["detail"]


def test_the_list_filters_sorts_and_pages(served: Served, dataset_id: str) -> None:
    word = uuid.uuid4().hex
    ids = [served.create_job(dataset_id, job_name=f"{word} {number}") for number in range(5)]
    served.api.delete(f"/training/jobs/{ids[0]}")

    def names(**query: Any) -> list[str]:
        return [job["id"] for job in served.api.get("/training/jobs", params={"q": word, **query}).json()["jobs"]]

    assert names() == ids[::-1]
    assert names(sort="oldest") == ids
    assert names(status="cancelled") == ids[:1]
    assert names(status=["cancelled", "pending"]) == ids[::-1]
    assert names(status="cancelled,pending") == ids[::-1]
    assert names(status="running") == []
    first = served.api.get("/training/jobs", params={"q": word, "limit": 2}).json()
    assert (len(first["jobs"]), first["total"]) == (2, 5)
    assert "metrics" not in first["jobs"][0]
    rest = names(limit=2, cursor=first["next_cursor"])
    assert rest == ids[::-1][2:4]
    assert names(**{"sort": "", "cursor": "", "limit": ""}) == ids[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"status": "stopping"}, "status"),
        ({"sort": "colour"}, "sort"),
        ({"cursor": "made up"}, "cursor"),
    ],
)
def test_a_bad_query_is_named(served: Served, query: dict[str, Any], field: str) -> None:
    problem(served.api.get("/training/jobs", params=query), 422, field)


def test_an_unchanged_list_is_304(served: Served, dataset_id: str) -> None:
    first = served.api.get("/training/jobs")
    again = served.api.get("/training/jobs", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = served.api.get("/training/jobs?limit=1", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200
    served.create_job(dataset_id)
    assert served.api.get("/training/jobs", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_preview_says_what_can_be_reached_and_stores_nothing(served: Served) -> None:
    before = served.api.get("/training/datasets").json()["total"]
    body = {"name": "p", "waveform": "flat-12k5", "clock_sigma_ns": 50.0}
    answer = served.api.post("/training/datasets/preview?target_m=100", json=body)
    assert answer.status_code == 200
    preview = answer.json()
    assert preview["target_m"] == 100
    assert preview["sentences"][0].startswith("±100 m needs ")
    assert preview["physical_limit"]["error_p68_m"] > preview["physical_limit"]["error_median_m"] > 0
    assert served.api.get("/training/datasets").json()["total"] == before
    problem(served.api.post("/training/datasets/preview", json={**body, "waveform": "morse"}), 422, "waveform")
    problem(served.api.post("/training/datasets/preview?target_m=0", json=body), 422, "target_m")
    problem(
        served.api.post("/training/datasets/preview", json={**body, "tx_power_max_dbm": -30.0, "tx_power_min_dbm": -30.0}),
        422,
        "min_receivers",
    )


@pytest.mark.parametrize("form", ["/training/{}/{}", "/training/jobs/{1}/{0}"])
def test_pause_and_resume_say_what_they_asked_for(served: Served, dataset_id: str, form: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    paused = served.api.post(form.format("pause", job_id))
    assert (paused.status_code, paused.json()["status"], paused.json()["pending_action"]) == (202, "running", "pause")
    assert served.api.post(form.format("pause", job_id)).status_code == 202
    problem(served.api.post(form.format("resume", job_id)), 409)
    served.container.attempts.finish_paused(claim)
    resumed = served.api.post(form.format("resume", job_id))
    assert (resumed.status_code, resumed.json()["status"]) == (202, "pending")


def test_delete_cancels_what_is_active_and_removes_what_is_final(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    served.record(claim, 1)
    cancelling = served.api.delete(f"/training/jobs/{job_id}")
    assert (cancelling.status_code, cancelling.json()["pending_action"]) == (200, "cancel")
    problem(served.api.delete(f"/training/jobs/{job_id}?expect=final"), 409)
    served.container.attempts.finish_cancelled(claim)
    problem(served.api.delete(f"/training/jobs/{job_id}?expect=active"), 409)
    problem(served.api.post(f"/training/pause/{job_id}"), 409)
    deleted = served.api.delete(f"/training/jobs/{job_id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/metrics", "/metrics.csv", "/events", "/logs"):
        problem(served.api.get(f"/training/jobs/{job_id}{path}"), 404)
    problem(served.api.delete(f"/training/jobs/{job_id}"), 404)


def test_continue_without_a_checkpoint_says_so(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    problem(served.api.post(f"/training/jobs/{job_id}/continue"), 409)
    served.api.delete(f"/training/jobs/{job_id}")
    assert problem(served.api.post(f"/training/jobs/{job_id}/continue", json={"epochs": 80}), 409)["code"] == "no_checkpoint"
    problem(served.api.post(f"/training/jobs/{job_id}/continue", json={"epochs": 0}), 422, "epochs")
    problem(served.api.post(f"/training/jobs/{job_id}/continue", json={"epoch": 3}), 422, "epoch")


def test_metrics_are_the_whole_run_as_a_bare_array(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    for epoch in range(1, 41):
        served.record(claim, epoch, val_loss=float("nan") if epoch == 7 else 1 / epoch, grad_norm=1000.0 if epoch == 23 else 1.0)
    path = f"/training/jobs/{job_id}/metrics"
    rows = served.api.get(path).json()
    assert [row["epoch"] for row in rows] == list(range(1, 41))
    assert (rows[6]["val_loss"], rows[6]["non_finite"]) == (None, {"val_loss": "nan"})
    assert rows[0]["job_id"] == job_id
    assert rows[0]["timestamp"].endswith("Z")
    assert [row["epoch"] for row in served.api.get(path, params={"since_epoch": 30, "until_epoch": 33}).json()] == [31, 32, 33]
    thinned = served.api.get(path, params={"max_points": 20}).json()
    epochs = [row["epoch"] for row in thinned]
    assert {1, 7, 23, 40} <= set(epochs)
    assert len(epochs) <= 20
    assert [row for row in rows if row["epoch"] in epochs] == thinned
    problem(served.api.get(path, params={"max_points": 1}), 422, "max_points")
    problem(served.api.get(path, params={"since_epoch": 5, "until_epoch": 5}), 422, "until_epoch")
    problem(served.api.get(path, params={"since_epoch": -1}), 422, "since_epoch")


def test_metrics_may_be_asked_for_by_series(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    for epoch in range(1, 41):
        served.record(claim, epoch, val_loss=9.0 if epoch == 17 else float("nan") if epoch == 23 else 1 / epoch)
    path = f"/training/jobs/{job_id}/metrics"
    always = {"job_id", "epoch", "timestamp", "attempt", "non_finite"}
    rows = served.api.get(path, params={"series": "val_loss, learning_rate"}).json()
    assert len(rows) == 40
    assert set(rows[0]) == always | {"val_loss", "learning_rate"}
    view = served.api.get(path, params={"series": "val_loss", "max_points": 10}).json()
    assert len(view) <= 10
    assert {1, 17, 23, 40} <= {row["epoch"] for row in view}
    assert {row["non_finite"].get("val_loss") for row in view} == {None, "nan"}
    for given in ("loss", "val_loss,loss", ","):
        answer = served.api.get(path, params={"series": given})
        assert answer.status_code == 422
        assert answer.json()["field"] == "series"
        assert "val_loss" in answer.json()["detail"]


def test_metrics_that_did_not_change_are_not_sent_again(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    served.record(claim, 1)
    path = f"/training/jobs/{job_id}/metrics"
    known = {"If-None-Match": served.api.get(path).headers["etag"]}
    assert served.api.get(path, headers=known).status_code == 304
    assert served.api.get(path, params={"series": "val_loss"}, headers=known).status_code == 200
    served.record(claim, 2)
    assert [row["epoch"] for row in served.api.get(path, headers=known).json()] == [1, 2]


def test_a_view_and_its_validator_are_of_one_moment(served: Served, dataset_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = served.create_job(dataset_id)
    served.record(served.claim(job_id), 1)
    asked: list[str] = []
    read = SqlJobs.read_version
    monkeypatch.setattr(SqlJobs, "read_version", lambda jobs, job_id: (asked.append(job_id), read(jobs, job_id))[1])
    assert served.api.get(f"/training/jobs/{job_id}/metrics", params={"max_points": 10}).status_code == 200
    assert asked == [job_id]


def test_metrics_leave_as_csv(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    for epoch in range(1, 4):
        served.record(claim, epoch, val_loss=float("inf") if epoch == 2 else 0.5)
    answer = served.api.get(f"/training/jobs/{job_id}/metrics.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename=job-metrics.csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["epoch"], row["val_loss"], row["train_accuracy"]) for row in rows] == [
        ("1", "0.5", ""),
        ("2", "inf", ""),
        ("3", "0.5", ""),
    ]


def test_events_are_dense_and_come_in_pieces(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    for epoch in range(1, 6):
        served.record(claim, epoch)
    path = f"/training/jobs/{job_id}/events"
    page = served.api.get(path).json()
    assert [frame["seq"] for frame in page["events"]] == list(range(1, 8))
    assert page["last_seq"] == 7 == served.api.get(f"/training/jobs/{job_id}").json()["last_seq"]
    assert page["events"][0]["data"]["reason"] == "created"
    assert page["events"][-1]["data"]["train_loss"] == 0.2
    assert served.api.get(path, params={"since": 2, "limit": 3}).json()["events"] == page["events"][2:5]
    assert served.api.get(path, params={"since": 7}).json() == {"events": [], "last_seq": 7}
    lifecycle = served.api.get(path, params={"kind": "lifecycle", "limit": 2}).json()["events"]
    assert [frame["event"] for frame in lifecycle] == ["training_updated", "training_started"]
    problem(served.api.get(path, params={"since": -1}), 422, "since")


def test_logs_are_text_and_say_the_last_line(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    served.container.attempts.append_log(job_id, ["first", "second <b>line</b>"])
    answer = served.api.get(f"/training/jobs/{job_id}/logs")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-last-line"] == "2"
    assert [line.split(" ", 1)[1] for line in answer.text.splitlines()] == ["first", "second <b>line</b>"]
    rest = served.api.get(f"/training/jobs/{job_id}/logs", params={"since": 2})
    assert (rest.text, rest.headers["x-last-line"]) == ("", "2")


def test_architectures_and_data_sets_fill_the_dialog(served: Served, dataset_id: str) -> None:
    architectures = served.api.get("/training/architectures").json()["architectures"]
    assert [entry["id"] for entry in architectures] == [entry.id for entry in ARCHITECTURES]
    assert {"deepsets-s", "set-transformer-m", "mlp-baseline"} <= {entry["id"] for entry in architectures}
    page = served.api.get("/training/datasets").json()
    assert page["total"] == len(page["datasets"])
    mine = next(entry for entry in page["datasets"] if entry["id"] == dataset_id)
    assert {"id", "name", "description", "status", "kind", "num_examples", "split", "groups"} <= set(mine)


def test_a_data_set_is_asked_for_as_json(served: Served) -> None:
    answer = served.api.post("/training/datasets", json={"name": "small", "num_examples": 100})
    assert answer.status_code == 201
    dataset = answer.json()
    assert (dataset["status"], dataset["kind"]) == ("building", "synthetic")
    assert dataset["id"] in served.container.queue.datasets
    assert served.client.get(answer.headers["location"]).json()["id"] == dataset["id"]
    problem(served.api.post("/training/datasets", json={"name": "small", "num_examples": 1}), 422, "num_examples")
    problem(served.api.post("/training/datasets", json={"name": "small", "kind": "powder"}), 422, "kind")


def test_files_of_a_data_set_come_as_parts_under_names_of_no_meaning(served: Served) -> None:
    files = [("file", ("../../evil.csv", b"a,b\n1,2\n")), ("file", ("second.json", b"{}"))]
    answer = served.api.post("/training/datasets", data={"kind": "rssi-csv", "name": "mine", "cell_m": "50"}, files=files)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["kind"], dataset["config"]["cell_m"]) == ("rssi-csv", 50)
    assert "evil.csv" in json.dumps(dataset["config"])
    stored = served.container.artifacts.find(f"incoming/{dataset['id']}")
    assert len(stored) == 2
    assert not any("evil" in key for key in stored)
    fields = {"kind": "rssi-csv", "name": "mine"}
    problem(served.api.post("/training/datasets", data={**fields, "cell_m": "x"}, files=files), 422, "cell_m")
    problem(served.api.post("/training/datasets", data={**fields, "colour": "x"}, files=files), 422, "colour")
    problem(served.api.post("/training/datasets", data=fields, files=[("upload", ("a", b"b"))]), 422, "file")


def test_a_voice_comes_with_its_simulation_as_parts(served: Served) -> None:
    fields = {"kind": "synthetic", "name": "voiced", "signal": "captures", "waveform": "nbfm-voice", "keep_iq": "true"}
    files = [("file", ("../../evil.wav", b"RIFF"))]
    answer = served.api.post("/training/datasets", data=fields, files=files)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["kind"], dataset["config"]["keep_iq"], dataset["config"]["sources"][0]["size_bytes"]) == ("synthetic", True, 4)
    assert served.container.artifacts.find(f"incoming/{dataset['id']}") == [f"incoming/{dataset['id']}/0.voice"]
    problem(served.api.post("/training/datasets", data={**fields, "waveform": "dmr"}, files=files), 422, "waveform")
    problem(served.api.post("/training/datasets", data={**fields, "num_examples": "1"}, files=files), 422, "num_examples")


def test_only_what_has_samples_and_is_ready_leaves_as_sigmf(served: Served, dataset_id: str) -> None:
    problem(served.api.get(f"/training/datasets/{dataset_id}/export"), 422)
    problem(served.api.get("/training/datasets/nowhere/export"), 404)
    problem(served.api.get(f"/training/datasets/{dataset_id}/export?max_examples=0"), 422, "max_examples")
    building = served.api.post("/training/datasets", json={"name": "small", "num_examples": 100}).json()["id"]
    problem(served.api.get(f"/training/datasets/{building}/export"), 409)


def test_a_data_set_in_use_is_not_deleted(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    problem(served.api.delete(f"/training/datasets/{dataset_id}"), 409)
    served.api.delete(f"/training/jobs/{job_id}")
    assert served.api.delete(f"/training/datasets/{dataset_id}").status_code == 204
    problem(served.api.get(f"/training/datasets/{dataset_id}"), 404)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"PK\x03\x04zip", 415), (b"\x08\x03onnx", 415), (b"", 422), (b"{", 422), (b"{}", 422), (b'  {"format_version": "9.0.0"}', 422)],
)
def test_a_file_that_is_no_bundle_is_refused_and_leaves_nothing(served: Served, content: bytes, status: int) -> None:
    before = (served.container.artifacts.find(""), served.api.get("/training/models").json()["total"])
    answer = served.api.post("/training/models/import", files={"file": ("a.heimdall", content)})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert (served.container.artifacts.find(""), served.api.get("/training/models").json()["total"]) == before


def test_an_import_tells_of_each_check_as_it_is_done_where_it_is_asked_to(served: Served, tmp_path: Path) -> None:
    origin = make_world(tmp_path / "origin")
    add_model(origin)
    content = origin.write_bundle("model-1", tmp_path / "lines.heimdall", description="lines").read_bytes()

    def send(data: bytes) -> list[dict[str, Any]]:
        files, headers = {"file": ("a.heimdall", data)}, {"Accept": "application/x-ndjson, application/json"}
        with served.api.stream("POST", "/training/models/import", files=files, headers=headers) as answer:
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
            return [json.loads(line) for line in answer.iter_lines()]

    *checks, last = send(content)
    assert last["status"] == 201
    assert [line["check"] for line in checks] == last["result"]["verification"]["checks"]
    assert served.api.get(f"/training/models/{last['result']['model_id']}").json() == last["result"]["model"]

    *checks, last = send(content)
    assert ([line["check"]["name"] for line in checks], last["status"]) == (["format", "integrity"], 200)

    (refused,) = send(b'{"format_version": "9.0.0"}')
    assert refused["status"] == 422
    assert set(refused["problem"]) == {"code", "detail", "field"}
    problem(served.api.post("/training/models/import", json={}, headers={"Accept": "application/x-ndjson"}), 415)


def test_an_import_that_is_no_upload_is_refused(served: Served) -> None:
    problem(served.api.post("/training/models/import", json={}), 415)
    problem(served.api.post("/training/models/import", data={"file": "text"}, files={}), 415)
    problem(served.api.post("/training/models/import", files={"bundle": ("a", b"{}")}), 422, "file")
    problem(served.api.post("/training/models/import", files={"file": ("a", b"{" + b" " * 1_100_000)}), 413)
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{"format'
    problem(served.api.post("/training/models/import", content=cut, headers={"Content-Type": "multipart/form-data; boundary=b"}), 422)


def test_export_options_are_checked(served: Served) -> None:
    for query, field in (({"num_samples": 0}, "num_samples"), ({"num_samples": 11}, "num_samples"), ({"samples": 1}, "samples")):
        problem(served.api.get("/training/models/none/export", params=query), 422, field)
    problem(served.api.get("/training/models/none/export", params={"num_samples": 5, "description": ""}), 404)


def test_health_names_every_dependency(served: Served) -> None:
    for prefix in ("", "/api/v1"):
        assert served.client.get(f"{prefix}/health/live").status_code == 200
        ready = served.client.get(f"{prefix}/health/ready")
        assert ready.status_code == 200, ready.text
        assert {entry["name"] for entry in ready.json()["dependencies"]} == {"database", "broker", "artifacts", "event_tail", "sweeper"}
    served.container.queue.is_away = True
    try:
        down = served.client.get("/health/ready")
        assert down.status_code == 503
        broker = next(entry for entry in down.json()["dependencies"] if entry["name"] == "broker")
        assert broker["status"] == "down"
        assert broker["detail"]
        assert served.client.get("/health/live").status_code == 200
    finally:
        served.container.queue.is_away = False


def test_a_broker_that_is_away_costs_no_job(served: Served, dataset_id: str) -> None:
    served.container.queue.is_away = True
    try:
        job_id = served.create_job(dataset_id)
        assert served.api.get(f"/training/jobs/{job_id}").json()["status"] == "pending"
    finally:
        served.container.queue.is_away = False


def test_numbers_for_prometheus(served: Served, dataset_id: str) -> None:
    served.create_job(dataset_id)
    text = served.client.get("/metrics").text
    assert 'heimdall_jobs{status="pending"}' in text
    assert 'heimdall_requests_total{method="POST",route="/api/v1/training/jobs",status="201"}' in text
    assert "heimdall_socket_clients 0.0" in text
    assert "heimdall_process_resident_bytes" in text


def test_json_is_compressed_where_it_pays(served: Served, dataset_id: str) -> None:
    for _ in range(3):
        served.create_job(dataset_id)
    large = served.api.get("/training/jobs")
    assert large.headers["content-encoding"] == "gzip"
    small = served.api.get("/health/live")
    assert "content-encoding" not in small.headers
    plain = served.api.get("/training/jobs", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == large.json()


def test_a_bundle_arrives_is_verified_here_leaves_again_and_is_deleted(served: Served, tmp_path: Path) -> None:
    origin = make_world(tmp_path / "origin")
    add_model(origin)
    content = origin.write_bundle("model-1", tmp_path / "demo.heimdall").read_bytes()
    answer = served.api.post("/training/models/import", files={"file": ("../x.heimdall", content)})
    assert answer.status_code == 201, answer.text
    result = answer.json()
    assert set(result) == {"model_id", "verification", "model"}
    assert result["verification"]["status"] == "verified", result["verification"]
    model_id = result["model_id"]
    assert served.client.get(answer.headers["location"]).json() == result["model"]
    again = served.api.post("/training/models/import", files={"file": ("y.heimdall", content)})
    assert (again.status_code, again.json()["model_id"]) == (200, model_id)

    listed = served.api.get("/training/models")
    assert model_id in {model["id"] for model in listed.json()["models"]}
    unchanged = served.api.get("/training/models", headers={"If-None-Match": listed.headers["etag"]})
    assert unchanged.status_code == 304
    renamed = served.api.patch(f"/training/models/{model_id}", json={"name": f"renamed {model_id[:8]}"})
    assert renamed.json()["name"] == f"renamed {model_id[:8]}"
    problem(served.api.patch(f"/training/models/{model_id}", json={"name": "a\nb"}), 422, "name")
    problem(served.api.patch(f"/training/models/{model_id}", json={"version": 3}), 422, "version")

    exported = served.api.get(f"/training/models/{model_id}/export", params={"include_samples": "false", "description": "über"})
    assert exported.headers["content-disposition"] == f"attachment; filename=renamed-{model_id[:8]}-v1.heimdall"
    assert "content-encoding" not in exported.headers
    bundle = exported.json()
    assert bundle["bundle_metadata"]["description"] == "über"
    assert bundle.get("sample_predictions") is None

    deleted = served.api.delete(f"/training/models/{model_id}", params={"confirm_name": renamed.json()["name"]})
    assert deleted.status_code == 204
    problem(served.api.get(f"/training/models/{model_id}"), 404)
    problem(served.api.get(f"/training/models/{model_id}/evaluation"), 404)
