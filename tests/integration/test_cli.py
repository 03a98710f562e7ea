"""The command line against a running Heimdall: from no data to a model in a file, as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.instance import Heimdall, wait_until

HEIMDALL = [sys.executable, "-m", "heimdall.cli.main"]


def run(instance: Heimdall, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [*HEIMDALL, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "HEIMDALL_DATA_DIR": str(instance.data_dir)},
    )
    assert found.returncode == code, found.stdout + found.stderr
    return found


def run_json(instance: Heimdall, *words: str) -> Any:
    return json.loads(run(instance, *words, "--json").stdout)


@pytest.fixture(scope="module")
def dataset(heimdall: Heimdall) -> dict[str, Any]:
    made = run_json(heimdall, "dataset", "generate", "cli network", "--num-examples", "1500", "--seed", "5")
    assert (made["status"], made["num_examples"]) == ("ready", 1500)
    return dict(made)


@pytest.fixture(scope="module")
def trained(heimdall: Heimdall, dataset: dict[str, Any]) -> dict[str, Any]:
    done = run_json(heimdall, "train", "--dataset", dataset["name"], "--epochs", "3", "--name", "by hand", "--early-stopping-patience", "0")
    assert (done["job"]["status"], done["job"]["current_epoch"]) == ("completed", 3)
    return dict(done)


def test_server_is_found_by_its_data_folder(heimdall: Heimdall) -> None:
    assert run_json(heimdall, "job", "list")["total"] >= 0


def test_training_prints_an_epoch_a_line_and_what_came_of_it(heimdall: Heimdall, dataset: dict[str, Any]) -> None:
    found = run(heimdall, "train", "--dataset", dataset["id"], "--epochs", "2", "--early-stopping-patience", "0")
    assert [line.split()[1] for line in found.stderr.splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]
    assert "heimdall model export" in found.stdout
    assert "median error" in found.stdout


def test_watch_gives_every_stored_event_in_order(heimdall: Heimdall, trained: dict[str, Any]) -> None:
    job_id = trained["job"]["id"]
    lines = [json.loads(line) for line in run(heimdall, "job", "watch", job_id, "--json").stdout.splitlines()]
    numbers = [line["seq"] for line in lines if line.get("seq") is not None]
    assert numbers == [event["seq"] for event in heimdall.events(job_id)] == list(range(1, trained["job"]["last_seq"] + 1))


def test_job_is_paused_resumed_and_cancelled(heimdall: Heimdall, dataset: dict[str, Any]) -> None:
    job = run_json(heimdall, "train", "--dataset", dataset["id"], "--epochs", "5000", "--batch-size", "16", "--name", "long", "--detach")
    heimdall.wait_job(job["id"], lambda found: found["current_epoch"] >= 1)
    assert run(heimdall, "job", "pause", job["id"]).stdout in ("'long' is pausing.\n", "'long' is paused.\n")
    heimdall.wait_job(job["id"], {"paused"})
    run(heimdall, "job", "resume", "long")
    heimdall.wait_job(job["id"], {"running"})
    refused = run(heimdall, "job", "delete", job["id"], "--yes", code=1)
    assert "Cancel it first" in refused.stderr
    run(heimdall, "job", "cancel", job["id"])
    heimdall.wait_job(job["id"], {"cancelled"})
    assert "is cancelled already" in run(heimdall, "job", "cancel", job["id"], code=1).stderr
    run(heimdall, "job", "delete", job["id"], "--yes")
    assert heimdall.client.get(f"/training/jobs/{job['id']}").status_code == 404


def test_ctrl_c_lets_go_and_the_job_goes_on(heimdall: Heimdall, dataset: dict[str, Any], tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [*HEIMDALL, "train", "--dataset", dataset["id"], "--epochs", "5000", "--batch-size", "16"],
            stdout=stream,
            stderr=stream,
            env={**os.environ, "HEIMDALL_URL": heimdall.url},
        )
    wait_until(lambda: "epoch 1/" in said.read_text(), 60, said.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    text = said.read_text()
    job_id = text.partition("Created job ")[2].partition(":")[0]
    assert f"heimdall job cancel {job_id}" in text
    assert heimdall.get(f"/training/jobs/{job_id}")["status"] == "running"
    run(heimdall, "job", "cancel", job_id)
    heimdall.wait_job(job_id, {"cancelled"})


def test_log_of_a_job_is_numbered_without_a_gap(heimdall: Heimdall, trained: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in run(heimdall, "job", "logs", trained["job"]["id"], "--json").stdout.splitlines()]
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))


def test_model_leaves_as_a_file_that_proves_itself_and_comes_back_as_itself(
    heimdall: Heimdall, trained: dict[str, Any], tmp_path: Path
) -> None:
    written = run_json(heimdall, "model", "export", "by hand", "--output", str(tmp_path), "--description", "for the test")
    path = Path(written["path"])
    assert path.stat().st_size == written["size_bytes"]
    proof = run_json(heimdall, "model", "verify", str(path))["verification"]
    assert (proof["status"], proof["matched"], proof["total"]) == ("verified", 5, 5)
    brought = run_json(heimdall, "model", "import", str(path))
    assert brought["verification"]["status"] == "verified"
    assert run_json(heimdall, "model", "import", str(path))["model_id"] == brought["model_id"]


def test_broken_bundle_is_refused_here_and_there_with_one_code(heimdall: Heimdall, tmp_path: Path) -> None:
    path = tmp_path / "broken.heimdall"
    path.write_text('{"format_version": "1.0.0"')
    codes = {json.loads(run(heimdall, "model", command, str(path), "--json", code=1).stderr)["code"] for command in ("verify", "import")}
    assert len(codes) == 1


@pytest.mark.shared_data
def test_measured_data_are_imported_from_a_folder_and_every_row_is_accounted_for(heimdall: Heimdall, data_root: Path) -> None:
    made = run_json(heimdall, "dataset", "import", "powder", str(data_root / "powder"), "--name", "POWDER by hand")
    report = made["report"]
    assert made["status"] == "ready"
    assert report["num_accepted"] == made["num_examples"] > 1000
    assert report["num_accepted"] + report["num_rejected"] == report["num_rows"]
    assert sum(report["reasons"].values()) == report["num_rejected"]


def test_servers_refusal_names_the_field(heimdall: Heimdall, dataset: dict[str, Any]) -> None:
    refused = run(heimdall, "train", "--dataset", dataset["id"], "--architecture", "no-such", "--json", code=1)
    assert json.loads(refused.stderr)["field"] == "model_architecture"


def test_doctor_finds_the_running_one_and_nothing_missing(heimdall: Heimdall) -> None:
    found = run_json(heimdall, "doctor", "--port", str(heimdall.port))
    checks = {check["name"]: check for check in found["checks"]}
    assert found["is_ready"], found
    assert heimdall.url in checks["port"]["detail"]
    assert {checks[name]["status"] for name in ("database", "broker", "artifacts", "PyTorch")} == {"ok"}
