from __future__ import annotations

from pathlib import Path

import pytest

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


def test_defaults_stand_there_as_one_would_type_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (write_reference(tmp_path)[1]).read_text()
    rows = [line.split(" | ")[:2] for line in page.splitlines() if line.startswith("| `HEIMDALL_")]
    defaults = {cells[0].strip("| `"): cells[1].strip("`") for cells in rows}
    for variable, default in defaults.items():
        if default != "-" and variable != "HEIMDALL_DATA_DIR":
            monkeypatch.setenv(variable, default)
    typed = Settings(data_dir=tmp_path)
    assert {name: getattr(typed, name) for name in Settings.model_fields if name != "data_dir"} == {
        name: field.default for name, field in Settings.model_fields.items() if name != "data_dir"
    }
