"""Guessing the token: slowed down for the one who guesses, and for nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from heimdall.api.errors import TooManyRequestsError
from heimdall.api.guesses import PER_MINUTE, GuessLimit
from tests.serving import Served, make_container, receive, serve

TOKEN = "the right token, and long"
JOBS = "/api/v1/training/jobs"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def guess(limit: GuessLimit, address: str, numbers: range) -> int:
    """Show wrong tokens; return how many were refused."""
    refused = 0
    for number in numbers:
        try:
            limit.admit(address)
            limit.fail(address, f"wrong {number}")
        except TooManyRequestsError:
            refused += 1
    return refused


def test_a_guesser_is_not_even_compared_until_time_has_passed() -> None:
    clock = Clock()
    limit = GuessLimit(monotonic=clock)
    assert guess(limit, "192.0.2.1", range(PER_MINUTE)) == 0
    with pytest.raises(TooManyRequestsError) as refused:
        limit.admit("192.0.2.1")
    assert refused.value.retry_after_s == 3
    limit.admit("192.0.2.2")
    clock.now = 3.0
    limit.admit("192.0.2.1")


def test_the_neighbour_who_came_before_comes_in_again() -> None:
    limit = GuessLimit(monotonic=Clock())
    limit.succeed("192.0.2.1")
    assert guess(limit, "192.0.2.1", range(100)) == 100 - PER_MINUTE
    limit.admit("192.0.2.1")


def test_an_old_cookie_shown_again_and_again_locks_nobody_out() -> None:
    limit = GuessLimit(monotonic=Clock())
    refused = 0
    for _ in range(100):
        try:
            limit.fail("192.0.2.1", "old")
        except TooManyRequestsError:
            refused += 1
    assert refused == 100 - PER_MINUTE
    limit.admit("192.0.2.1")


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_one_network_counts_as_one_guesser(address: str, other: str, *, is_same: bool) -> None:
    limit = GuessLimit(monotonic=Clock())
    guess(limit, address, range(PER_MINUTE))
    try:
        limit.admit(other)
        assert not is_same
    except TooManyRequestsError:
        assert is_same


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(make_container(tmp_path, token=TOKEN)) as running:
        app: Any = running.server.config.app
        app.state.credentials.guesses = GuessLimit(monotonic=Clock())
        yield running


def by_bearer(served: Served, token: str) -> int:
    return httpx.get(served.url + JOBS, headers={"Authorization": f"Bearer {token}"}).status_code


def by_cookie(served: Served, token: str) -> int:
    return httpx.get(
        served.url + JOBS, headers={"Authorization": "Bearer same", "Cookie": f"heimdall_token={token.replace(' ', '-')}"}
    ).status_code


def by_address(served: Served, token: str) -> int:
    return httpx.get(served.url + "/training", params={"token": token}).status_code


def by_socket(served: Served, token: str) -> int:
    with pytest.raises(InvalidStatus) as refused, served.socket("/ws/training", additional_headers={"Authorization": f"Bearer {token}"}):
        pass
    return refused.value.response.status_code


@pytest.mark.parametrize("ask", [by_bearer, by_cookie, by_address, by_socket])
def test_every_way_in_counts_wrong_ones(served: Served, ask: Callable[[Served, str], int], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    statuses = [ask(served, f"wrong {number}") for number in range(PER_MINUTE + 5)]
    assert statuses[:PER_MINUTE] == [403 if ask is by_socket else 401] * PER_MINUTE
    assert statuses[-3:] == [429, 429, 429]
    refused = httpx.get(served.url + JOBS, headers=BEARER)
    assert refused.status_code == 429, "a guesser learns nothing from a right guess either"
    assert int(refused.headers["retry-after"]) >= 1
    assert httpx.get(served.url + JOBS).status_code == 401, "who shows nothing guesses nothing"
    assert httpx.get(served.url + "/health/ready").status_code == 200
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


def test_the_right_token_goes_on_working_where_it_worked(served: Served) -> None:
    assert httpx.get(served.url + JOBS, headers=BEARER).status_code == 200
    assert {by_bearer(served, f"wrong {number}") for number in range(2 * PER_MINUTE)} == {401, 429}
    assert httpx.get(served.url + JOBS, headers=BEARER).status_code == 200
    opened = httpx.get(served.url + "/", params={"token": TOKEN})
    assert opened.status_code == 303
    assert httpx.get(served.url + JOBS, cookies=opened.cookies).status_code == 200
    with served.socket("/ws/training", additional_headers=BEARER) as client:
        assert receive(client)["event"] == "connected"
