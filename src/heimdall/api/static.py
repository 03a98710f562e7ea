"""Serves the built page: hashed files for ever, its index anew each time, and a plain page where nothing was built."""

from __future__ import annotations

import mimetypes
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from heimdall.api.content_policy import make_policy
from heimdall.api.responses import is_unchanged

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from heimdall.settings import Settings

_SERVER_PATHS: Final = ("/api", "/ws", "/health", "/metrics", "/openapi.json", "/docs", "/redoc")
"""No address of the page. The last two are where others describe their API; here that is ``/openapi.json``."""
_HASHED: Final = re.compile(r"-[A-Za-z0-9_-]{8,}\.\w+$")
_POLICY: Final = "Content-Security-Policy"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_PACKED: Final = ((".br", "br"), (".gz", "gzip"))

_BARE_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Heimdall</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 42rem; margin: 12vh auto; padding: 0 1.25rem; }
code { background: color-mix(in srgb, currentColor 10%, transparent); padding: .15em .4em; border-radius: .3em; }
</style>
</head>
<body>
<h1>Heimdall is running</h1>
<p>The page itself was not built yet. In the project's folder, run <code>make install</code> and reload; Node 20 or newer is needed.</p>
<p>Meanwhile everything works by <a href="/openapi.json">the API</a> and by the command line: <code>heimdall --help</code>.</p>
<ul>
<li><a href="/api/v1/training/jobs">jobs</a></li>
<li><a href="/api/v1/training/models">models</a></li>
<li><a href="/api/v1/training/datasets">data sets</a></li>
<li><a href="/health/ready">health</a></li>
</ul>
</body>
</html>
"""


class Page:
    """Answers every GET that no route took.

    Parameters
    ----------
    settings
        Where the page was built; looked for at each start page, so that a build needs no restart.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what no route took: a GET with the page, everything else with 404 (403 before a socket's upgrade)."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        request = Request(scope)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        response = await run_in_threadpool(self.serve, request)
        await response(scope, receive, send)

    def serve(self, request: Request) -> Response:
        """Return a file of the page, or its index for an address of the page's own.

        Raises
        ------
        HTTPException
            404 for a server path or a file that is not there.
        """
        path = request.url.path
        asked = "/" + path.lstrip("/")
        if any(asked == prefix or asked.startswith(prefix + "/") for prefix in _SERVER_PATHS):
            raise HTTPException(404)
        folder = self._settings.find_frontend()
        if folder is None:
            if "." in path.rsplit("/", 1)[-1]:
                raise HTTPException(404)
            return HTMLResponse(_BARE_PAGE, headers={"Cache-Control": "no-cache", _POLICY: make_policy(_BARE_PAGE)})
        file = _find_file(folder, path)
        if file is not None and file.name != "index.html":
            is_for_ever = path.startswith("/assets/") and _HASHED.search(file.name) is not None
            return _serve_file(request, file, _FOR_EVER if is_for_ever else "no-cache")
        if file is None and "." in path.rsplit("/", 1)[-1]:
            raise HTTPException(404)
        return _serve_index(request, folder / "index.html")


def _find_file(folder: Path, path: str) -> Path | None:
    """Return the file below ``folder``, never one outside it."""
    relative = path.lstrip("/")
    if not relative or "\\" in relative or "\0" in relative:
        return None
    root = folder.resolve()
    try:
        file = (root / relative).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None
    except OSError:
        return None


def _serve_index(request: Request, file: Path) -> Response:
    found = file.stat()
    response = _serve_file(request, file, "no-cache")
    # With a 304 too: its headers replace those of the copy that the browser has.
    response.headers[_POLICY] = _read_policy(file, found.st_mtime_ns, found.st_size)
    return response


@lru_cache(maxsize=4)
def _read_policy(file: Path, _mtime_ns: int, _size_bytes: int) -> str:
    return make_policy(file.read_text(encoding="utf-8"))


def _serve_file(request: Request, file: Path, cache_control: str) -> Response:
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = {"Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    for suffix, coding in _PACKED:
        packed = file.with_name(file.name + suffix)
        if coding in request.headers.get("accept-encoding", "") and packed.is_file():
            return _tag(request, FileResponse(packed, 200, {**headers, "Content-Encoding": coding}, media_type, stat_result=packed.stat()))
    return _tag(request, FileResponse(file, 200, headers, media_type, stat_result=file.stat()))


def _tag(request: Request, response: FileResponse) -> Response:
    """Return 304 where the client has this very file."""
    if is_unchanged(request, response.headers["etag"]):
        return Response(status_code=304, headers={name: response.headers[name] for name in ("etag", "cache-control", "vary")})
    return response
