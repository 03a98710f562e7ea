"""Loads the server's libraries without the parts that a server never uses: near a third of its start (``bench/startup.py``).

Only the server's own process does this, before anything else is imported; tests and other commands load everything.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel
from pydantic.warnings import UnsupportedFieldAttributeWarning

_PAUSE_S: Final = 0.001
"""s, enough for another thread to wake up and take the interpreter."""


def load_lightly() -> None:
    """Leave out what no request needs.

    * Validators are built at their first use or by :func:`build_models`, whichever comes first: FastAPI alone builds
      them for the whole OpenAPI language (some by name), which only the writer of ``/openapi.json`` needs.
    * pydantic reads what every installed package offers, to find plugins. There are none here.
    * FastAPI looks for models of pydantic's first version, which would load all of it. There are none here.
    * uvicorn's command line brings click and the supervisors of its several processes. This server is one process.
    * structlog would load rich to colour tracebacks, which our log lines never do (``heimdall.logs``).
    """
    # FastAPI ignores this one itself while it builds a parameter; here that comes later, at the first request.
    warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    BaseModel.model_config["defer_build"] = True
    sys.modules["pydantic.v1"] = None  # type: ignore[assignment]
    command_line = ModuleType("uvicorn.main")
    command_line.Server = command_line.main = command_line.run = None  # type: ignore[attr-defined]
    with _standing_in("uvicorn.main", command_line):
        import uvicorn.server
    uvicorn.Server = uvicorn.server.Server  # type: ignore[misc]
    with _standing_in("rich", None):
        import structlog  # noqa: F401
    with _no_rebuild():
        import fastapi  # noqa: F401


def build_models() -> None:
    """Build the validators that the start left out, so that no request waits for them. Any thread may do it.

    It pauses after each: a request that comes meanwhile waits for one of them, not for all.
    """
    from heimdall.domain.base import Entity

    waiting: list[type[BaseModel]] = [Entity]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        model.model_rebuild()
        time.sleep(_PAUSE_S)


@contextmanager
def _no_rebuild() -> Iterator[None]:
    """Let a bare ``model_rebuild()`` wait for the model's first use, which calls it with options, for as long as the block runs."""
    rebuild = BaseModel.__dict__["model_rebuild"]

    def rebuild_in_use(model: type[BaseModel], /, **options: Any) -> bool | None:  # noqa: ANN401
        built: bool | None = rebuild.__func__(model, **options) if options else None
        return built

    BaseModel.model_rebuild = classmethod(rebuild_in_use)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        BaseModel.model_rebuild = rebuild  # type: ignore[method-assign]


@contextmanager
def _standing_in(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let ``import name`` find ``module`` (None: nothing) for as long as the block runs, where it is not loaded yet."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
