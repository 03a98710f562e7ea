"""Signing in and out by the identity provider (authorization code with PKCE), and who one is."""

from __future__ import annotations

import html
import secrets
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from heimdall.api.credentials import SESSION_COOKIE
from heimdall.api.deps import services
from heimdall.api.documentation import Route, errors
from heimdall.api.responses import entity_response
from heimdall.domain.access import Principal
from heimdall.domain.errors import AuthenticationError, NotFoundError

if TYPE_CHECKING:
    from heimdall.api.credentials import Credentials
    from heimdall.api.oidc import IdentityProvider

router = APIRouter(tags=["access"], route_class=Route)

LOGIN_PATH: Final = "/auth/login"
CALLBACK_PATH: Final = "/auth/callback"
_LOGIN_COOKIE: Final = "heimdall_login"
_LOGIN_PURPOSE: Final = "login"
_LOGIN_S: Final = 600
_NO_STORE: Final = {"Cache-Control": "no-store"}

# The session's cookie is SameSite=Strict, and a browser that is sent here by the provider does not show it to the page that
# a redirect leads to: a page of our own must lead there.
_WELCOME: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}"><title>Heimdall</title></head>
<body><p>Signed in. <a href="{target}">Go on to Heimdall</a>.</p></body></html>
"""


@router.get("/api/v1/whoami", summary="Say who asks", response_model=Principal, responses=errors())
async def get_principal(request: Request) -> Response:
    """Return who the server takes the sender for, and the role."""
    return entity_response(request.state.principal, headers=_NO_STORE)


@router.get(LOGIN_PATH, include_in_schema=False)
async def start_sign_in(request: Request, next: str = "/") -> Response:
    """Send the person to the provider."""
    provider, credentials = _require_provider(request)
    state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    target = await provider.make_sign_in_url(redirect_uri=_callback_uri(request), state=state, nonce=nonce, verifier=verifier)
    response = RedirectResponse(target, 303, headers=_NO_STORE)
    kept = {"state": state, "nonce": nonce, "verifier": verifier, "next": _local(next)}
    # Lax: the way back from the provider is a step from another site, and must bring this one along.
    response.set_cookie(
        _LOGIN_COOKIE,
        credentials.signer.sign(_LOGIN_PURPOSE, kept, lifetime_s=_LOGIN_S),
        max_age=_LOGIN_S,
        path="/auth",
        httponly=True,
        samesite="lax",
        secure=_is_secure(request),
    )
    return response


@router.get(CALLBACK_PATH, include_in_schema=False)
async def finish_sign_in(request: Request, code: str = "", state: str = "", error: str = "") -> Response:
    """Take the person back with proof of who they are."""
    provider, credentials = _require_provider(request)
    kept = credentials.signer.read(_LOGIN_PURPOSE, request.cookies.get(_LOGIN_COOKIE, ""))
    if kept is None or not secrets.compare_digest(kept["state"].encode(), state.encode()):
        raise AuthenticationError(f"This sign-in was not begun here, or it took too long. Begin again at {LOGIN_PATH}.")
    if error or not code:
        raise AuthenticationError(f"The identity provider did not sign you in ({error[:100] or 'no code'}). Begin again at {LOGIN_PATH}.")
    principal = await provider.redeem(code, redirect_uri=_callback_uri(request), nonce=kept["nonce"], verifier=kept["verifier"])
    response = HTMLResponse(_WELCOME.format(target=html.escape(kept["next"])), headers=_NO_STORE)
    response.set_cookie(
        SESSION_COOKIE,
        credentials.sign_in(principal),
        max_age=int(credentials.lifetime_s),
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    response.delete_cookie(_LOGIN_COOKIE, path="/auth")
    return response


@router.post("/auth/logout", include_in_schema=False)
async def sign_out(request: Request) -> Response:
    """Forget the sign-in on this browser."""
    response = Response(status_code=204, headers=_NO_STORE)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=_is_secure(request))
    return response


def _require_provider(request: Request) -> tuple[IdentityProvider, Credentials]:
    credentials = cast("Credentials", request.app.state.credentials)
    if credentials.provider is None:
        raise NotFoundError("This server has no identity provider; HEIMDALL_OIDC_URL names one.")
    return credentials.provider, credentials


def _callback_uri(request: Request) -> str:
    # The Host header was checked before any route.
    return _base_url(request) + CALLBACK_PATH


def _base_url(request: Request) -> str:
    public = services(request).settings.public_url
    return public.rstrip("/") if public else f"{request.url.scheme}://{request.headers['host']}"


def _is_secure(request: Request) -> bool:
    return _base_url(request).startswith("https://")


def _local(target: str) -> str:
    """Return the path of a page of ours, whatever address was asked for: a sign-in leads to no other server."""
    parts = urlsplit(target)
    path = "/" + parts.path.lstrip("/\\")
    return (path + (f"?{parts.query}" if parts.query else "")) if path.isprintable() else "/"
