"""The engine's promises, tried as a user would: `heimdall up`, REST and sockets, with the plug pulled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.instance import canonical

LONG = {"epochs": 6, "batch_size": 8, "learning_rate": 1e-3, "seed": 11}


@pytest.mark.shared_data
def test_real_data_become_a_model_that_proves_itself_in_another_instance(launch: Callable[..., Any], data_root: Path) -> None:
    first = launch("first")
    dataset = first.import_powder(data_root)
    assert dataset["num_examples"] + dataset["report"]["num_rejected"] == 3844
    job_id = first.create_job(dataset["id"], epochs=8)
    job = first.wait_job(job_id, {"completed", "failed"})
    assert job["status"] == "completed", job["error_detail"]
    assert [row["epoch"] for row in first.metrics(job_id)] == list(range(1, 9))
    assert job["progress_percent"] == 100
    listed = first.get("/training/models")["models"]
    assert [model["id"] for model in listed] == [job["model_id"]]
    assert {line["id"] for line in listed[0]["baselines"]} == {"centroid", "log-distance-ml", "knn", "radio-map", "arrival-map"}
    found = first.get(f"/training/models/{job['model_id']}")["accuracy_breakdown"]
    # Strengths without a noise floor: the ratio is not known, so nothing is sorted by it.
    assert [one["by"] for one in found["breakdowns"]] == ["receivers_heard", "hdop", "hull"]
    assert {sum(group["num_examples"] for group in one["groups"]) for one in found["breakdowns"]} == {found["num_examples"]}
    assert [point["nominal"] for point in found["reliability"]] == sorted(point["nominal"] for point in found["reliability"])
    bundle = first.client.get(f"/training/models/{job['model_id']}/export", params={"num_samples": 5})
    assert bundle.headers["content-disposition"] == f"attachment; filename={listed[0]['name'].replace(' ', '-')}-v1.heimdall"

    second = launch("second")
    answer = second.client.post("/training/models/import", files={"file": ("model.heimdall", bundle.content)})
    assert answer.status_code == 201, answer.text
    verification = answer.json()["verification"]
    assert (verification["status"], verification["matched"], verification["total"]) == ("verified", 5, 5)
    again = second.client.post("/training/models/import", files={"file": ("model.heimdall", bundle.content)})
    assert (again.status_code, again.json()["model_id"]) == (200, answer.json()["model_id"])
    assert second.get("/training/models")["total"] == 1


def test_a_run_paused_twice_or_killed_equals_the_straight_run_to_the_bit(
    heimdall: Any,
) -> None:
    dataset = heimdall.create_synthetic()
    straight = heimdall.create_job(dataset["id"], **LONG)
    heimdall.wait_job(straight, {"completed"})

    paused = heimdall.create_job(dataset["id"], **LONG)
    for epoch in (1, 3):
        # a tick inside the next epoch is waited for, so that the pause falls between two of its steps
        follow(heimdall, paused, lambda frame, epoch=epoch: frame["seq"] is None and frame["data"]["current_epoch"] >= epoch)
        assert heimdall.client.post(f"/training/pause/{paused}").status_code == 202
        heimdall.wait_job(paused, {"paused"})
        assert heimdall.client.post(f"/training/resume/{paused}").status_code == 202
    job = heimdall.wait_job(paused, {"completed"})
    assert job["attempt"] == 3
    assert job["resume_is_exact"] is True

    killed = heimdall.create_job(dataset["id"], **LONG)
    follow(heimdall, killed, lambda frame: frame["seq"] is None and frame["data"]["current_epoch"] >= 2)
    child = heimdall.find_process("heimdall.worker.child", killed)
    assert child is not None
    child.kill()
    assert heimdall.wait_job(killed, {"completed"})["attempt"] == 2

    expected = canonical(heimdall.metrics(straight))
    weights = heimdall.model_of(straight)["weights_sha256"]
    assert weights
    for other in (paused, killed):
        assert canonical(heimdall.metrics(other)) == expected
        assert heimdall.model_of(other)["weights_sha256"] == weights


def test_a_socket_cut_a_hundred_times_misses_and_doubles_nothing(heimdall: Any) -> None:
    dataset = heimdall.create_synthetic(num_examples=1000)
    job_id = heimdall.create_job(dataset["id"], epochs=120, batch_size=256, checkpoint_every_n_epochs=20)
    received: list[dict[str, Any]] = []
    cuts = 0
    while not (received and received[-1]["event"] == "training_completed"):
        since = received[-1]["seq"] if received else 0
        with connect(f"ws://127.0.0.1:{heimdall.port}/ws/training/{job_id}?since={since}") as socket:
            hello = json.loads(socket.recv(timeout=30))
            assert hello["event"] == "connected"
            while True:
                frame = json.loads(socket.recv(timeout=60))
                if frame["seq"] is None:
                    continue
                received.append(frame)
                if frame["event"] == "training_completed" or cuts < 100:
                    socket.socket.close()  # a cut, not a goodbye
                    cuts += 1
                    break
    assert cuts >= 100
    assert [frame["seq"] for frame in received] == list(range(1, len(received) + 1))
    assert received == heimdall.events(job_id)


def test_after_kill_9_of_everything_the_job_completes_by_itself(launch: Callable[..., Any]) -> None:
    instance = launch()
    dataset = instance.create_synthetic()
    undisturbed = instance.create_job(dataset["id"], **LONG)
    instance.wait_job(undisturbed, {"completed"})
    job_id = instance.create_job(dataset["id"], **LONG)
    instance.wait_job(job_id, lambda job: job["current_epoch"] >= 2)
    instance.kill_everything()
    instance.start()
    job = instance.wait_job(job_id, {"completed", "failed"})
    assert job["status"] == "completed", job
    rows = instance.metrics(job_id)
    assert [row["epoch"] for row in rows] == list(range(1, LONG["epochs"] + 1))
    assert canonical(rows) == canonical(instance.metrics(undisturbed))
    events = instance.events(job_id)
    assert [frame["seq"] for frame in events] == list(range(1, job["last_seq"] + 1))
    assert instance.stop() == 0


def test_a_hung_loop_is_ended_when_asked_to_cancel(heimdall: Any) -> None:
    dataset = heimdall.create_synthetic()
    job_id = heimdall.create_job(dataset["id"], epochs=5000, batch_size=1)
    # a tick well inside an epoch of many steps: the loop hangs, not a transaction (tests/unit/worker/test_supervision.py has that one)
    follow(heimdall, job_id, lambda frame: frame["seq"] is None and 50 <= frame["data"]["batch"] <= frame["data"]["total_batches"] / 2)
    child = heimdall.find_process("heimdall.worker.child", job_id)
    assert child is not None
    heimdall.freeze(child)
    assert heimdall.client.delete(f"/training/jobs/{job_id}").json()["pending_action"] == "cancel"
    heimdall.wait_job(job_id, {"cancelled"}, timeout_s=20)
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(timeout=10)
    assert not psutil.pid_exists(child.pid)


def test_pause_then_cancel_then_delete_leaves_nothing(heimdall: Any) -> None:
    dataset = heimdall.create_synthetic(num_examples=1000)
    job_id = heimdall.create_job(dataset["id"], epochs=5000, batch_size=16)
    heimdall.wait_job(job_id, lambda job: job["current_epoch"] >= 1)
    assert heimdall.client.post(f"/training/jobs/{job_id}/pause").status_code == 202
    heimdall.wait_job(job_id, {"paused"})
    assert heimdall.client.post(f"/training/pause/{job_id}").status_code == 409
    assert heimdall.client.delete(f"/training/jobs/{job_id}").json()["status"] == "cancelled"
    assert heimdall.client.delete(f"/training/jobs/{job_id}").status_code == 204
    assert heimdall.client.get(f"/training/jobs/{job_id}").status_code == 404
    left = [path for path in heimdall.data_dir.rglob("*") if job_id in str(path)]
    assert not left


def follow(heimdall: Any, job_id: str, is_met: Callable[[dict[str, Any]], bool]) -> None:
    """Read the job's socket until a frame meets the condition."""
    with contextlib.suppress(WebSocketException), connect(f"ws://127.0.0.1:{heimdall.port}/ws/training/{job_id}?since=0") as socket:
        while True:
            frame = json.loads(socket.recv(timeout=60))
            assert frame["event"] not in {"training_failed", "training_completed"}, frame
            if frame["event"] != "connected" and is_met(frame):
                return
