"""The limit on creates: generous, per client, and it says when to come back."""

from __future__ import annotations

import pytest

from heimdall.api.errors import TooManyRequestsError
from heimdall.api.ratelimit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_of_a_minute_is_allowed_then_a_steady_rate() -> None:
    clock = Clock()
    limit = RateLimit(60, monotonic=clock)
    for _ in range(60):
        limit.check("a")
    with pytest.raises(TooManyRequestsError) as caught:
        limit.check("a")
    assert caught.value.retry_after_s == 1
    limit.check("b")
    clock.now = 1.0
    limit.check("a")
    with pytest.raises(TooManyRequestsError):
        limit.check("a")
    clock.now = 1000.0
    for _ in range(60):
        limit.check("a")


def test_refused_requests_cost_nothing() -> None:
    clock = Clock()
    limit = RateLimit(60, monotonic=clock)
    for _ in range(60):
        limit.check("a")
    for _ in range(100):
        with pytest.raises(TooManyRequestsError):
            limit.check("a")
    clock.now = 1.0
    limit.check("a")


def test_zero_turns_it_off() -> None:
    limit = RateLimit(0)
    for _ in range(10_000):
        limit.check("a")
