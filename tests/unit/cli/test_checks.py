from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from heimdall.cli import checks
from heimdall.cli.instance import DataFolderLock
from heimdall.settings import Settings


def test_new_folder_is_fine_and_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    found = [checks.check_data_folder(settings), *checks.check_dependencies(settings)]
    assert {check.status for check in found} <= {"ok", "warning"}
    assert not (tmp_path / "new").exists()


def test_folder_that_a_refused_start_left_empty_is_as_good_as_new(tmp_path: Path) -> None:
    DataFolderLock(tmp_path).release()
    assert {check.status for check in checks.check_dependencies(Settings(data_dir=tmp_path))} == {"ok"}


def test_folder_below_a_file_is_missing_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = checks.check_data_folder(Settings(data_dir=tmp_path / "file" / "data"))
    assert check.status == "missing"
    assert "--data-dir" in check.fix


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks.shutil.disk_usage(tmp_path)
    for free_bytes, status in ((100e6, "missing"), (2e9, "warning"), (90e9, "ok")):
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda _, free=free_bytes: real._replace(free=int(free)))
        assert checks.check_data_folder(Settings(data_dir=tmp_path)).status == status


def test_quota_and_what_is_kept_are_said(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    for quota_mb, warn_free_mb, status in ((0, 0, "ok"), (1000, 0, "ok"), (1, 0, "warning"), (0, 10**9, "warning")):
        settings = Settings(data_dir=tmp_path, disk_quota_mb=quota_mb, disk_warn_free_mb=warn_free_mb)
        assert checks.check_quota(settings).status == status
    assert "HEIMDALL_DISK_QUOTA_MB" in checks.check_quota(Settings(data_dir=tmp_path, disk_quota_mb=1)).fix
    assert checks.check_quota(Settings(data_dir=tmp_path / "new")).status == "ok"
    kept = checks.check_retention(Settings(data_dir=tmp_path, keep_checkpoints_days=7, keep_log_lines=0))
    assert kept.detail == "of ended jobs: checkpoints 7 days, logs for ever; all lines"


def test_port_of_another_program_is_missing_and_a_free_one_is_ok(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(data_dir=tmp_path, port=other.getsockname()[1])
        check = checks.check_port(settings)
    assert (check.status, "taken by another program" in check.detail) == ("missing", True)
    assert checks.check_port(settings).status == "ok"


def test_port_of_the_one_that_runs_here_is_no_other_programs_even_before_it_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as starting:
        port = starting.getsockname()[1]
        lock = DataFolderLock(tmp_path)
        lock.write_holder(f"http://127.0.0.1:{port}")
        check = checks.check_port(Settings(data_dir=tmp_path, port=port))
        lock.release()
    assert check.status == "ok"
    assert check.detail == f"Heimdall is already running here (PID {os.getpid()}): http://127.0.0.1:{port}, and is not ready yet"


def test_open_host_without_token_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEIMDALL_TOKEN", raising=False)
    check = checks.check_port(Settings(data_dir=tmp_path, host="0.0.0.0", port=0))
    assert check.status == "missing"
    assert "HEIMDALL_TOKEN" in check.fix


def test_page_is_found_where_it_was_set(tmp_path: Path) -> None:
    settings = Settings(frontend_dir=tmp_path)
    assert checks.check_frontend(settings).status == "warning"
    (tmp_path / "index.html").write_text("")
    assert checks.check_frontend(settings).status == "ok"


def test_torch_that_does_not_load_is_missing_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_ASK_TORCH", "raise ImportError('libtorch.so is broken')")
    [check] = checks.check_torch()
    assert check.status == "missing"
    assert "libtorch.so is broken" in check.detail


@pytest.mark.parametrize(
    ("devices", "build", "has_card", "status"),
    [(["Card"], "12.4", True, "ok"), ([], None, True, "warning"), ([], "12.4", True, "warning"), ([], None, False, "ok")],
)
def test_card_that_is_not_used_is_pointed_out(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], build: str | None, has_card: bool, status: str
) -> None:
    monkeypatch.setattr(checks.shutil, "which", lambda _: "/bin/nvidia-smi" if has_card else None)
    monkeypatch.setattr(checks.Path, "exists", lambda _: False)
    assert checks._judge_cuda(devices, build).status == status


def test_doctor_ends_with_one_when_something_is_missing(
    run_cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [checks.Check("Python", "ok", sys.version), checks.Check("port", "missing", "taken", "Choose another.")]
    monkeypatch.setattr("heimdall.cli.doctor.run_checks", lambda _: iter(findings))
    code, out, err = run_cli("doctor")
    assert code == 1
    assert "MISSING" in out
    assert "Choose another." in out
    assert "Missing: port." in err
