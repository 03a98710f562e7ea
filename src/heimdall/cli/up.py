"""``heimdall up``, ``serve`` and ``worker``: check the settings, then become the process that runs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from heimdall.cli.session import AsJson, load_settings

if TYPE_CHECKING:
    from heimdall.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Host = Annotated[str | None, typer.Option(help="Address to listen on; beyond this machine HEIMDALL_TOKEN is needed. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. [default: 8001]")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of database, artifacts and embedded broker. [default: see 'heimdall config']")]

_DRAIN_MARGIN_S: Final = 2.0
_MODULE: Final = [sys.executable, "-P", "-m"]
"""-P: a file in the present folder must not stand in for a module."""


@app.command("up")
def start_all(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start everything: server, worker and page. Ctrl-C stops it all; jobs that run go on at the next start."""
    from heimdall.cli.supervisor import PLAN_VARIABLE, Plan

    settings = load_settings(host=host, port=port, data_dir=data_dir, log_format="json" if as_json else None)
    settings.check_exposure()
    plan = Plan(
        host=settings.host,
        port=settings.port,
        data_dir=str(settings.data_dir),
        api=[*_MODULE, "heimdall.api"],
        worker=[*_MODULE, "heimdall.worker.main"],
        seed=[*_MODULE, "heimdall.cli.seed"] if settings.seed_demo else [],
        open_browser=not no_browser,
        as_json=as_json,
        log_format=settings.log_format,
        drain_s=settings.stop_grace_s + _DRAIN_MARGIN_S,
    )
    _become([*_MODULE, "heimdall.cli.supervisor"], settings, {PLAN_VARIABLE: plan.to_json()})


@app.command("serve")
def start_server(host: Host = None, port: Port = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start the server alone (REST, socket and page). Jobs wait until a worker runs."""
    settings = load_settings(host=host, port=port, data_dir=data_dir, log_format="json" if as_json else None)
    settings.check_exposure()
    _become([*_MODULE, "heimdall.api"], settings)


@app.command("worker")
def start_worker(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start one worker alone, on the queues of HEIMDALL_WORKER_QUEUES."""
    settings = load_settings(data_dir=data_dir, log_format="json" if as_json else None)
    _become([*_MODULE, "heimdall.worker.main"], settings)


def _become(command: list[str], settings: Settings, more: Mapping[str, str] | None = None) -> NoReturn:
    """Replace this process, which has Pydantic loaded, by the one that stays."""
    chosen = {
        "HEIMDALL_HOST": settings.host,
        "HEIMDALL_PORT": str(settings.port),
        "HEIMDALL_DATA_DIR": str(settings.data_dir),
        "HEIMDALL_LOG_FORMAT": settings.log_format,
    }
    sys.stdout.flush()
    os.execve(command[0], command, {**os.environ, **chosen, **(more or {})})
