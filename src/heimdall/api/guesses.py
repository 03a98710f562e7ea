"""Slows down whoever guesses the token, and nobody else."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from heimdall.api.errors import TooManyRequestsError
from heimdall.api.ratelimit import RateLimit, Seldom

T = TypeVar("T")

log = structlog.get_logger()

PER_MINUTE: Final = 20
_MAX_REMEMBERED: Final = 10_000
_SAY_EVERY_S: Final = 60.0
_IPV6_PREFIX_BITS: Final = 64
"""What one customer gets; each may take any address in it."""


class GuessLimit:
    """Bounds the wrong tokens and cookies that come from one address.

    Every wrong one counts towards 429. Different ones count as guesses: when those are used up, nothing that the address shows is
    compared any more, unless the right one came from there before. So a browser with an old cookie locks nobody out, nor does an
    attacker the neighbours behind the same router.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._answers = RateLimit(PER_MINUTE, what="wrong tokens", monotonic=monotonic)
        self._guesses = RateLimit(PER_MINUTE, what="wrong tokens", monotonic=monotonic)
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._reported = Seldom(_SAY_EVERY_S, monotonic=monotonic)

    def admit(self, address: str) -> None:
        """Refuse to compare what a guesser shows. TooManyRequestsError."""
        network = _network_of(address)
        if network not in self._known:
            self._guesses.look(network)

    def succeed(self, address: str) -> None:
        """Note that the right one came from here."""
        _remember(self._known, _network_of(address))

    def fail(self, address: str, shown: str) -> None:
        """Count a wrong one. TooManyRequestsError where there were too many."""
        network = _network_of(address)
        # No token is kept, not even a wrong one: it may be right elsewhere. Python's hash is keyed anew in each process.
        guess = hash((network, shown))
        try:
            if guess not in self._seen:
                self._guesses.check(network)
            self._answers.check(network)
        except TooManyRequestsError:
            if self._reported.is_due():
                log.warning("tokens_refused", client=address)
            raise
        finally:
            _remember(self._seen, guess)


def _remember(kept: OrderedDict[T, None], item: T) -> None:
    kept[item] = None
    kept.move_to_end(item)
    if len(kept) > _MAX_REMEMBERED:
        kept.popitem(last=False)


def _network_of(address: str) -> str:
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, _IPV6_PREFIX_BITS), strict=False))
