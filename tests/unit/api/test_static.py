"""The page's files: found only below their folder, cached as long as they are true."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving import Served, make_container, serve

RED_SHA256 = "LHvAPItmcc9l4w10oslyz6Nh8tFuoEH5lssCs9WdKIE="


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("dist")
    (built / "assets").mkdir()
    (built / "index.html").write_text("<!doctype html><title>page</title>")
    (built / "assets" / "index-B3kf9aQz.js").write_text("let a = 1")
    (built / "assets" / "index-B3kf9aQz.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    (built / "favicon.svg").write_text("<svg/>")
    (built.parent / "secret.txt").write_text("not for you")
    (built / "link.txt").symlink_to(built.parent / "secret.txt")
    return built


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("data"), frontend_dir=folder)) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/training", "/gallery", "/training?tab=models", "/index.html"])
def test_every_address_of_the_page_gives_its_index(served: Served, path: str) -> None:
    answer = served.client.get(path)
    assert (answer.status_code, "page" in answer.text) == (200, True)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    again = served.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_document_may_use_its_own_style_sheet_and_no_other(served: Served, folder: Path) -> None:
    def allowed(answer: httpx.Response) -> str:
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert (policy["script-src"], policy["style-src-attr"]) == ("'self'", "'none'")
        return policy["style-src"]

    index = folder / "index.html"
    before = index.read_text()
    assert allowed(served.client.get("/")) == "'self'"
    index.write_text("<!doctype html><title>page</title><style>a { color: red }</style>")
    answer = served.client.get("/training")
    # From outside: printf %s 'a { color: red }' | openssl dgst -sha256 -binary | base64
    assert allowed(answer) == f"'self' 'sha256-{RED_SHA256}'"
    again = served.client.get("/training", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, allowed(again)) == (304, allowed(answer)), "a 304 replaces the headers of the copy"
    assert allowed(served.client.get("/favicon.svg")) == "'self'"
    index.write_text(before)


def test_hashed_files_are_cached_for_ever_and_come_packed(served: Served) -> None:
    answer = served.client.get("/assets/index-B3kf9aQz.js")
    assert answer.text == "let a = 1"
    assert "immutable" in answer.headers["cache-control"]
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["content-encoding"] == "gzip"
    plain = served.client.get("/assets/index-B3kf9aQz.js", headers={"Accept-Encoding": "identity"})
    assert (plain.text, "content-encoding" in plain.headers) == ("let a = 1", False)
    assert served.client.get("/favicon.svg").headers["cache-control"] == "no-cache"
    assert served.client.head("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/none-B3kf9aQz.js", "/missing.png", "/api", "/api/v1/nope", "/ws/none", "/health", "/metrics/x"),
        *("//api/v1/training/jobs", "///api", "//health/live", "/docs", "/docs/oauth2-redirect", "/redoc"),
    ],
)
def test_a_file_or_a_route_that_is_not_there_is_404(served: Served, path: str) -> None:
    answer = served.client.get(served.url + path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/..%5csecret.txt", "/link.txt", "//etc/passwd"]
)
def test_nothing_outside_the_folder_is_served(served: Served, path: str) -> None:
    answer = served.client.get(served.url + path)
    assert "not for you" not in answer.text
    assert "root:" not in answer.text


def test_without_a_build_a_plain_page_says_how_to_make_one(tmp_path: Path) -> None:
    with serve(make_container(tmp_path / "data", frontend_dir=tmp_path / "nowhere")) as served:
        answer = served.client.get("/")
        assert answer.status_code == 200
        assert "make install" in answer.text
        assert "'sha256-" in answer.headers["content-security-policy"]
        assert served.client.get("/assets/x.js").status_code == 404
