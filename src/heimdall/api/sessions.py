"""Signed cookies: who signed in, and what a sign-in that is under way must remember. Nothing is kept on the server."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from heimdall.settings import Settings

_ALGORITHM: Final = "HS256"
_KEY_BYTES: Final = 32


class Signer:
    """Signs and reads small claims with this installation's own key.

    Parameters
    ----------
    settings
        ``session_secret``, or else a key made once in the data folder, readable by its owner alone.
    now
        Clock in s since 1970.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._key: Any = None

    def sign(self, purpose: str, claims: dict[str, Any], *, lifetime_s: float) -> str:
        """Return a token that :meth:`read` takes for ``purpose`` alone, until its time is over."""
        from joserfc import jwt

        body = {**claims, "aud": purpose, "exp": int(self._now() + lifetime_s)}
        return jwt.encode({"alg": _ALGORITHM}, body, self._load_key())

    def read(self, purpose: str, token: str) -> dict[str, Any] | None:
        """Return the claims of a token of ours, None for any other and for one that is over."""
        if not token:
            return None
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            claims: dict[str, Any] = jwt.decode(token, self._load_key(), algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        return claims if claims.get("aud") == purpose and claims.get("exp", 0) > self._now() else None

    def _load_key(self) -> Any:  # noqa: ANN401
        if self._key is None:
            from joserfc.jwk import OctKey

            given = self._settings.session_secret
            self._key = OctKey.import_key(given.get_secret_value() if given else _read_or_make(self._settings.data_dir / "session.key"))
        return self._key


def _read_or_make(path: Path) -> str:
    """Return the key in the file; the first process that needs one makes it, whole or not at all."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
