from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from heimdall import __version__
from heimdall.cli.main import COMMANDS, load_command
from tests.unit.cli.fakes import FakeServer

Run = Callable[..., tuple[int, str, str]]


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from heimdall.cli.main import run; run(['--help']); "
        "loaded = [m for m in sys.modules if m in ('pydantic', 'httpx', 'torch', 'rich', 'heimdall.settings')]; print('LOADED', loaded)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in text for name in COMMANDS)
    assert "LOADED []" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(name: str) -> None:
    def leaves(command: object) -> list[object]:
        children = getattr(command, "commands", {})
        return [leaf for child in children.values() for leaf in leaves(child)] if children else [command]

    for leaf in leaves(load_command(name)):
        assert leaf.help, leaf.name
        assert "--json" in {flag for parameter in leaf.params for flag in parameter.opts}, leaf.name


def test_version_in_both_forms(run_cli: Run) -> None:
    assert run_cli("--version")[:2] == (0, f"heimdall {__version__}\n")


def test_unknown_command_is_a_usage_error(run_cli: Run) -> None:
    code, out, err = run_cli("tarin", "--json")
    assert (code, out, json.loads(err)["code"]) == (2, "", "usage")


def test_value_out_of_the_models_range_is_a_usage_error_naming_the_option(run_cli: Run) -> None:
    code, _, err = run_cli("train", "--epochs", "0")
    assert code == 2
    assert "--epochs" in err


def test_no_server_is_exit_code_three(run_cli: Run) -> None:
    code, out, err = run_cli("job", "list", "--url", "http://127.0.0.1:1", "--json")
    assert (code, out) == (3, "")
    assert json.loads(err) == {
        "code": "no_server",
        "detail": "No Heimdall answers at http://127.0.0.1:1. Start one with: heimdall up, or name the one that runs: --url, HEIMDALL_URL.",
        "field": None,
    }


def test_error_of_the_server_is_exit_code_one_with_its_field(run_cli: Run) -> None:
    code, _, err = run_cli("job", "show", "nothing", server=FakeServer({"GET /training/jobs": {"jobs": [], "total": 0}}))
    assert code == 1
    assert "There is no job 'nothing'. See: heimdall job list" in err


def test_setting_that_is_none_names_its_variable(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIMDALL_PORT", "many")
    code, _, err = run_cli("config")
    assert code == 1
    assert err == "HEIMDALL_PORT is 'many'; it should be a whole number. 'heimdall config' explains it.\n"


def test_list_setting_that_is_no_json_shows_how(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIMDALL_WORKER_QUEUES", "cpu")
    assert '["cpu"]' in run_cli("config")[2]


def test_config_hides_secrets_and_tells_what_is_set(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIMDALL_TOKEN", "very-secret")
    monkeypatch.setenv("HEIMDALL_DATABASE_URL", "postgresql://me:very-secret@host/db")
    code, out, _ = run_cli("config", "--json")
    rows = {row["variable"]: row for row in json.loads(out)}
    assert code == 0
    assert "very-secret" not in out
    assert rows["HEIMDALL_DATABASE_URL"]["value"] == "postgresql://me:**********@host/db"
    assert (rows["HEIMDALL_TOKEN"]["is_set"], rows["HEIMDALL_PORT"]["is_set"]) == (True, False)
    assert all(row["meaning"] for row in rows.values())


def test_open_host_without_token_is_refused_with_the_fix(run_cli: Run) -> None:
    code, _, err = run_cli("up", "--host", "0.0.0.0", "--json")
    error = json.loads(err)
    assert (code, error["code"], error["field"]) == (1, "token_needed", "host")
    assert "export HEIMDALL_TOKEN=" in error["detail"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("heimdall jo", "job"),
        ("heimdall job ", "list"),
        ("heimdall dataset import ", "powder"),
        ("heimdall train --dev", "--device"),
        ("heimdall job list --status pending,ru", "pending,running"),
    ],
)
def test_shell_completes_commands_options_and_values(words: str, offered: str) -> None:
    environment = {**os.environ, "_HEIMDALL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    found = subprocess.run([sys.executable, "-m", "heimdall.cli.main"], env=environment, capture_output=True, text=True, check=False)
    assert offered in found.stdout.split(), found.stderr
