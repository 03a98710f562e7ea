"""Who may talk to the server: Host, Origin and token, before any route; and the headers that every answer carries.

- **Host** must be a loopback name, an IP address, the bound name or an allowed one: a foreign name that resolves to this
  machine (DNS rebinding) reaches nothing.
- **Origin**, where a browser sends one, must be the server's own or an allowed one, for every socket and every request
  that is not GET, HEAD or OPTIONS.
- **Who asks**, where a token or an identity provider is set: ``Authorization: Bearer``, the cookie that opening any page once
  with ``?token=`` sets, or the one of a sign-in. Liveness, readiness and the page's own files are free; they hold no data.
  Wrong tokens are counted (``guesses.py``).
- **Role**, by the one table of ``access.py``.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from heimdall.api.access import check_role
from heimdall.api.content_policy import make_policy
from heimdall.api.credentials import TOKEN_COOKIE
from heimdall.api.errors import ForeignOriginError, NotAllowedError, TooManyRequestsError, error_response, problem_response
from heimdall.api.routes.auth import CALLBACK_PATH, LOGIN_PATH
from heimdall.domain.access import Principal, Role
from heimdall.domain.errors import AuthenticationError, HeimdallError
from heimdall.services.audit import Actor, acting

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from heimdall.api.credentials import Credentials
    from heimdall.settings import Settings

log = structlog.get_logger()

_COOKIE_AGE_S: Final = 30 * 24 * 3600
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_GUARDED: Final = ("/api/", "/ws/", "/metrics", "/openapi.json")
_FREE: Final = frozenset({"/api/v1/health/live", "/api/v1/health/ready"})
_NOBODY: Final = Principal(who="anonymous", role=Role.VIEWER, means="loopback")
"""Whoever asks for what is free where a token or a sign-in is needed for the rest."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_PAGE_SCHEMES: Final = {"ws": "http", "wss": "https"}
_EXPOSED: Final = "ETag, Location, Content-Disposition, Retry-After, X-Last-Line, X-Request-Id"

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": make_policy(),
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
        ``host``, ``allowed_hosts`` and ``allowed_origins``.
    credentials
        Proves who asks.
    """

    def __init__(self, app: ASGIApp, settings: Settings, credentials: Credentials) -> None:
        self._app = app
        self._credentials = credentials
        public_parts = urlsplit(settings.public_url or "")
        outer = (f"{public_parts.scheme}://{public_parts.netloc}",) if settings.public_url else ()
        self._origins = frozenset(map(_normalize_origin, (*settings.allowed_origins, *outer)))
        public = public_parts.hostname
        own = {settings.host.lower(), socket.gethostname().lower(), *([public] if public else [])}
        self._hosts = _LOOPBACK_NAMES | own | set(map(str.lower, settings.allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on with the security headers added to the answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        is_allowed_origin = origin is not None and _normalize_origin(origin) in self._origins
        guarded_send = self._add_headers(send, origin if is_allowed_origin else None)
        principal = _NOBODY
        refusal = (
            self._refuse(scope, headers, is_allowed_origin)
            or self._answer_preflight(scope, headers, is_allowed_origin)
            or self._exchange_token(scope)
        )
        if refusal is None:
            principal, refusal = await self._admit(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        state = scope.setdefault("state", {})
        state["principal"] = principal
        with acting(Actor(principal, _address_of(scope) or None, state.get("request_id"))):
            # A socket's frames need no headers, and there may be very many.
            await self._app(scope, receive, send if scope["type"] == "websocket" else guarded_send)

    def _refuse(self, scope: Scope, headers: Headers, is_allowed_origin: bool) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) > 1:
            return problem_response(_bad_request(scope), "unknown_host", "The request names more than one Host. Send one.")
        host = hosts[0] if hosts else ""
        if not self._is_known_host(host):
            detail = f"This server does not answer to the host name '{host[:100]}'. Add it to HEIMDALL_ALLOWED_HOSTS."
            return problem_response(_bad_request(scope), "unknown_host", detail)
        is_acting = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if is_acting and not is_allowed_origin and not _is_same_origin(headers.get("origin"), host, scope["scheme"]):
            detail = f"The page comes from {headers['origin'][:100]}, not from this server. Add its origin to HEIMDALL_ALLOWED_ORIGINS."
            return error_response(ForeignOriginError(detail))
        return None

    async def _admit(self, scope: Scope, headers: Headers) -> tuple[Principal, Response | None]:
        """Find out who asks and whether they may."""
        method = scope.get("method", "GET")
        is_page = not scope["path"].startswith(_GUARDED)
        if scope["path"] in _FREE or (is_page and not self._sends_to_sign_in(scope, headers)):
            return _NOBODY, None
        try:
            principal = await self._credentials.identify(headers, _address_of(scope))
            if not is_page:
                check_role(principal, method, scope["path"])
        except NotAllowedError as error:
            log.warning("access_refused", who=principal.who, role=principal.role.value, method=method, path=scope["path"][:200])
            return _NOBODY, error_response(error)
        except (AuthenticationError, TooManyRequestsError) as error:
            if is_page:
                asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
                return _NOBODY, RedirectResponse(f"{LOGIN_PATH}?next={quote(asked)}", 303, headers={"Cache-Control": "no-store"})
            if scope["type"] == "websocket" and isinstance(error, AuthenticationError):
                return _NOBODY, problem_response(403, error.code, error.detail)
            return _NOBODY, error_response(error)
        except HeimdallError as error:
            return _NOBODY, error_response(error)
        return principal, None

    def _sends_to_sign_in(self, scope: Scope, headers: Headers) -> bool:
        """Return whether this asks for a page that makes no sense before a sign-in."""
        is_navigation = scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        is_own = scope["path"] in (LOGIN_PATH, CALLBACK_PATH) or scope["path"].startswith("/health")
        return self._credentials.provider is not None and is_navigation and not is_own

    def _is_known_host(self, host: str) -> bool:
        name = _split_host(host)[0]
        if name in self._hosts or (name and "*" in self._hosts):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _exchange_token(self, scope: Scope) -> Response | None:
        """Turn ``?token=`` of a page into the cookie, and take it out of the address."""
        is_page = scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith(_GUARDED)
        if not self._credentials.has_token or not is_page:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if not given:
            return None
        try:
            is_right = self._credentials.check_token(given[0], _address_of(scope))
        except TooManyRequestsError as error:
            return error_response(error)
        if not is_right:
            return error_response(AuthenticationError("The token in the address is not the server's. Take it from HEIMDALL_TOKEN."))
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # A path of two slashes would lead to another server.
        target = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        response = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
        response.set_cookie(
            TOKEN_COOKIE,
            self._credentials.token_cookie or "",
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="strict",
            secure=scope["scheme"] == "https",
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


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _bad_request(scope: Scope) -> int:
    return 403 if scope["type"] == "websocket" else 400


def _split_host(host: str) -> tuple[str, int | None]:
    """Return name and port of a Host header, the name in lower case and without brackets; no name where it is none."""
    found = _HOST.fullmatch(host)
    if found is None:
        return "", None
    return found[1].strip("[]").rstrip(".").lower(), int(found[2]) if found[2] else None


def _normalize_origin(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


def _is_same_origin(origin: str | None, host: str, scheme: str) -> bool:
    """Return whether the request comes from the server's own page, or from no page at all."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        name, port = _split_host(host)
        is_own_scheme = parts.scheme == _PAGE_SCHEMES.get(scheme, scheme)
        # A proxy that ends TLS leaves us with http; it stands on the port that is not named. Our own port speaks http alone.
        is_before_a_proxy = parts.scheme == "https" and parts.port is None and port is None
        is_same = bool(parts.hostname) and parts.hostname == name and (parts.port or default) == (port or default)
        return is_same and (is_own_scheme or is_before_a_proxy)
    except ValueError:
        return False
