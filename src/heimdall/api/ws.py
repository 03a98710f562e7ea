"""The sockets: ``/ws/training/{job_id}?since=SEQ`` for one job, ``/ws/training?since=SEQ`` for all.

First ``connected``, then every event after ``since`` from the database, then live; none missing, none twice. Without
``since`` a job's socket sends the job's whole log, the socket of all jobs what comes from now on. A ``since`` beyond the
newest event (another database) counts as the newest. Closes: 4400 ``since`` is no number or a message is no JSON, 4404
no such job or it was deleted, 4408 too slow, 1013 the database does not answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson
import structlog
from starlette.routing import WebSocketRoute

from heimdall.api.frames import write_frame
from heimdall.api.subscribers import CLOSE_GONE, CLOSE_SLOW, Delivery, Subscriber
from heimdall.api.websocket_protocol import find_frame_writer
from heimdall.domain.errors import HeimdallError, NotFoundError
from heimdall.domain.events import EventType, StoredEvent

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from heimdall.api.tail import EventTail
    from heimdall.bootstrap import Container

log = structlog.get_logger()

CLOSE_BAD_REQUEST: Final = 4400
CLOSE_TRY_LATER: Final = 1013
_PAGE: Final = 1000
_JOIN_PATIENCE_S: Final = 5.0
_CLOSE_PATIENCE_S: Final = 10.0
_MAX_REASON_BYTES: Final = 120


class EventSocket:
    """One ASGI application for both addresses."""

    def __init__(self, container: Container, tail: EventTail) -> None:
        self._container = container
        self._tail = tail

    def routes(self) -> list[WebSocketRoute]:
        """Return the routes of both sockets."""
        return [WebSocketRoute("/ws/training", self), WebSocketRoute("/ws/training/{job_id}", self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until either side ends it."""
        await receive()
        await send({"type": "websocket.accept"})
        since = _read_since(scope)
        if since == _INVALID:
            await _close(send, CLOSE_BAD_REQUEST, "since must be a whole number from 0, the last seq received")
            return
        job_id = scope["path_params"].get("job_id")
        try:
            async with asyncio.timeout(_JOIN_PATIENCE_S):
                subscriber = await self._tail.join(job_id, find_frame_writer(scope))
        except TimeoutError:
            await _close(send, CLOSE_TRY_LATER, "the event log cannot be read now; try again later")
            return
        try:
            code, reason = await _Connection(self._container, self._tail, subscriber, since, receive, send).run()
        finally:
            self._tail.leave(subscriber)
        if code:
            await _close(send, code, reason)


class _Connection:
    """One accepted socket: one task reads, one writes, and whichever ends first decides."""

    def __init__(
        self, container: Container, tail: EventTail, subscriber: Subscriber, since: int | None, receive: Receive, send: Send
    ) -> None:
        self._container = container
        self._tail = tail
        self._subscriber = subscriber
        self._since = since
        self._receive = receive
        self._send = send

    async def run(self) -> tuple[int, str]:
        """Serve; return how to close, or code 0 where the client is already gone."""
        subscriber = self._subscriber
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        try:
            watched: list[asyncio.Future[Any]] = [reader, writer, subscriber.ended]
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A writer that waits for a slow client is interrupted between two frames, never inside one.
            unfinished = [task for task in (reader, writer) if not task.done()]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        if writer.done() and not writer.cancelled() and (error := writer.exception()) is not None:
            return self._judge(error)
        if subscriber.ended.done():
            code, reason = subscriber.ended.result()
            self._tail.num_dropped += code == CLOSE_SLOW
            return code, reason
        return 0, ""

    @staticmethod
    def _judge(error: BaseException) -> tuple[int, str]:
        if isinstance(error, NotFoundError):
            return CLOSE_GONE, error.detail
        if isinstance(error, HeimdallError):
            log.warning("socket_interrupted", reason=error.detail)
            return CLOSE_TRY_LATER, error.detail
        if isinstance(error, OSError):  # the client went between two frames
            return 0, ""
        raise error

    async def _read(self) -> None:
        """Answer pings until the client goes."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            asked = _parse(message)
            if asked is None:
                self._subscriber.end(CLOSE_BAD_REQUEST, 'send JSON, like {"event": "ping"}')
            elif asked.get("event") == "ping":
                self._subscriber.offer_reply(self._write_reply(EventType.PONG, {}))

    async def _write(self) -> None:
        subscriber = self._subscriber
        await self._greet()
        while True:
            if subscriber.is_replaying:
                await self._replay()
            await subscriber.wait()
            events, others = subscriber.take()
            for number, delivery in events:
                await self._send_event(number, delivery)
            for text in others:
                await self._send_text(text)

    async def _greet(self) -> None:
        """Send ``connected`` and settle where the replay begins."""
        last_seq, job = await asyncio.to_thread(self._read_start, self._since or 0)
        if self._since is None:
            self._subscriber.cursor = last_seq if self._subscriber.job_id is None else 0
        else:
            self._subscriber.cursor = min(self._since, last_seq)
        await self._send_text(self._write_reply(EventType.CONNECTED, {"last_seq": last_seq, "job": job}))

    def _read_start(self, since: int) -> tuple[int, orjson.Fragment | None]:
        of_all = self._subscriber.job_id is None
        with self._container.store.read(settled=of_all) as tx:
            if self._subscriber.job_id is None:
                return tx.events.last_position(known=since), None
            job = tx.jobs.get(self._subscriber.job_id)
            return job.last_seq, orjson.Fragment(job.model_dump_json())

    async def _replay(self) -> None:
        """Send what the database has after the cursor, until it has nothing that is not already waiting here."""
        subscriber = self._subscriber
        while True:
            page = await asyncio.to_thread(self._read_page, subscriber.cursor)
            for event in page:
                await self._send_event(subscriber.number_of(event), Delivery(event))
            if len(page) < _PAGE and subscriber.go_live():
                return

    def _read_page(self, since: int) -> list[StoredEvent]:
        of_all = self._subscriber.job_id is None
        with self._container.store.read(settled=of_all) as tx:
            if self._subscriber.job_id is None:
                return tx.events.read_page(since=since, limit=_PAGE).events
            return tx.events.list_of_job(self._subscriber.job_id, since=since, limit=_PAGE)

    async def _send_event(self, number: int, delivery: Delivery) -> None:
        await self._send_text(self._subscriber.frame_of(delivery).text)
        self._subscriber.cursor = number
        if delivery.event.type is EventType.DELETED and self._subscriber.job_id is not None:
            raise NotFoundError("The job was deleted.")

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})
        self._tail.num_sent += 1

    def _write_reply(self, event: EventType, data: dict[str, Any]) -> str:
        return write_frame(event, data, timestamp=self._container.clock.now(), job_id=self._subscriber.job_id).decode()


_INVALID: Final = -1


def _read_since(scope: Scope) -> int | None:
    """Return ``since`` of the address, None where it is absent, -1 where it is no whole number from 0."""
    given = parse_qs(scope["query_string"].decode("latin-1")).get("since")
    if not given:
        return None
    text = given[-1]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else _INVALID


def _parse(message: Any) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        parsed = orjson.loads(message.get("text") or message.get("bytes") or b"")
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


async def _close(send: Send, code: int, reason: str) -> None:
    """Close with a reason. A client that reads nothing any more is left to the transport."""
    short = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
    try:
        async with asyncio.timeout(_CLOSE_PATIENCE_S):
            await send({"type": "websocket.close", "code": code, "reason": short})
    except TimeoutError:
        log.info("socket_abandoned", code=code)
