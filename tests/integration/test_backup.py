"""The whole instance in one file, made while a job trains, and a second instance that goes on from it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.instance import canonical

LONG = {"epochs": 6, "batch_size": 8, "learning_rate": 1e-3, "seed": 11}


def run_cli(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "heimdall.cli.main", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answer: dict[str, Any] = json.loads(done.stdout or done.stderr)
    return answer | {"exit_code": done.returncode}


def test_a_backup_of_a_running_job_goes_on_elsewhere_to_the_same_weights(launch: Callable[..., Any], tmp_path: Path) -> None:
    old = launch("old")
    dataset = old.create_synthetic()
    straight = old.create_job(dataset["id"], **LONG)
    old.wait_job(straight, {"completed"})
    job_id = old.create_job(dataset["id"], **LONG)
    old.wait_job(job_id, lambda job: job["current_epoch"] >= 2)
    saved = run_cli("backup", str(tmp_path / "b.tar"), "--data-dir", str(old.data_dir))
    assert saved["exit_code"] == 0, saved
    # The job went on, and was not finished when the moment was taken.
    assert old.wait_job(job_id, {"completed"})["attempt"] == 1
    refused = run_cli("restore", str(tmp_path / "b.tar"), "--data-dir", str(old.data_dir), "--replace")
    assert (refused["exit_code"], refused["code"]) == (1, "already_running")

    assert run_cli("restore", str(tmp_path / "b.tar"), "--check")["exit_code"] == 0
    restored = run_cli("restore", str(tmp_path / "b.tar"), "--data-dir", str(tmp_path / "new"))
    assert restored["exit_code"] == 0, restored
    again = run_cli("restore", str(tmp_path / "b.tar"), "--data-dir", str(tmp_path / "new"))
    assert (again["exit_code"], again["code"]) == (1, "not_empty")
    new = launch("new")
    job = new.wait_job(job_id, {"completed", "failed"})
    assert (job["status"], job["attempt"], job["resume_is_exact"]) == ("completed", 2, True), job
    expected = old.model_of(straight)["weights_sha256"]
    assert expected
    assert new.model_of(job_id)["weights_sha256"] == expected
    assert new.model_of(straight)["weights_sha256"] == expected
    assert canonical(new.metrics(job_id)) == canonical(old.metrics(straight))
    assert [frame["seq"] for frame in new.events(job_id)] == list(range(1, job["last_seq"] + 1))
    bundle = new.client.get(f"/training/models/{new.model_of(straight)['id']}/export")
    assert bundle.status_code == 200
