"""Reads JSON bodies: counted while they stream, strictly parsed, validated with a sentence for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from heimdall.api.deps import services
from heimdall.api.errors import invalid_body
from heimdall.domain.errors import InvalidInputError, TooLargeError, UnsupportedMediaError

if TYPE_CHECKING:
    from starlette.requests import Request

M = TypeVar("M", bound=BaseModel)

_BYTES_PER_KB: Final = 1000


def body_schema(model: type[BaseModel], *, is_required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI entry of a route that reads ``model`` as JSON."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": is_required, "content": {"application/json": {"schema": reference}}}}


def media_type(request: Request) -> str:
    """Return the body's media type in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[M], *, is_required: bool = True) -> M:
    """Read the body as ``model``.

    Types are taken strictly: ``"10"`` and ``true`` are no numbers. NaN and Infinity are not JSON.

    Parameters
    ----------
    request
        The request, its body not yet read.
    model
        Schema of the body.
    is_required
        False takes an empty body for ``{}``.

    Raises
    ------
    UnsupportedMediaError
        The body is not declared as JSON.
    TooLargeError
        It is longer than the settings' ``max_json_kb``.
    InvalidInputError
        It is not JSON, or does not fit the schema; names the field.
    """
    raw = await read_limited(request, services(request).settings.max_json_kb * _BYTES_PER_KB)
    if not raw and not is_required:
        return validate(model, {})
    kind = media_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaError("Send the body as JSON, with Content-Type: application/json.")
    return validate(model, parse_json(raw))


async def read_limited(request: Request, max_bytes: int) -> bytes:
    """Return the body. TooLargeError as soon as it is longer than ``max_bytes``."""
    check_declared_length(request, max_bytes)
    parts: list[bytes] = []
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > max_bytes:
            raise too_large(max_bytes)
        parts.append(chunk)
    return b"".join(parts)


def check_declared_length(request: Request, max_bytes: int) -> None:
    """Refuse a body that says itself that it is too long, before any of it is read. TooLargeError."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> TooLargeError:
    """Return the error that names the limit."""
    size = f"{max_bytes / 1e6:g} MB" if max_bytes >= 1_000_000 else f"{max_bytes / 1e3:g} kB"
    return TooLargeError(f"The body is larger than {size}, the most this server takes.")


def parse_json(raw: bytes) -> Any:  # noqa: ANN401
    """Parse JSON. InvalidInputError where it is malformed, too deep, or holds NaN or a NUL character."""
    if not raw.strip():
        raise InvalidInputError('The body is empty. Send a JSON object, like {"name": "..."}.')
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    if b"\\u0000" in raw:
        raise InvalidInputError("The body holds a NUL character (\\u0000), which no field takes. Remove it.")
    return parsed


def validate(model: type[M], value: Any) -> M:  # noqa: ANN401
    """Return ``value`` as ``model``, types taken strictly. InvalidInputError naming the field."""
    if not isinstance(value, dict):
        raise InvalidInputError('The body must be a JSON object, like {"name": "..."}.')
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        raise invalid_body(error, model) from error
