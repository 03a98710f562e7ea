"""Who may talk to the server, and what every answer carries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from heimdall.api.credentials import TOKEN_COOKIE as COOKIE
from heimdall.api.guesses import GuessLimit
from tests.serving import Served, make_container, receive, serve

TOKEN = "a token; with=odd, letters"
JOBS = "/api/v1/training/jobs"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    container = make_container(
        tmp_path_factory.mktemp("guarded"), token=TOKEN, allowed_origins=("https://page.example",), allowed_hosts=("studio.lan",)
    )
    with serve(container) as running:
        yield running


@pytest.fixture(autouse=True)
def forget_guesses(served: Served) -> None:
    """Let each test show wrong tokens as if it were the first."""
    app: Any = served.server.config.app
    app.state.credentials.guesses = GuessLimit()


@pytest.fixture(scope="module")
def open_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("open"))) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8001", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("127.0.0.1", 200),
        ("[::1]:8001", 200),
        ("192.168.1.7:8001", 200),
        ("studio.lan", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example:8001", 400),
        ("evil@localhost:1", 400),
        ("evil.example@127.0.0.1", 400),
        ("127.0.0.1/x", 400),
        ("127.0.0.1#x", 400),
        ("", 400),
        ("localhost:port", 400),
        ("[::1", 400),
    ],
)
def test_a_foreign_host_name_reaches_nothing(served: Served, host: str, status: int) -> None:
    answer = served.client.get("/health/live", headers={"Host": host})
    assert answer.status_code == status, answer.text
    assert (answer.json().get("code") == "unknown_host") == (status == 400)


def test_a_second_host_is_refused(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        said = client.recv(65536)
    assert said.startswith(b"HTTP/1.1 400")
    assert b"unknown_host" in said


def test_https_is_not_the_own_origin_unless_a_proxy_or_the_settings_say_so(open_served: Served, tmp_path: Path) -> None:
    host = f"127.0.0.1:{open_served.port}"

    def ask(served: Served, **headers: str) -> int:
        return served.client.post(JOBS, json={}, headers=headers).status_code

    assert ask(open_served, Host=host, Origin=f"https://{host}") == 403
    assert ask(open_served, Host=host, Origin=f"http://{host}") == 422
    assert ask(open_served, **{"Host": host, "Origin": f"https://{host}", "X-Forwarded-Proto": "https"}) == 422
    assert ask(open_served, Host="127.0.0.1", Origin="https://127.0.0.1") == 422, "a proxy that ends TLS on its own port"
    with serve(make_container(tmp_path, public_url="https://studio.example:8443/x")) as public:
        assert ask(public, Host="studio.example:8443", Origin="https://studio.example:8443") == 422
        assert ask(public, Host="studio.example:8443", Origin="https://studio.example:9443") == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1:1", "file://", "", "http://["])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "PUT"])
def test_a_foreign_page_can_change_nothing(open_served: Served, origin: str, method: str) -> None:
    answer = open_served.client.request(method, JOBS, headers={"Origin": origin}, json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_a_program_and_a_reading_page_may(open_served: Served) -> None:
    assert open_served.client.post(JOBS, headers={"Origin": open_served.url}, json={}).status_code == 422
    assert open_served.client.post(JOBS, json={}).status_code == 422
    reading = open_served.client.get(JOBS, headers={"Origin": "http://evil.example"})
    assert reading.status_code == 200
    assert "access-control-allow-origin" not in reading.headers


def test_an_allowed_origin_gets_what_its_browser_asks_for(served: Served) -> None:
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    preflight = served.client.options(JOBS, headers=headers)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://page.example"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = served.client.get(JOBS, headers={"Origin": "https://page.example", "Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "ETag" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", [JOBS, "/metrics", "/openapi.json", "/api/v1/nothing", "/api/v1/training/models/x/export"])
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer " + TOKEN[:-1]])
def test_without_the_token_nothing_is_told(served: Served, path: str, authorization: str | None) -> None:
    answer = served.client.get(path, headers={"Authorization": authorization} if authorization else {})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_with_the_token_or_its_cookie_all_is(served: Served) -> None:
    assert served.client.get(JOBS, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    with httpx.Client(base_url=served.url) as browser:
        wrong = browser.get("/", params={"token": "wrong"})
        assert wrong.status_code == 401
        opened = browser.get("/training", params={"tab": "models", "token": TOKEN})
        assert (opened.status_code, opened.headers["location"]) == (303, "/training?tab=models")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert browser.get(JOBS).status_code == 200
        browser.cookies.set(COOKIE, "0" * 64)
    assert httpx.get(served.url + JOBS, headers={"Cookie": f"{COOKIE}={'0' * 64}"}).status_code == 401


def test_a_token_in_the_address_of_the_api_opens_nothing(served: Served) -> None:
    assert served.client.get(JOBS, params={"token": TOKEN}).status_code == 401


def test_the_exchange_never_leads_to_another_server(served: Served) -> None:
    answer = served.client.get(f"{served.url}//evil.example/x?token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/evil.example/x"


def test_probes_and_the_page_need_no_token(served: Served) -> None:
    for path in ("/health/live", "/health/ready", "/api/v1/health/ready", "/", "/training"):
        assert served.client.get(path).status_code == 200, path


def test_a_socket_without_the_token_is_403_before_the_upgrade(served: Served) -> None:
    job_id = "none"
    with pytest.raises(InvalidStatus) as caught, served.socket(f"/ws/training/{job_id}"):
        pass
    assert caught.value.response.status_code == 403
    with served.socket("/ws/training", additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        assert receive(socket)["event"] == "connected"


@pytest.mark.parametrize("path", ["/", JOBS, "/api/v1/nothing", "/health/live"])
def test_every_answer_carries_the_security_headers(open_served: Served, path: str) -> None:
    headers = open_served.client.get(path).headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'", "script-src 'self';"):
        assert rule in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize("path", [JOBS + "?q=a%00b", "/api/v1/training/jobs/a%00b", "/api/v1/training/models/%00"])
def test_a_nul_character_in_the_address_is_refused(open_served: Served, path: str) -> None:
    answer = open_served.client.get(open_served.url + path)
    assert answer.status_code == 422
    assert "NUL" in answer.json()["detail"]
