"""Work that the server does beside requests: each kind is watched, started again when it fails, and shown in ``/health/ready``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from heimdall.api.schemas import Dependency

log = structlog.get_logger()

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_PROVEN_S: Final = 30.0
"""s of life after which a failure counts as the first again."""


@dataclass
class _Work:
    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    task: asyncio.Task[None] | None = None
    failure: str | None = None
    pause_s: float = _FIRST_PAUSE_S
    started_at: float = 0.0
    restart: asyncio.TimerHandle | None = None


class BackgroundTasks:
    """Keeps coroutines running for as long as the server does. A death is logged with its traceback, never silent."""

    def __init__(self) -> None:
        self._works: list[_Work] = []
        self._is_stopping = False

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``run`` until :meth:`stop`; whenever it ends before, start it again after a growing pause."""
        work = _Work(name, run)
        self._works.append(work)
        self._launch(work)

    def report(self) -> tuple[Dependency, ...]:
        """Return each kind of work with what is wrong with it."""
        return tuple(Dependency(name=work.name, status="down" if work.failure else "up", detail=work.failure) for work in self._works)

    def recovered(self, name: str) -> None:
        """Note that work called ``name`` does what it should again."""
        for work in self._works:
            if work.name == name and work.failure:
                work.failure = None
                log.info("background_work_recovered", work=name)

    def troubled(self, name: str, reason: str) -> None:
        """Note that work called ``name`` goes on, but without success; logged once per trouble."""
        for work in self._works:
            if work.name == name and work.failure is None:
                work.failure = reason
                log.warning("background_work_troubled", work=name, reason=reason)

    async def stop(self) -> None:
        """End everything and wait for it."""
        self._is_stopping = True
        tasks = [work.task for work in self._works if work.task is not None]
        for work in self._works:
            if work.restart is not None:
                work.restart.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launch(self, work: _Work) -> None:
        loop = asyncio.get_running_loop()
        work.started_at = loop.time()
        work.task = loop.create_task(work.run(), name=work.name)
        work.task.add_done_callback(lambda task: self._ended(work, task))

    def _ended(self, work: _Work, task: asyncio.Task[None]) -> None:
        if self._is_stopping or task.cancelled():
            return
        loop = asyncio.get_running_loop()
        error = task.exception()
        if loop.time() - work.started_at > _PROVEN_S:
            work.pause_s = _FIRST_PAUSE_S
        work.failure = f"It stopped ({error or 'without an error'}) and is being started again; the server's log has the details."
        log.error("background_work_died", work=work.name, again_in_s=work.pause_s, exc_info=error)
        work.restart = loop.call_later(work.pause_s, self._launch, work)
        work.pause_s = min(work.pause_s * 2, _LONGEST_PAUSE_S)
