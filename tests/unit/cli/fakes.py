"""A server that answers from a table, so that commands run without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from heimdall.cli.client import ServerClient

Handler = Callable[[httpx.Request], httpx.Response]


class FakeSocket:
    """A socket that sends some frames and then ends, well or not."""

    def __init__(self, frames: list[dict[str, Any]], error: BaseException | None = None) -> None:
        self._frames, self._error = frames, error

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[str]:
        for frame in self._frames:
            yield json.dumps(frame)
        if self._error is not None:
            raise self._error


class FakeServer(ServerClient):
    """Routes by ``METHOD /path`` below /api/v1; records requests; sockets from a script."""

    def __init__(self, routes: dict[str, Any] | None = None, sockets: list[Any] | None = None, token: str | None = None) -> None:
        super().__init__("http://127.0.0.1:1", token, transport=httpx.MockTransport(self._answer))
        self.routes = routes or {}
        self.requests: list[httpx.Request] = []
        self.socket_paths: list[str] = []
        self._sockets = iter(sockets or [])

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.routes.get(f"{request.method} {request.url.path.removeprefix('/api/v1')}")
        if answer is None:
            return httpx.Response(404, json={"code": "not_found", "detail": f"no {request.url.path}"})
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def connect_socket(self, path: str) -> Any:
        self.socket_paths.append(path)
        script = next(self._sockets)
        if isinstance(script, BaseException):
            raise script
        return script


def make_job(**changes: Any) -> dict[str, Any]:
    config = {"model_architecture": "deepsets-s", "epochs": 3}
    job: dict[str, Any] = {
        "id": "11111111-2222-4333-8444-555555555555", "name": "first", "status": "running", "pending_action": None, "attempt": 1,
        "created_at": "2026-01-02T03:04:05.000000Z", "started_at": "2026-01-02T03:04:06.000000Z", "completed_at": None,
        "config": config, "progress_percent": 0.0, "current_epoch": 0, "total_epochs": 3, "dataset_id": "d1", "model_id": None,
        "last_seq": 0, "best_epoch": None, "best_val_loss": None,
    }  # fmt: skip
    return {**job, **changes}


def frame(event: str, seq: int | None, **data: Any) -> dict[str, Any]:
    return {"event": event, "seq": seq, "job_id": "j", "timestamp": "2026-01-02T03:04:05.000000Z", "data": data}


def connected(job: dict[str, Any]) -> dict[str, Any]:
    return frame("connected", None, last_seq=job["last_seq"], job=job)
