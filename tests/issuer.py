"""A small OpenID Connect provider for tests: real RSA keys, real signatures, the code flow with PKCE. Signs in whoever is named."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, HTTPException
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.responses import RedirectResponse

from heimdall.api.server import bind
from tests.instance import wait_until

CLIENT_ID = "heimdall-test"


class Issuer:
    def __init__(self) -> None:
        self.listener = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
        self.person: dict[str, Any] = {"sub": "u-1", "preferred_username": "ada", "roles": ["operator"]}
        self.codes: dict[str, dict[str, str]] = {}
        self.num_key_reads = 0
        self.app = self._make_app()

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"})

    def make_token(self, *, key: RSAKey | None = None, **claims: Any) -> str:
        body = {"iss": self.url, "aud": CLIENT_ID, "exp": int(time.time()) + 300, **self.person, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, body, key or self.key)

    def _make_app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.get("/.well-known/openid-configuration")
        def describe() -> dict[str, str]:
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }

        @app.get("/keys")
        def keys() -> dict[str, Any]:
            self.num_key_reads += 1
            return {"keys": [self.key.as_dict(private=False)]}

        @app.get("/authorize")
        def authorize(client_id: str, redirect_uri: str, state: str, nonce: str, code_challenge: str, code_challenge_method: str) -> Any:
            assert (client_id, code_challenge_method) == (CLIENT_ID, "S256")
            code = secrets.token_urlsafe(8)
            self.codes[code] = {"redirect_uri": redirect_uri, "nonce": nonce, "challenge": code_challenge}
            return RedirectResponse(f"{redirect_uri}?{urlencode({'code': code, 'state': state})}", 303)

        @app.post("/token")
        def token(code: str = Form(), redirect_uri: str = Form(), code_verifier: str = Form()) -> dict[str, str]:
            known = self.codes.pop(code, None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
            if known is None or known["redirect_uri"] != redirect_uri or known["challenge"] != challenge:
                raise HTTPException(400, "invalid_grant")
            return {"id_token": self.make_token(nonce=known["nonce"]), "access_token": "opaque", "token_type": "Bearer"}

        return app


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    server = uvicorn.Server(uvicorn.Config(issuer.app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [issuer.listener]})
    thread.start()
    wait_until(lambda: server.started, 20, lambda: "the issuer did not start", poll_s=0.005)
    try:
        yield issuer
    finally:
        server.should_exit = True
        thread.join(20)
        issuer.listener.close()
