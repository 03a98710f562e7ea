"""`heimdall up` for real: speed, memory, one per folder, and what is left when it is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from heimdall.cli.supervisor import SEEDED_MARK
from tests.instance import Heimdall, wait_until


def test_first_start_makes_the_demo_data_set_once(launch: Callable[..., Heimdall]) -> None:
    first = launch(HEIMDALL_SEED_DEMO="true")
    wait_until((first.data_dir / SEEDED_MARK).exists, 30, first.log_tail)
    [demo] = first.get("/training/datasets")["datasets"]
    assert (demo["status"], demo["is_demo"]) == ("ready", True)
    assert first.stop() == 0
    first.start()
    assert [item["id"] for item in first.get("/training/datasets")["datasets"]] == [demo["id"]]


def test_killed_supervisor_leaves_nothing_and_the_next_start_works(launch: Callable[..., Heimdall]) -> None:
    instance = launch()
    dataset = instance.create_synthetic()
    job = instance.create_job(dataset["id"], epochs=500, batch_size=8)
    instance.wait_job(job, lambda found: found["current_epoch"] >= 1)
    processes = instance.processes()
    assert len(processes) >= 4
    assert instance.process is not None
    instance.process.kill()
    instance.process.wait()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    instance.start()
    instance.wait_job(job, lambda found: found["attempt"] >= 2 and found["status"] == "running")
    answer = instance.client.delete(f"/training/jobs/{job}", params={"expect": "active"})
    assert answer.status_code == 200, answer.text
    instance.wait_job(job, {"cancelled"})


def test_dead_server_and_dead_worker_come_back(launch: Callable[..., Heimdall]) -> None:
    instance = launch()
    for words in ("heimdall.api", "heimdall.worker.main"):
        process = instance.find_process(words)
        assert process is not None
        process.kill()
        psutil.wait_procs([process], timeout=5)
        wait_until(lambda words=words: instance.find_process(words) is not None, 15, instance.log_tail)
    instance.wait_ready()
    instance.create_synthetic(num_examples=200)


def test_second_instance_names_the_first(launch: Callable[..., Heimdall]) -> None:
    first = launch()
    command = [sys.executable, "-m", "heimdall.cli.main", "up", "--no-browser", "--port", "0", "--data-dir", str(first.data_dir)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert second.returncode == 1
    assert first.url in second.stderr
    assert "Traceback" not in second.stderr


def test_token_guards_the_server_and_the_command_line_carries_it(launch: Callable[..., Heimdall]) -> None:
    instance = launch(HEIMDALL_TOKEN="a b&c")
    # The server answers before the supervisor has looked and greeted.
    wait_until(lambda: f"{instance.url}/?token=a%20b%26c" in instance.log_tail(), 30, instance.log_tail)
    assert httpx.get(f"{instance.url}/api/v1/training/jobs").status_code == 401
    command = [sys.executable, "-m", "heimdall.cli.main", "job", "list", "--json", "--url", instance.url]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 1
    assert "HEIMDALL_TOKEN" in refused.stderr
    allowed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=instance.env)
    assert allowed.returncode == 0, allowed.stderr


def test_a_later_start_is_ready_and_rests_small(launch: Callable[..., Heimdall]) -> None:
    instance = launch()
    assert instance.stop() == 0
    ready_before = instance.log_tail().count("worker ready")  # the server may be ready, and stopped, before its worker is
    instance.start()
    wait_until(lambda: instance.log_tail().count("worker ready") > ready_before, 60, instance.log_tail)
    memory_mb = {name: _find(instance, name).memory_info().rss / 1e6 for name in ("heimdall.api", "heimdall.worker")}
    assert sum(memory_mb.values()) < 250, memory_mb
    assert _find(instance, "heimdall.cli.supervisor").memory_info().rss / 1e6 < 30


def _find(instance: Heimdall, name: str) -> Any:
    process = instance.find_process(name)
    assert process is not None, instance.log_tail()
    return process
