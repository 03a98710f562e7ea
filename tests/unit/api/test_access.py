"""Who may do what: the identity provider's tokens and sign-ins, and the one table of roles."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.routing import WebSocketRoute
from websockets.exceptions import InvalidStatus

from heimdall.api.access import NEEDED_ROLE, find_needed_role
from heimdall.api.app import create_app
from heimdall.api.credentials import SESSION_COOKIE
from heimdall.domain.access import Role
from heimdall.domain.errors import InvalidInputError
from heimdall.settings import Settings
from tests.issuer import CLIENT_ID, Issuer, run_issuer
from tests.serving import Served, make_container, receive, serve

JOBS = "/api/v1/training/jobs"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with run_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def served(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    roles = {"viewer": "viewer", "operator": "operator", "admin": "admin", "heimdall-admins": "admin"}
    container = make_container(
        tmp_path_factory.mktemp("oidc"), oidc_url=issuer.url, oidc_client_id=CLIENT_ID, oidc_roles=roles, token="spare key"
    )
    with serve(container) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_every_route_stands_in_the_table_and_nothing_else(tmp_path: Any) -> None:
    container = make_container(tmp_path)
    routes = create_app(container).router.routes
    found = {("GET", route.path) for route in routes if isinstance(route, WebSocketRoute)}
    found |= {(method, route.path) for route in routes for method in getattr(route, "methods", None) or () if method != "HEAD"}
    container.close()
    assert found == set(NEEDED_ROLE)


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", f"{JOBS}/abc", Role.VIEWER),
        ("HEAD", f"{JOBS}/abc", Role.VIEWER),
        ("POST", JOBS, Role.OPERATOR),
        ("DELETE", f"{JOBS}/abc", Role.OPERATOR),
        ("POST", "/api/v1/training/models/import", Role.ADMIN),
        ("GET", "/api/v1/training/models/import/export", Role.VIEWER),
        ("GET", "/api/v1/audit", Role.ADMIN),
        ("PUT", JOBS, Role.ADMIN),
        ("GET", "/api/v1/something/new", Role.ADMIN),
        ("POST", f"{JOBS}/a/b/pause", Role.ADMIN),
    ],
)
def test_the_table_answers_for_every_address(method: str, path: str, role: Role) -> None:
    assert find_needed_role(method, path) is role


@pytest.mark.parametrize(
    ("role", "reads", "steers", "brings_in"), [("viewer", 200, 403, 403), ("operator", 200, 422, 403), ("admin", 200, 422, 415)]
)
def test_a_role_may_what_the_table_says(issuer: Issuer, served: Served, role: str, reads: int, steers: int, brings_in: int) -> None:
    headers = bearer(issuer.make_token(roles=[role, "unknown"]))
    assert served.client.get("/api/v1/whoami", headers=headers).json() == {"who": "u-1", "role": role, "means": "oidc", "name": "ada"}
    assert served.client.get(JOBS, headers=headers).status_code == reads
    assert served.client.post(JOBS, headers=headers, json={}).status_code == steers
    refused = served.client.post("/api/v1/training/models/import", headers=headers)
    assert refused.status_code == brings_in
    if brings_in == 403:
        assert refused.json()["code"] == "not_allowed"
        assert "admin" in refused.json()["detail"]


def test_a_viewer_follows_sockets_and_the_metrics(issuer: Issuer, served: Served) -> None:
    headers = bearer(issuer.make_token(roles=["viewer"]))
    with served.socket("/ws/training", additional_headers=headers) as socket:
        assert receive(socket)["event"] == "connected"
    assert served.client.get("/metrics", headers=headers).status_code == 200
    with pytest.raises(InvalidStatus) as caught, served.socket("/ws/training"):
        pass
    assert caught.value.response.status_code == 403


def test_the_spare_token_still_opens_everything(served: Served) -> None:
    assert served.client.get("/api/v1/whoami", headers=bearer("spare key")).json()["who"] == "token"


def _unsigned(issuer: Issuer) -> str:
    _, body, _ = issuer.make_token(roles=["admin"]).split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}."


def _changed(issuer: Issuer) -> str:
    head, body, signature = issuer.make_token(roles=["viewer"]).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["roles"] = ["admin"]
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


def _signed_with_the_public_key(issuer: Issuer) -> str:
    """The oldest trick: what everybody can read, taken for a shared secret."""
    _, body, _ = issuer.make_token(roles=["admin"]).split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": issuer.key.kid}).encode()).rstrip(b"=").decode()
    secret = issuer.key.as_pem(private=False)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


FORGED = {
    "unsigned": _unsigned,
    "changed": _changed,
    "signed with the public key": _signed_with_the_public_key,
    "another's key": lambda issuer: issuer.make_token(key=RSAKey.generate_key(2048), roles=["admin"]),
    "over": lambda issuer: issuer.make_token(exp=int(time.time()) - 120),
    "not yet": lambda issuer: issuer.make_token(nbf=int(time.time()) + 600),
    "without an end": lambda issuer: issuer.make_token(exp=None),
    "for another server": lambda issuer: issuer.make_token(aud="somebody-else"),
    "for nobody": lambda issuer: issuer.make_token(aud=None),
    "another issuer": lambda issuer: issuer.make_token(iss="https://evil.example"),
    "without a subject": lambda issuer: issuer.make_token(sub=None),
    "a role that is not one": lambda issuer: issuer.make_token(roles=["root"]),
    "no role": lambda issuer: issuer.make_token(roles=None),
    "roles of a strange shape": lambda issuer: issuer.make_token(roles={"admin": True}),
    "three dots of nothing": lambda _: "a.b.c",
    "far too long": lambda _: "a" * 20_000 + ".b.c",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_token_that_proves_nothing_opens_nothing(issuer: Issuer, served: Served, name: str) -> None:
    token = FORGED[name](issuer)
    answer = served.client.get(JOBS, headers=bearer(token))
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] in ("unauthenticated", "no_role")
    assert token not in answer.text


def test_a_new_key_is_found_and_forgeries_do_not_flood_the_provider(tmp_path: Any) -> None:
    with run_issuer() as issuer, serve(make_container(tmp_path, oidc_url=issuer.url, oidc_client_id=CLIENT_ID)) as served:
        assert served.client.get(JOBS, headers=bearer(issuer.make_token())).status_code == 200
        issuer.rotate()
        forged = issuer.make_token(key=RSAKey.generate_key(2048))
        for _ in range(5):
            assert served.client.get(JOBS, headers=bearer(forged)).status_code == 401
        assert issuer.num_key_reads <= 2


def test_while_the_provider_is_away_the_answer_is_503_and_says_so(tmp_path: Any) -> None:
    settings = {"oidc_url": "http://127.0.0.1:9", "oidc_client_id": CLIENT_ID}
    with serve(make_container(tmp_path, **settings)) as served:
        answer = served.client.get(JOBS, headers=bearer("a.b.c"))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        ready = served.client.get("/health/ready")
        assert ready.status_code == 503
        [identity] = [item for item in ready.json()["dependencies"] if item["name"] == "identity provider"]
        assert identity["status"] == "down"
        assert served.client.get("/health/live").status_code == 200


class Browser:
    """Follows redirects with a cookie jar as a browser does, SameSite left aside."""

    def __init__(self, served: Served) -> None:
        self.client = httpx.Client(base_url=served.url, follow_redirects=True, headers={"Accept": "text/html"})

    def __enter__(self) -> httpx.Client:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_a_person_is_sent_to_the_provider_and_comes_back_signed_in(issuer: Issuer, served: Served) -> None:
    with Browser(served) as browser:
        page = browser.get("/training?tab=models")
        assert [answer.status_code for answer in page.history] == [303, 303, 303]
        assert page.url.path == "/auth/callback"
        assert 'content="0;url=/training?tab=models"' in page.text
        cookie = SimpleCookie(page.headers.get_list("set-cookie")[0])[SESSION_COOKIE]
        assert (cookie["httponly"], cookie["samesite"].lower()) == (True, "strict")
        assert browser.get("/api/v1/whoami").json() == {"who": "u-1", "role": "operator", "means": "oidc", "name": "ada"}
        assert browser.get("/training").url.path == "/training"
        assert browser.post("/auth/logout").status_code == 204
        assert browser.get("/api/v1/whoami").status_code == 401


@pytest.mark.parametrize("asked", ["//evil.example/x", "https://evil.example/x", "/\\evil.example", '/"><script>alert(1)</script>'])
def test_a_sign_in_leads_to_no_other_server_and_writes_no_markup(served: Served, asked: str) -> None:
    with Browser(served) as browser:
        page = browser.get("/auth/login", params={"next": asked})
    assert page.status_code == 200
    assert "url=//" not in page.text
    assert "url=http" not in page.text
    assert "<script" not in page.text


def test_a_callback_that_was_not_asked_for_signs_nobody_in(issuer: Issuer, served: Served) -> None:
    with Browser(served) as browser:
        login = browser.get("/auth/login", follow_redirects=False)
        assert browser.get("/auth/callback", params={"code": "x", "state": "guessed"}).status_code == 401
        state = httpx.URL(login.headers["location"]).params["state"]
        assert browser.get("/auth/callback", params={"error": "access_denied", "state": state}).status_code == 401
        assert browser.get("/auth/callback", params={"code": "guessed", "state": state}).status_code == 401
        assert browser.get("/api/v1/whoami").status_code == 401


def test_a_sign_in_of_another_server_or_purpose_is_none(served: Served, tmp_path: Any) -> None:
    from heimdall.api.sessions import Signer

    own, foreign = Signer(served.container.settings), Signer(Settings(data_dir=tmp_path))
    claims = {"sub": "u", "role": "admin", "name": None}
    for token in (
        foreign.sign("session", claims, lifetime_s=60),
        own.sign("login", claims, lifetime_s=60),
        own.sign("session", claims, lifetime_s=-1),
    ):
        assert served.client.get(JOBS, headers={"Cookie": f"{SESSION_COOKIE}={token}"}).status_code == 401
    good = own.sign("session", claims, lifetime_s=60)
    assert httpx.get(served.url + JOBS, headers={"Cookie": f"{SESSION_COOKIE}={good}"}).status_code == 200
    assert (served.container.settings.data_dir / "session.key").stat().st_mode & 0o777 == 0o600


def test_beyond_loopback_a_provider_is_enough_and_nothing_is_not(tmp_path: Any) -> None:
    with pytest.raises(InvalidInputError, match="HEIMDALL_OIDC_URL"):
        Settings(data_dir=tmp_path, host="0.0.0.0").check_exposure()
    with pytest.raises(InvalidInputError, match="CLIENT_ID"):
        Settings(data_dir=tmp_path, host="0.0.0.0", oidc_url="https://id.example").check_exposure()
    Settings(data_dir=tmp_path, host="0.0.0.0", oidc_url="https://id.example", oidc_client_id="x").check_exposure()


def test_a_provider_over_a_readable_line_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InvalidInputError, match="https"):
        Settings(data_dir=tmp_path, oidc_url="http://id.example", oidc_client_id="x").check_exposure()


def test_without_token_or_provider_who_asks_is_loopback(tmp_path: Any) -> None:
    with serve(make_container(tmp_path)) as served:
        assert served.client.get("/api/v1/whoami").json()["who"] == "loopback"
        assert served.client.get("/auth/login").status_code == 404


def test_starting_the_server_loads_nothing_of_the_sign_in() -> None:
    names = ("joserfc", "cryptography", "httpx", "opentelemetry.sdk")
    code = f"import sys, heimdall.api.app; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
