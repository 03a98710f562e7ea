"""Settings that protect: who may reach the server, and where the page lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from heimdall.domain.errors import InvalidInputError
from heimdall.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_no_token(tmp_path: Path, host: str) -> None:
    Settings(data_dir=tmp_path, host=host, token=None).check_exposure()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "example.org", "127.evil.example"])
def test_the_world_needs_one(tmp_path: Path, host: str) -> None:
    Settings(data_dir=tmp_path, host=host, token=SecretStr("x" * 16)).check_exposure()
    with pytest.raises(InvalidInputError, match="HEIMDALL_TOKEN"):
        Settings(data_dir=tmp_path, host=host, token=None).check_exposure()


@pytest.mark.parametrize("token", ["abc", "x" * 15])
def test_a_token_that_can_be_guessed_is_refused_where_others_could(tmp_path: Path, token: str) -> None:
    with pytest.raises(InvalidInputError, match=r"openssl rand -hex 32") as refused:
        Settings(data_dir=tmp_path, host="0.0.0.0", token=SecretStr(token)).check_exposure()
    assert (refused.value.code, refused.value.field) == ("token_too_short", "token")
    alone = Settings(data_dir=tmp_path, token=SecretStr(token))
    alone.check_exposure()
    assert alone.has_short_token
    assert not Settings(data_dir=tmp_path, token=SecretStr("x" * 16)).has_short_token


def test_an_empty_token_is_no_token(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        Settings(data_dir=tmp_path, token=SecretStr("")).check_exposure()


def test_the_page_is_found_where_it_was_built_and_missed_where_not(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, frontend_dir=tmp_path)
    assert settings.find_frontend() is None
    (tmp_path / "index.html").write_text("page")
    assert settings.find_frontend() == tmp_path
