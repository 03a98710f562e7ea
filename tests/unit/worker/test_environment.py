import sys
from pathlib import Path

import pytest

from heimdall.settings import Settings
from heimdall.worker.environment import make_command, make_environment


def test_a_child_reads_the_same_settings_whatever_the_workers_environment_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEIMDALL_LEASE_S", "99")
    monkeypatch.setenv("HEIMDALL_BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("HEIMDALL_TOKEN", "secret")
    settings = Settings(
        data_dir=tmp_path, lease_s=7.5, broker_url=None, worker_queues=("cpu",), database_url="postgresql://u:p@h/d", seed_demo=False
    )
    environment = make_environment(settings)
    for name in list(environment):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("HEIMDALL_BROKER_URL")
    monkeypatch.delenv("HEIMDALL_TOKEN")
    assert "HEIMDALL_BROKER_URL" not in environment
    assert "HEIMDALL_TOKEN" not in environment, "a training process needs no key to the API"
    assert Settings().model_dump(exclude={"token"}) == settings.model_dump(exclude={"token"})


def test_threads_are_told_to_every_numeric_library(tmp_path: Path) -> None:
    environment = make_environment(Settings(data_dir=tmp_path, torch_threads=3))
    assert {environment[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


def test_a_command_names_module_and_arguments() -> None:
    assert make_command("a.b", job_id="x", attempt=2) == [sys.executable, "-m", "a.b", "--job-id", "x", "--attempt", "2"]
