from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from heimdall.cli import main as cli_main
from heimdall.cli.session import Session


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line against a fake server; answers exit code, standard output and standard error."""

    def run(*words: str, server: Any = None) -> tuple[int, str, str]:
        if server is not None:
            monkeypatch.setattr(Session, "client", server)
        code = cli_main.run(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    monkeypatch.delenv("HEIMDALL_URL", raising=False)
    monkeypatch.delenv("HEIMDALL_TOKEN", raising=False)
    return run


class Keyboard(io.StringIO):
    """Standard input of a person at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a person sit at the terminal who types the given text."""
    return lambda text: monkeypatch.setattr("sys.stdin", Keyboard(text))
