"""How a worker starts its children: arguments, settings by environment, and nothing inherited by accident."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from heimdall.settings import Settings

_NOT_FOR_CHILDREN = frozenset({"token"})


def make_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a child: this process's, with every setting spelled out."""
    threads = str(settings.resolved_torch_threads)
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        # Read by the numeric libraries when they load; torch is told again by the child.
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # CUDA is reproducible only with a fixed workspace, chosen before its first call.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    for name in Settings.model_fields:
        variable = f"HEIMDALL_{name.upper()}"
        text = None if name in _NOT_FOR_CHILDREN else _spell(getattr(settings, name))
        if text is None:
            environment.pop(variable, None)
        else:
            environment[variable] = text
    return environment


def make_command(module: str, **arguments: str | int) -> list[str]:
    """Return the command that runs a module of this program with named arguments."""
    pairs = (part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", str(value)))
    return [sys.executable, "-m", module, *pairs]


def _spell(value: Any) -> str | None:  # noqa: ANN401
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    return json.dumps(value)
