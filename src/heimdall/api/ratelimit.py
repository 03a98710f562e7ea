"""Bounds on what costs much: a token bucket per client for the routes that make things, and a gate for what runs at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from heimdall.api.errors import TooManyRequestsError

_MAX_CLIENTS: Final = 10_000


class RateLimit:
    """Allows a burst of one minute's worth, then a steady rate.

    Parameters
    ----------
    per_minute
        Requests a client may make a minute; 0 turns the limit off.
    what
        What they are, for the message.
    monotonic
        Clock in seconds.
    """

    def __init__(self, per_minute: int, *, what: str = "creates and imports", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._what = what
        self._monotonic = monotonic
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Take one token of ``client``.

        Raises
        ------
        TooManyRequestsError
            None is left; it says after how many seconds one will be.
        """
        if self._per_minute == 0:
            return
        left = self._count_left(client)
        self._left.pop(client, None)
        self._left[client] = (left - 1 if left >= 1 else left, self._monotonic())
        if len(self._left) > _MAX_CLIENTS:
            self._left.popitem(last=False)
        self._refuse_without(left)

    def look(self, client: str) -> None:
        """Raise as :meth:`check` would, but take nothing."""
        if self._per_minute > 0 and client in self._left:
            self._refuse_without(self._count_left(client))

    def _count_left(self, client: str) -> float:
        now = self._monotonic()
        left, seen_at = self._left.get(client, (float(self._per_minute), now))
        return min(float(self._per_minute), left + (now - seen_at) * self._per_minute / 60)

    def _refuse_without(self, left: float) -> None:
        if left < 1:
            wait_s = math.ceil((1 - left) * 60 / self._per_minute)
            raise TooManyRequestsError(
                f"More than {self._per_minute} {self._what} a minute. Try again in {wait_s} s.", retry_after_s=wait_s
            )


class Seldom:
    """Says whether something is due to be said again.

    Parameters
    ----------
    every_s
        s between two times.
    monotonic
        Clock in seconds.
    """

    def __init__(self, every_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._monotonic = monotonic
        self._due_at = -math.inf

    def is_due(self) -> bool:
        """Return True at most once in that time."""
        now = self._monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + self._every_s
        return True


class Gate:
    """Lets so many through at once; the rest wait for a bounded time.

    Parameters
    ----------
    places
        How many may be inside.
    patience_s
        s to wait for a place.
    what
        What is done inside, for the message.
    """

    def __init__(self, places: int, *, patience_s: float, what: str) -> None:
        self._places = places
        self._patience_s = patience_s
        self._what = what
        self._free = asyncio.Semaphore(places)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Hold a place. TooManyRequestsError where none becomes free in time."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError:
            raise TooManyRequestsError(
                f"{self._places} {self._what} run already, and none ended within {self._patience_s:g} s. Try again.",
                retry_after_s=max(1, round(self._patience_s)),
            ) from None
        try:
            yield
        finally:
            self._free.release()
