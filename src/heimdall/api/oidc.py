"""An OpenID Connect provider, found by its URL: who a signed token speaks of, and how a person signs in.

OpenID Connect Discovery 1.0, RFC 7517 (keys), RFC 7519 (tokens), RFC 7636 (PKCE). Only asymmetric algorithms are taken:
a token signed with what everybody can read proves nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from heimdall.domain.access import Principal, Role
from heimdall.domain.errors import AuthenticationError, UnavailableError
from heimdall.settings import is_safe_url

if TYPE_CHECKING:
    import httpx

    from heimdall.settings import Settings

WELL_KNOWN: Final = "/.well-known/openid-configuration"
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
_LEEWAY_S: Final = 30
_TIMEOUT_S: Final = 5.0
_DESCRIPTION_AGE_S: Final = 3600.0
_KEYS_PAUSE_S: Final = 30.0
"""s between two looks for new keys: a flood of forged tokens must not become one at the provider."""
_FAILURE_PAUSE_S: Final = 3.0
"""s for which a provider that did not answer is not asked again: requests must not queue up behind its time-out."""
_MAX_KNOWN_TOKENS: Final = 1000
_MAX_TOKEN_BYTES: Final = 16 * 1024


class IdentityProvider:
    """The provider of one installation. Nothing is asked of it before the first token or sign-in.

    Parameters
    ----------
    settings
        ``oidc_*``.
    transport
        Replaces the network, for tests.
    now, monotonic
        Clocks in s.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._now = now
        self._monotonic = monotonic
        self._description: tuple[float, dict[str, Any]] | None = None
        self._failure: tuple[float, str] | None = None
        self._keys: Any = None
        self._keys_at = float("-inf")
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def identify(self, token: str) -> Principal:
        """Return who a bearer token speaks of.

        Raises
        ------
        AuthenticationError
            It is not this provider's, not for this server, over, or gives no role.
        UnavailableError
            The provider does not answer, so nobody can tell.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.get(digest)
        if known is not None and known[0] > self._now():
            return known[1]
        claims = await self.read_token(token, audience=self._settings.oidc_audience or self._settings.oidc_client_id or "")
        principal = self.make_principal(claims)
        self._known[digest] = (float(claims["exp"]), principal)
        if len(self._known) > _MAX_KNOWN_TOKENS:
            self._known.popitem(last=False)
        return principal

    def make_principal(self, claims: dict[str, Any]) -> Principal:
        """Return the one that proven claims speak of. AuthenticationError where they give no role."""
        name = next((claims[key] for key in ("preferred_username", "email", "name") if isinstance(claims.get(key), str)), None)
        role = self._find_role(claims)
        if role is None:
            claim = self._settings.oidc_role_claim
            raise AuthenticationError(
                f"{name or claims['sub']} is known, but has no role here. The claim '{claim}' must hold one of: "
                f"{', '.join(self._settings.oidc_roles)}.",
                code="no_role",
            )
        return Principal(who=claims["sub"][:255], role=role, means="oidc", name=name[:255] if name else None)

    def _find_role(self, claims: dict[str, Any]) -> Role | None:
        """Return the highest role that the claim's values map to."""
        value: Any = claims
        for part in self._settings.oidc_role_claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        given = value if isinstance(value, list) else str(value).split() if isinstance(value, str) else []
        found = {self._settings.oidc_roles[word] for word in given if isinstance(word, str) and word in self._settings.oidc_roles}
        return next((role for role in reversed(Role) if role in found), self._settings.oidc_default_role)

    async def read_token(self, token: str, *, audience: str, nonce: str | None = None) -> dict[str, Any]:
        """Return the claims of a signed token after every check. AuthenticationError, UnavailableError."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        if len(token) > _MAX_TOKEN_BYTES:
            raise AuthenticationError("The token is longer than any that is taken here.")
        issuer = (await self.describe())["issuer"]
        try:
            try:
                decoded = jwt.decode(token, await self._read_keys(), algorithms=list(_ALGORITHMS))
            except (InvalidKeyIdError, ValueError):
                # Perhaps signed with a key that is newer than the ones known.
                decoded = jwt.decode(token, await self._read_keys(is_new_wanted=True), algorithms=list(_ALGORITHMS))
            rules: dict[str, Any] = {
                "iss": {"essential": True, "value": issuer},
                "aud": {"essential": True, "value": audience},
                "sub": {"essential": True},
                "exp": {"essential": True},
            }
            if nonce is not None:
                rules["nonce"] = {"essential": True, "value": nonce}
            jwt.JWTClaimsRegistry(now=lambda: int(self._now()), leeway=_LEEWAY_S, **rules).validate(decoded.claims)
        except (JoseError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0][:200]
            raise AuthenticationError(f"The token is not valid here ({reason}). Sign in again, or get a new token.") from None
        return dict(decoded.claims)

    async def describe(self) -> dict[str, Any]:
        """Return the provider's own description, at most an hour old."""
        async with self._turn:
            known = self._description
            if known is not None and self._monotonic() - known[0] < _DESCRIPTION_AGE_S:
                return known[1]
            if self._failure is not None and self._monotonic() - self._failure[0] < _FAILURE_PAUSE_S:
                raise UnavailableError(self._failure[1])
            url = self._settings.oidc_url or ""
            address = url if url.endswith(WELL_KNOWN) else url.rstrip("/") + WELL_KNOWN
            try:
                found = await self._get_json(address)
            except UnavailableError as error:
                self._failure = (self._monotonic(), error.detail)
                raise
            if found.get("issuer", "").rstrip("/") != address.removesuffix(WELL_KNOWN).rstrip("/"):
                raise UnavailableError(
                    f"The identity provider at {address} calls itself '{found.get('issuer')}'. Correct HEIMDALL_OIDC_URL."
                )
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not is_safe_url(str(found.get(name))):
                    raise UnavailableError(f"The identity provider's {name} is '{found.get(name)}'; it must begin with https://.")
            self._description = (self._monotonic(), found)
            return found

    async def _read_keys(self, *, is_new_wanted: bool = False) -> Any:  # noqa: ANN401
        from joserfc.jwk import KeySet

        address = (await self.describe())["jwks_uri"]
        async with self._turn:
            is_old = self._monotonic() - self._keys_at > (_KEYS_PAUSE_S if is_new_wanted else _DESCRIPTION_AGE_S)
            if self._keys is None or is_old:
                self._keys_at = self._monotonic()
                self._keys = KeySet.import_key_set(await self._get_json(address))  # type: ignore[arg-type]
            return self._keys

    async def ping(self) -> None:
        """Raise UnavailableError where the provider does not answer as it should."""
        await self._read_keys()

    async def make_sign_in_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where to send a person who wants to sign in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = (await self.describe())["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def redeem(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> Principal:
        """Exchange the code that a person came back with for who they are. AuthenticationError, UnavailableError."""
        import httpx

        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        form["client_id"] = self._settings.oidc_client_id or ""
        if self._settings.oidc_client_secret is not None:
            form["client_secret"] = self._settings.oidc_client_secret.get_secret_value()
        endpoint = (await self.describe())["token_endpoint"]
        try:
            async with self._open() as client:
                answer = await client.post(endpoint, data=form, headers={"Accept": "application/json"})
        except httpx.HTTPError as error:
            raise _no_answer(endpoint, error) from error
        if answer.status_code != 200:
            raise AuthenticationError("The identity provider refused the sign-in. Start it again.")
        try:
            token = answer.json()["id_token"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError("The identity provider answered without an ID token. Is 'openid' in HEIMDALL_OIDC_SCOPE?") from error
        claims = await self.read_token(str(token), audience=self._settings.oidc_client_id or "", nonce=nonce)
        return self.make_principal(claims)

    async def _get_json(self, address: str) -> dict[str, Any]:
        import httpx

        try:
            async with self._open() as client:
                found = (await client.get(address)).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise _no_answer(address, error) from error
        if not isinstance(found, dict):
            raise UnavailableError(f"{address} does not answer as an identity provider does. Correct HEIMDALL_OIDC_URL.")
        return found

    def _open(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(timeout=_TIMEOUT_S, transport=self._transport, follow_redirects=False)


def _no_answer(address: str, error: Exception) -> UnavailableError:
    return UnavailableError(f"The identity provider does not answer at {address} ({type(error).__name__}). Try again later.")
