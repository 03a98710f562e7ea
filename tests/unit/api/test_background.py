"""Work beside requests never dies silently."""

from __future__ import annotations

import asyncio

from heimdall.api.background import BackgroundTasks
from heimdall.domain.errors import UnavailableError


def test_work_that_dies_is_shown_and_started_again() -> None:
    async def check() -> None:
        background = BackgroundTasks()
        runs = 0
        is_back = asyncio.Event()

        async def fail_once() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise RuntimeError("boom")
            background.recovered("work")
            is_back.set()
            await asyncio.Event().wait()

        background.start("work", fail_once)
        while not background.report()[0].detail:
            await asyncio.sleep(0)
        down = background.report()[0]
        assert (down.name, down.status) == ("work", "down")
        assert down.detail is not None
        assert "boom" in down.detail
        await asyncio.wait_for(is_back.wait(), 5)
        assert background.report()[0].status == "up"
        await background.stop()
        assert runs == 2

    asyncio.run(check())


def test_trouble_and_recovery_are_shown() -> None:
    async def check() -> None:
        background = BackgroundTasks()
        background.start("work", asyncio.Event().wait)  # type: ignore[arg-type]
        background.troubled("work", UnavailableError("away.").detail)
        assert background.report()[0].detail == "away."
        background.recovered("work")
        assert background.report()[0].status == "up"
        await background.stop()

    asyncio.run(check())


def test_stopping_ends_everything_even_what_waits_to_start_again() -> None:
    async def check() -> None:
        background = BackgroundTasks()

        async def fail() -> None:
            raise RuntimeError("boom")

        background.start("failing", fail)
        background.start("waiting", asyncio.Event().wait)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await background.stop()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(check())
