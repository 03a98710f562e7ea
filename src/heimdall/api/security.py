"""Who may talk to the server: Host, Origin and token, before any route; and the headers that every answer carries.

- **Host** must be a loopback name, an IP address, the bound name or an allowed one: a foreign name that resolves to this
  machine (DNS rebinding) reaches nothing.
- **Origin**, where a browser sends one, must be the server's own or an allowed one, for every socket and every request
  that is not GET, HEAD or OPTIONS.
- **Token**, where one is set: ``Authorization: Bearer``, or the cookie that opening any page once with ``?token=`` sets.
  Liveness, readiness and the page's own files are free; they hold no data.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from heimdall.api.errors import ForeignOriginError, error_response, problem_response
from heimdall.domain.errors import AuthenticationError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from heimdall.settings import Settings

COOKIE: Final = "heimdall_token"
_COOKIE_AGE_S: Final = 30 * 24 * 3600
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_GUARDED: Final = ("/api/", "/ws/", "/metrics", "/openapi.json")
_FREE: Final = frozenset({"/api/v1/health/live", "/api/v1/health/ready"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_EXPOSED: Final = "ETag, Location, Content-Disposition, Retry-After, X-Last-Line"

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "object-src 'none'",
        "form-action 'self'",
    )
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Security:
    """Pure ASGI middleware: refuses before any route runs, and before a socket is upgraded.

    Parameters
    ----------
    app
        What stands behind.
    settings
        ``host``, ``allowed_hosts``, ``allowed_origins`` and ``token``.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.token.get_secret_value() if settings.token is not None else None
        self._cookie = _derive_cookie(self._token) if self._token else None
        self._origins = frozenset(_normalize_origin(origin) for origin in settings.allowed_origins)
        self._hosts = _LOOPBACK_NAMES | {settings.host.lower(), socket.gethostname().lower(), *map(str.lower, settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on with the security headers added to the answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_allowed_origin = origin is not None and _normalize_origin(origin) in self._origins
        guarded_send = self._add_headers(send, origin if is_allowed_origin else None)
        refusal = self._refuse(scope, headers, is_allowed_origin) or self._answer_preflight(scope, headers, is_allowed_origin)
        if refusal is None:
            refusal = self._exchange_token(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        # A socket's frames need no headers, and there may be very many.
        await self._app(scope, receive, send if scope["type"] == "websocket" else guarded_send)

    def _refuse(self, scope: Scope, headers: Headers, is_allowed_origin: bool) -> Response | None:
        host = headers.get("host", "")
        if not self._is_known_host(host):
            detail = f"This server does not answer to the host name '{host[:100]}'. Add it to HEIMDALL_ALLOWED_HOSTS."
            return problem_response(403 if scope["type"] == "websocket" else 400, "unknown_host", detail)
        is_acting = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if is_acting and not is_allowed_origin and not _is_same_origin(headers.get("origin"), host):
            detail = f"The page comes from {headers['origin'][:100]}, not from this server. Add its origin to HEIMDALL_ALLOWED_ORIGINS."
            return error_response(ForeignOriginError(detail))
        is_preflight = is_allowed_origin and scope.get("method") == "OPTIONS"
        if not is_preflight and self._is_guarded(scope["path"]) and not self._is_authenticated(headers):
            detail = "A token is needed: send 'Authorization: Bearer TOKEN', or open the page once with ?token=TOKEN."
            if scope["type"] == "websocket":
                return problem_response(403, "unauthenticated", detail)
            return error_response(AuthenticationError(detail))
        return None

    def _is_known_host(self, host: str) -> bool:
        name = _split_host(host)[0]
        if name in self._hosts or "*" in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_guarded(self, path: str) -> bool:
        return self._token is not None and path.startswith(_GUARDED) and path not in _FREE

    def _is_authenticated(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _is_equal(given.strip(), self._token):
            return True
        return _is_equal(_read_cookie(headers), self._cookie or "")

    def _exchange_token(self, scope: Scope) -> Response | None:
        """Turn ``?token=`` of a page into the cookie, and take it out of the address."""
        if self._token is None or scope["type"] != "http" or scope["method"] != "GET" or self._is_guarded(scope["path"]):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if not given:
            return None
        if not _is_equal(given[0], self._token):
            return error_response(AuthenticationError("The token in the address is not the server's. Take it from HEIMDALL_TOKEN."))
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # A path of two slashes would lead to another server.
        target = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        response = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(
            COOKIE, self._cookie or "", max_age=_COOKIE_AGE_S, httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        return response

    @staticmethod
    def _answer_preflight(scope: Scope, headers: Headers, is_allowed_origin: bool) -> Response | None:
        if not is_allowed_origin or scope.get("method") != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        from starlette.responses import Response

        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-None-Match",
                "Access-Control-Max-Age": "600",
            },
        )

    @staticmethod
    def _add_headers(send: Send, allowed_origin: str | None) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if allowed_origin is not None:
                    headers["Access-Control-Allow-Origin"] = allowed_origin
                    headers["Access-Control-Allow-Credentials"] = "true"
                    headers["Access-Control-Expose-Headers"] = _EXPOSED
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                    headers.add_vary_header("Origin")
            await send(message)

        return send_with_headers


def _derive_cookie(token: str) -> str:
    """Return what the cookie holds: not the token itself, which may hold letters that no cookie may."""
    return hmac.new(token.encode(), b"heimdall cookie", hashlib.sha256).hexdigest()


def _is_equal(given: str, expected: str) -> bool:
    return bool(given) and hmac.compare_digest(given.encode(), expected.encode())


def _read_cookie(headers: Headers) -> str:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _split_host(host: str) -> tuple[str, int | None]:
    """Return name and port of a Host header, the name in lower case and without brackets."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "", None


def _normalize_origin(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


def _is_same_origin(origin: str | None, host: str) -> bool:
    """Return whether the request comes from the server's own page, or from no page at all."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        name, port = _split_host(host)
        return bool(parts.hostname) and parts.hostname == name and (parts.port or default) == (port or default)
    except ValueError:
        return False
