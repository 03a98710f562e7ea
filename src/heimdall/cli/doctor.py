"""``heimdall doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import typer

from heimdall.cli.checks import Check, run_checks
from heimdall.cli.output import Output
from heimdall.cli.session import AsJson, load_settings
from heimdall.cli.up import DataDir, Host, Port
from heimdall.domain.errors import HeimdallError

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MARKS = {"ok": ("ok", "green"), "warning": ("look", "yellow"), "missing": ("MISSING", "red")}


class MachineNotReadyError(HeimdallError):
    """Something that Heimdall cannot do without is missing."""

    code = "machine_not_ready"


@app.command("doctor")
def examine(host: Host = None, port: Port = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check this machine and say what is missing. Starts nothing and changes nothing."""
    out = Output(as_json=as_json)
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    found: list[Check] = []
    for check in run_checks(settings):
        found.append(check)
        if not as_json:
            _print_check(out, check)
    missing = [check.name for check in found if check.status == "missing"]
    payload = {"checks": [check.as_dict() for check in found], "is_ready": not missing}
    out.result(payload, lambda: out.line(f"\n{'Not ready: ' + ', '.join(missing) if missing else 'This machine is ready: heimdall up'}"))
    if missing:
        raise MachineNotReadyError(f"Missing: {', '.join(missing)}. What to do stands beside each.")


def _print_check(out: Output, check: Check) -> None:
    word, color = _MARKS[check.status]
    from rich.text import Text

    out.console().print(Text(f"{word:<8}", style=color) + Text(f"{check.name:<14} {check.detail}"), soft_wrap=True)
    if check.fix:
        out.line(f"{'':<8}{'':<14} {check.fix}")
