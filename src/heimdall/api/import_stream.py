"""Tells of an import while it runs: a line of JSON for each check as it is done, and one for how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import StreamingResponse

from heimdall.api.errors import INTERNAL_DETAIL, status_of
from heimdall.api.schemas import Problem
from heimdall.domain.base import Entity
from heimdall.domain.errors import HeimdallError
from heimdall.domain.models import OnCheck, VerificationCheck

if TYPE_CHECKING:
    from starlette.requests import Request

    from heimdall.api.schemas import ImportResult

LINES_TYPE: Final = "application/x-ndjson"
LINES_SCHEMA: Final[dict[str, Any]] = {
    "description": "Asked for with `Accept: application/x-ndjson`: a line with `check` for each check as it is done; the last line "
    "has `status`, and `result` or `problem`.",
    "type": "object",
    "properties": {
        "check": {"$ref": "#/components/schemas/VerificationCheck"},
        "status": {"type": "integer", "description": "as it would stand without lines: 200 or 201, or the error's"},
        "result": {"$ref": "#/components/schemas/ImportResult"},
        "problem": {"$ref": "#/components/schemas/Problem"},
    },
}
_running: Final[set[asyncio.Task[None]]] = set()
"""An import goes on to its end also where nobody listens any more, as it does without lines."""

logger = logging.getLogger(__name__)


def wants_lines(request: Request) -> bool:
    """Return whether the client asks to be told while the import runs."""
    return LINES_TYPE in request.headers.get("accept", "")


def stream_import(work: Callable[[OnCheck], Awaitable[tuple[int, ImportResult]]], held: AsyncExitStack) -> StreamingResponse:
    """Start ``work`` and answer with its lines; what ``held`` holds is let go when the work has ended."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(check: VerificationCheck) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, _line(check=check))

    async def run() -> None:
        try:
            async with held:
                status, result = await work(tell)
            last = _line(status=status, result=result)
        except HeimdallError as error:
            last = _line(status=status_of(error), problem=Problem(code=error.code, detail=error.detail, field=error.field))
        except Exception:
            logger.exception("import_failed")
            last = _line(status=500, problem=Problem(code="internal", detail=INTERNAL_DETAIL))
        lines.put_nowait(last)
        lines.put_nowait(None)

    task = asyncio.create_task(run())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return StreamingResponse(_take(lines), media_type=LINES_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _take(lines: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (line := await lines.get()) is not None:
        yield line


def _line(**parts: Entity | int) -> bytes:
    whole = {name: orjson.Fragment(part.model_dump_json()) if isinstance(part, Entity) else part for name, part in parts.items()}
    return orjson.dumps(whole) + b"\n"
