"""RFC 8785 (JSON Canonicalization Scheme): one byte form of a JSON value, the same in every language."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any


def _format_number(value: int | float) -> str:
    """Return the number as ECMAScript writes a double (RFC 8785, 3.2.2.3)."""
    if isinstance(value, int) and abs(value) < 2**53:
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        return "null"
    if number == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(number)).as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(exponent)
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{mantissa}e{point - 1:+d}"
    return f"-{text}" if sign else text


def _sort_key(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _pieces(value: Any) -> Iterator[str]:  # noqa: ANN401
    if value is None or isinstance(value, bool):
        yield {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        yield json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int | float):
        yield _format_number(value)
    elif isinstance(value, dict):
        yield "{"
        for position, name in enumerate(sorted(value, key=_sort_key)):
            yield f"{',' if position else ''}{json.dumps(name, ensure_ascii=False)}:"
            yield from _pieces(value[name])
        yield "}"
    else:
        yield "["
        for position, item in enumerate(value):
            if position:
                yield ","
            yield from _pieces(item)
        yield "]"


def canonical_json(value: Any) -> bytes:  # noqa: ANN401
    """Return the canonical UTF-8 bytes of a JSON value.

    Parameters
    ----------
    value
        Dictionaries with text keys, lists, tuples, text, numbers, booleans and None. Numbers are taken
        as doubles; one that is not finite counts as null, which is what it travels as.

    References
    ----------
    RFC 8785, section 3.2.
    """
    return "".join(_pieces(value)).encode()


def hash_canonical(value: Any) -> str:  # noqa: ANN401
    """Return the SHA-256 of :func:`canonical_json`, 64 lowercase hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
