"""What a request shows to prove who sends it: the token, the cookie that stands for it, a provider's token, or a sign-in."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from heimdall.api.errors import TooManyRequestsError
from heimdall.api.guesses import GuessLimit
from heimdall.api.sessions import Signer
from heimdall.domain.access import LOOPBACK, TOKEN_HOLDER, Principal
from heimdall.domain.errors import AuthenticationError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from heimdall.api.oidc import IdentityProvider
    from heimdall.settings import Settings

TOKEN_COOKIE: Final = "heimdall_token"
SESSION_COOKIE: Final = "heimdall_session"
SESSION: Final = "session"
"""Purpose of the signed sign-in; a token signed for another purpose is none."""


class Credentials:
    """Proves who asks.

    Parameters
    ----------
    settings
        ``token`` and ``oidc_*``.
    provider
        The identity provider, where one is named.
    """

    def __init__(self, settings: Settings, provider: IdentityProvider | None) -> None:
        self._token = settings.token.get_secret_value() if settings.token is not None else None
        self.token_cookie = _derive_cookie(self._token) if self._token else None
        self.provider = provider
        self.signer = Signer(settings)
        self.guesses = GuessLimit()
        self.is_needed = self._token is not None or provider is not None
        self.lifetime_s = settings.session_hours * 3600

    @property
    def has_token(self) -> bool:
        """Whether one token opens everything."""
        return self._token is not None

    def check_token(self, given: str, address: str) -> bool:
        """Return whether ``given`` is the server's token. TooManyRequestsError where too many wrong ones came from this address."""
        self.guesses.admit(address)
        if self._is_token(given):
            self.guesses.succeed(address)
            return True
        self.guesses.fail(address, given)
        return False

    async def identify(self, headers: Headers, address: str) -> Principal:
        """Return who sends these headers.

        Parameters
        ----------
        headers
            Of the request.
        address
            Where it comes from.

        Raises
        ------
        AuthenticationError
            Nothing in them proves anything.
        TooManyRequestsError
            Too much came from this address that proves nothing.
        UnavailableError
            They hold a token that only the identity provider can judge, and it does not answer.
        """
        if not self.is_needed:
            return LOOPBACK
        shown = headers.get("authorization", ""), _read_cookies(headers).get(TOKEN_COOKIE, "")
        if not any(shown):
            return await self._prove(headers)
        refusal: TooManyRequestsError | None = None
        try:
            self.guesses.admit(address)
        except TooManyRequestsError as error:
            refusal = error
        try:
            # What a provider or this server signed cannot be guessed, and is good even where tokens are not looked at.
            principal = await self._prove(headers, is_token_good=refusal is None)
        except AuthenticationError:
            if refusal is not None:
                raise refusal from None
            self.guesses.fail(address, "\n".join(shown))
            raise
        if principal is TOKEN_HOLDER:
            self.guesses.succeed(address)
        return principal

    def _is_token(self, given: str) -> bool:
        """Return whether ``given`` is the server's token; takes as long for a near miss as for a far one."""
        return self._token is not None and _is_equal(given, self._token)

    async def _prove(self, headers: Headers, *, is_token_good: bool = True) -> Principal:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip()
        if scheme.lower() == "bearer" and given:
            if is_token_good and self._is_token(given):
                return TOKEN_HOLDER
            if self.provider is not None and given.count(".") == 2:
                return await self.provider.identify(given)
        cookies = _read_cookies(headers)
        if is_token_good and self.token_cookie is not None and _is_equal(cookies.get(TOKEN_COOKIE, ""), self.token_cookie):
            return TOKEN_HOLDER
        if self.provider is not None and (session := self.signer.read(SESSION, cookies.get(SESSION_COOKIE, ""))) is not None:
            return Principal(who=session["sub"], role=session["role"], means="oidc", name=session["name"])
        raise AuthenticationError(self._explain())

    def sign_in(self, principal: Principal) -> str:
        """Return the cookie by which the signed-in person is known until the session is over."""
        claims = {"sub": principal.who, "role": principal.role.value, "name": principal.name}
        return self.signer.sign(SESSION, claims, lifetime_s=self.lifetime_s)

    def _explain(self) -> str:
        if self.provider is not None:
            return "A sign-in is needed: open /auth/login in the browser, or send 'Authorization: Bearer TOKEN' with the provider's token."
        return "A token is needed: send 'Authorization: Bearer TOKEN', or open the page once with ?token=TOKEN."


def _derive_cookie(token: str) -> str:
    """Return what the cookie holds: not the token itself, which may hold letters that no cookie may."""
    return hmac.new(token.encode(), b"heimdall cookie", hashlib.sha256).hexdigest()


def _is_equal(given: str, expected: str) -> bool:
    return bool(given) and hmac.compare_digest(given.encode(), expected.encode())


def _read_cookies(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}
