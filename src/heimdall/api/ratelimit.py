"""A token bucket per client, for the routes that make things."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from heimdall.api.errors import TooManyRequestsError

_MAX_CLIENTS: Final = 10_000


class RateLimit:
    """Allows a burst of one minute's worth, then a steady rate.

    Parameters
    ----------
    per_minute
        Requests a client may make a minute; 0 turns the limit off.
    monotonic
        Clock in seconds.
    """

    def __init__(self, per_minute: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
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
        now = self._monotonic()
        per_second = self._per_minute / 60
        left, seen_at = self._left.pop(client, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - seen_at) * per_second)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > _MAX_CLIENTS:
            self._left.popitem(last=False)
        if not allowed:
            wait_s = math.ceil((1 - left) / per_second)
            raise TooManyRequestsError(
                f"More than {self._per_minute} creates and imports a minute. Try again in {wait_s} s.", retry_after_s=wait_s
            )
