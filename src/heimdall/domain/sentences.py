"""What pydantic says of a wrong value, said to a person: one copy for the API, the bundle reader and the command line."""

from __future__ import annotations

from typing import Final

_PREFIXES: Final = ("Value error, ", "Assertion failed, ")
_PLAIN_WORDS: Final = (
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid string", "text"),
    ("a valid boolean", "true or false"),
    ("should have at least 1 character", "must not be empty"),
    ("should be less than or equal to", "should be at most"),
    ("should be greater than or equal to", "should be at least"),
)


def describe_fault(name: str, message: str) -> str:
    """Return one sentence that says what is wrong with ``name``.

    Parameters
    ----------
    name
        The field, flag or variable, as the reader wrote it.
    message
        A validation message of pydantic, or a sentence's rest of our own validators.
    """
    if message == "Field required":
        return f"{name} is required."
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    message = message.partition(", unable to ")[0]
    if " should " in message:  # "Input should be …", "String should have …": the name stands for both
        message = message[message.index("should ") :]
    for technical, plain in _PLAIN_WORDS:
        message = message.replace(technical, plain)
    return f"{name} {message}".rstrip(".") + "."
