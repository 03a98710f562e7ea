"""``heimdall config``: the table of settings."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

import typer
from pydantic import SecretStr

from heimdall.cli.output import Output
from heimdall.cli.session import AsJson, load_settings
from heimdall.cli.table import Column
from heimdall.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_HIDDEN: Final = "**********"
_PASSWORD: Final = re.compile(r"(?<=://)([^/@:]*:)[^/@]+(?=@)")
"""The password inside a URL."""

COMPUTED_DEFAULTS: Final = {"data_dir": "$XDG_DATA_HOME/heimdall, else ~/.local/share/heimdall"}
"""Words for defaults that depend on the person and the machine."""


@app.command("config")
def print_settings(as_json: AsJson = False) -> None:
    """Print every setting with its present value, default and meaning. Set one with its HEIMDALL_ variable."""
    out = Output(as_json=as_json)
    settings = load_settings()
    rows = [
        {
            "variable": name_variable(name),
            "value": _to_json(getattr(settings, name)),
            "default": describe_default(name, field),
            "is_set": name_variable(name) in os.environ,
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]

    def show() -> None:
        shown = [(row["variable"], _to_text(row["value"]), row["default"], row["meaning"]) for row in rows]
        out.table([Column(heading) for heading in ("variable", "value", "default", "meaning")], shown, empty="")

    out.result(rows, show)


def name_variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"HEIMDALL_{name.upper()}"


def describe_default(name: str, field: FieldInfo) -> str:
    """Return the default as it would be written in the environment; a dash for none."""
    if name in COMPUTED_DEFAULTS:
        return COMPUTED_DEFAULTS[name]
    return _to_text(_to_json(field.default))


def _to_json(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, SecretStr):
        return _HIDDEN
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1" + _HIDDEN, value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _to_text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)
