"""Counts what a piece of work does, not how long it takes: the same on a busy machine and on an idle one.

``bytecodes`` are instructions of the interpreter, ``native_calls`` calls into compiled libraries that do much in one call, ``statements``
and ``sqlite_steps`` what the database was asked for and the instructions of its own machine, ``kernels`` what torch launched.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import FrameType
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.pool import Pool
from torch.utils._python_dispatch import TorchDispatchMode

_HEAVY: Final = ("orjson", "pydantic_core", "sqlite3", "zlib", "numpy", "torch")
_WAITING: Final = ("/asyncio/", "/selectors.py", "/threading.py", "/concurrent/", "/queue.py", "/budget/counting.py", "/httpx/")
"""Code that only waits or measures: how often it turns depends on the scheduler."""

Cost = dict[str, int]
Work = Callable[[], Any]


def measure(work: Work, *, times: int = 3) -> Cost:
    """Return the least of some runs of ``work`` by kind of cost, after two that fill caches."""
    work()
    work()
    costs = [{**_count_interpreter(work), **_count_database(work), **_count_kernels(work)} for _ in range(times)]
    return {kind: min(cost[kind] for cost in costs) for kind in costs[0]}


class Database:
    """Listens to every SQLite connection that is opened while it is entered."""

    def __init__(self) -> None:
        self.steps = bytearray()
        self.statements: list[str] = []

    def __enter__(self) -> Database:
        event.listen(Pool, "connect", self._attach)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Pool, "connect", self._attach)

    def _attach(self, connection: Any, _record: object) -> None:
        connection.set_trace_callback(self.statements.append)
        # A function of C: the counting must not run bytecodes of its own. None means: go on.
        connection.set_progress_handler(partial(self.steps.append, 0), 1)


DATABASE: Final = Database()


def _count_database(work: Work) -> Cost:
    steps, statements = len(DATABASE.steps), len(DATABASE.statements)
    work()
    return {"statements": len(DATABASE.statements) - statements, "sqlite_steps": len(DATABASE.steps) - steps}


class _KernelCount(TorchDispatchMode):
    num_kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_kernels += 1
        return func(*args, **(kwargs or {}))


def _count_kernels(work: Work) -> Cost:
    with _KernelCount() as counted:
        work()
    return {"kernels": counted.num_kernels}


def _count_interpreter(work: Work) -> Cost:
    bytecodes, calls = count(), count()

    def enter(frame: FrameType, _event: str, _argument: object) -> Any:
        if any(part in frame.f_code.co_filename for part in _WAITING):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return step

    def step(_frame: FrameType, kind: str, _argument: object) -> Any:
        if kind == "opcode":
            next(bytecodes)
        return step

    def call(_frame: FrameType, kind: str, function: Any) -> None:
        if kind == "c_call" and _is_heavy(function):
            next(calls)

    with _hooked(enter, call):
        work()
    return {"bytecodes": next(bytecodes), "native_calls": next(calls)}


@contextmanager
def _hooked(enter: Any, call: Any) -> Iterator[None]:
    before = sys.gettrace(), sys.getprofile()
    threading.settrace(enter)
    threading.setprofile(call)
    sys.setprofile(call)
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        threading.settrace(None)  # type: ignore[arg-type]
        threading.setprofile(None)


def _is_heavy(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__
    return str(module).split(".")[0] in _HEAVY
