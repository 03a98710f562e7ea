from __future__ import annotations

from pathlib import Path

from heimdall.cli.main import COMMANDS
from heimdall.cli.reference import write_reference
from heimdall.settings import Settings


def test_pages_name_every_command_and_every_setting_and_no_machine(tmp_path: Path) -> None:
    commands, settings = (page.read_text() for page in write_reference(tmp_path / "reference"))
    assert all(f"## heimdall {name}\n" in commands for name in COMMANDS)
    assert "### heimdall dataset import" in commands
    assert all(f"`HEIMDALL_{name.upper()}`" in settings for name in Settings.model_fields)
    assert str(Path.home()) not in commands + settings


def test_pages_do_not_change_from_run_to_run(tmp_path: Path) -> None:
    first, second = (write_reference(tmp_path / name) for name in ("a", "b"))
    assert [page.read_text() for page in first] == [page.read_text() for page in second]
