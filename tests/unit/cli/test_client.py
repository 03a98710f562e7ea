from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from heimdall.cli.client import NoServerError, ServerAnswerError, ServerClient
from heimdall.domain.errors import InvalidInputError
from tests.unit.cli.fakes import FakeServer


def test_nothing_at_the_url_says_how_to_start_one() -> None:
    client = ServerClient("http://127.0.0.1:1")
    with client, pytest.raises(NoServerError, match=r"No Heimdall answers at http://127\.0\.0\.1:1\. Start one with: heimdall up"):
        client.get("/training/jobs")


def test_problem_of_the_server_is_passed_on() -> None:
    problem = {"code": "invalid_input", "detail": "epochs must be 1 or more", "field": "epochs"}
    server = FakeServer({"POST /training/jobs": httpx.Response(422, json=problem)})
    with server, pytest.raises(ServerAnswerError) as caught:
        server.post("/training/jobs", {})
    assert (caught.value.code, caught.value.detail, caught.value.field, caught.value.status) == (*problem.values(), 422)


def test_stranger_on_the_port_is_told_from_heimdall() -> None:
    server = FakeServer({"GET /training/jobs": httpx.Response(404, text="<h1>Not found</h1>")})
    with server, pytest.raises(NoServerError) as caught:
        server.get("/training/jobs")
    assert caught.value.code == "not_heimdall"


def test_missing_token_is_named_in_the_sentence() -> None:
    refusal = httpx.Response(401, json={"code": "unauthenticated", "detail": "A token is needed."})
    with FakeServer({"GET /training/jobs": refusal}) as server, pytest.raises(ServerAnswerError, match="Set HEIMDALL_TOKEN"):
        server.get("/training/jobs")


def test_token_travels_as_a_header() -> None:
    with FakeServer({"GET /x": {}}, token="secret") as server:
        server.get("/x")
        assert server.requests[0].headers["authorization"] == "Bearer secret"


def test_create_is_repeated_under_one_key_after_a_broken_connection() -> None:
    with FakeServer({"POST /training/jobs": [httpx.ReadError("cut"), {"id": "a"}]}) as server:
        assert server.create("/training/jobs", {}) == {"id": "a"}
        keys = {request.headers["idempotency-key"] for request in server.requests}
        assert len(server.requests) == 2
        assert len(keys) == 1


def test_other_posts_are_never_repeated() -> None:
    with FakeServer({"POST /training/jobs/a/pause": [httpx.ReadError("cut"), {}]}) as server:
        with pytest.raises(NoServerError, match="broke"):
            server.post("/training/jobs/a/pause")
        assert len(server.requests) == 1


def test_upload_sends_parts_named_file_and_counts_their_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.csv", "b.json")]
    for file in files:
        file.write_bytes(b"x" * 1000)
    moved: list[int] = []
    with FakeServer({"POST /training/datasets": httpx.Response(201, json={"id": "d"})}) as server:
        answer, status = server.upload("/training/datasets", files, {"kind": "powder", "cell_m": None}, moved.append)
        body = server.requests[0].content
    assert (answer, status, sum(moved)) == ({"id": "d"}, 201, 2000)
    assert body.count(b'name="file"; filename=') == 2
    assert b'name="kind"' in body
    assert b"cell_m" not in body


def test_upload_of_a_file_that_cannot_be_read_names_it(tmp_path: Path) -> None:
    with FakeServer() as server, pytest.raises(InvalidInputError, match=r"gone\.csv: No such file"):
        server.upload("/x", [tmp_path / "gone.csv"])


def test_download_appears_only_when_whole(tmp_path: Path) -> None:
    def broken() -> object:
        yield b"half"
        raise httpx.ReadError("cut")

    with FakeServer({"GET /m": httpx.Response(200, content=broken())}) as server, pytest.raises(NoServerError):
        server.download("/m", {}, lambda _: tmp_path / "model.heimdall")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("attachment; filename=net-v1.heimdall", "net-v1.heimdall"),
        ('attachment; filename="../../etc/cron.d/x"', "x"),
        ("attachment; filename=..", None),
        ("", None),
    ],
)
def test_file_name_from_the_server_cannot_leave_the_folder(tmp_path: Path, header: str, expected: str | None) -> None:
    seen: list[str | None] = []

    def choose(name: str | None) -> Path:
        seen.append(name)
        return tmp_path / "out"

    with FakeServer({"GET /m": httpx.Response(200, content=b"1", headers={"content-disposition": header})}) as server:
        assert server.download("/m", {}, choose).read_bytes() == b"1"
    assert seen == [expected]


def test_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Write it like http://127"):
        ServerClient("localhost:8001")
