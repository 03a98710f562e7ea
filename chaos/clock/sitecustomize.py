"""Loaded by every process of an instance under test: its clock is off by the seconds that stand in a file.

Python reads this module at its start because the harness puts this folder on ``PYTHONPATH``. The product itself has no such switch.
"""

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

OFFSET = Path(os.environ.get("HEIMDALL_CHAOS_CLOCK", "/nonexistent"))


def _shift(module: ModuleType) -> None:
    original = module.SystemClock.now

    def now(self: object) -> datetime:
        try:
            offset_s = float(OFFSET.read_text())
        except (OSError, ValueError):
            offset_s = 0.0
        instant: datetime = original(self)
        return instant + timedelta(seconds=offset_s)

    module.SystemClock.now = now


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        _shift(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "heimdall.bootstrap":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
