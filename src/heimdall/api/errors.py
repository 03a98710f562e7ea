"""Where exceptions become answers: one table from error class to status, one ``Problem`` body."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from heimdall.api.schemas import Problem
from heimdall.domain.errors import (
    AuthenticationError,
    BundleError,
    CheckpointError,
    ConflictError,
    HeimdallError,
    InvalidInputError,
    NotFoundError,
    RateLimitedError,
    TooLargeError,
    TrainingError,
    UnavailableError,
    UnsupportedMediaError,
)
from heimdall.domain.sentences import describe_fault

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel, ValidationError


class ForeignOriginError(HeimdallError):
    """A browser page of another origin asks for something that acts."""

    code = "foreign_origin"


class NotAllowedError(HeimdallError):
    """The one who asks is known, and their role is not enough."""

    code = "not_allowed"


class TooManyRequestsError(RateLimitedError):
    """A rate limit was hit; ``retry_after_s`` says when one more is allowed."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


STATUS_OF: Final[dict[type[HeimdallError], int]] = {
    AuthenticationError: 401,
    ForeignOriginError: 403,
    NotAllowedError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    CheckpointError: 409,
    TrainingError: 409,
    TooLargeError: 413,
    UnsupportedMediaError: 415,
    InvalidInputError: 422,
    BundleError: 422,
    RateLimitedError: 429,
    UnavailableError: 503,
}
"""The one table. A class that is not in it takes the status of its nearest ancestor that is."""

ERROR_TEXTS: Final = {
    400: "The Host header is not one this server answers to, or the connection ended too early.",
    401: "A token or a sign-in is needed.",
    403: "The role is not enough, or the page that asks comes from a foreign origin.",
    404: "There is no such thing.",
    409: "It does not fit the present state; the message names it.",
    413: "Too large; the message names the limit.",
    415: "Not a kind of body that this route reads.",
    422: "A value is wrong; `field` names it.",
    429: "Too many at once, or too many wrong tokens; `Retry-After` says when to try again.",
    503: "A dependency does not answer now; try again later.",
}

_HEADERS_OF: Final = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}
_MAX_NAMED_ERRORS: Final = 5


def status_of(error: HeimdallError) -> int:
    """Return the HTTP status of an error."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    return 500


def problem_response(status: int, code: str, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None) -> Response:
    """Return the one error body."""
    body = Problem(code=code, detail=detail, field=field).model_dump_json()
    return Response(body, status, {**_HEADERS_OF.get(status, {}), **(headers or {})}, media_type="application/json")


def error_response(error: HeimdallError) -> Response:
    """Return the answer that an error of the product's own tree becomes."""
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, TooManyRequestsError) else None
    return problem_response(status_of(error), error.code, error.detail, field=error.field, headers=headers)


def describe_invalid(errors: Sequence[Any], model: type[BaseModel] | None = None) -> InvalidInputError:
    """Turn validation errors into one sentence and the first field at fault.

    Parameters
    ----------
    errors
        As pydantic lists them, with ``loc`` inside the body or query.
    model
        The schema, to name its fields where one is unknown.
    """
    unknown = [_path(error["loc"]) for error in errors if error["type"] == "extra_forbidden"]
    sentences = [_sentence(error) for error in errors if error["type"] != "extra_forbidden"]
    if unknown:
        known = f" Known are: {', '.join(model.model_fields)}." if model is not None else ""
        names = ", ".join(f"'{name}'" for name in unknown[:_MAX_NAMED_ERRORS])
        sentences.insert(0, f"There {'is no field' if len(unknown) == 1 else 'are no fields'} {names}.{known}")
    first = unknown[0] if unknown else _path(errors[0]["loc"])
    return InvalidInputError(" ".join(sentences[:_MAX_NAMED_ERRORS]), field=first or None)


def invalid_body(error: ValidationError, model: type[BaseModel]) -> InvalidInputError:
    """Turn a schema's complaint about a body into the product's error."""
    return describe_invalid(error.errors(include_url=False, include_context=False, include_input=False), model)


def _path(location: Sequence[str | int]) -> str:
    return ".".join(str(part)[:100] for part in location)


def _sentence(error: Any) -> str:  # noqa: ANN401
    return describe_fault(_path(error["loc"]) or "The body", str(error["msg"]))


async def _answer_heimdall_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HeimdallError)
    return error_response(error)


async def _answer_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    inside = [{**item, "loc": item["loc"][1:]} for item in error.errors()]
    return error_response(describe_invalid(inside))


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path[:200]}. The routes are listed at /openapi.json."
    elif error.status_code == 405:
        allowed = ", ".join(_find_methods(request))
        detail = f"{request.method[:20]} is not possible here. Use {allowed}."
        return problem_response(405, "method_not_allowed", detail, headers={"Allow": allowed})
    return problem_response(error.status_code, phrase.lower().replace(" ", "_"), detail, headers=dict(error.headers or {}))


def _find_methods(request: Request) -> list[str]:
    """Return every method that some route takes at this address."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(dict(request.scope))[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


INTERNAL_DETAIL: Final = "Something went wrong in the server; its log has the details."


async def _answer_unexpected(_: Request, __: Exception) -> Response:
    # uvicorn logs the traceback; the client learns nothing about the inside.
    return problem_response(500, "internal", INTERNAL_DETAIL)


async def _answer_disconnect(_: Request, __: Exception) -> Response:
    return problem_response(400, "disconnected", "The connection ended before the request did.")


def install_error_handlers(app: FastAPI) -> None:
    """Make every exception of every route a ``Problem``."""
    app.add_exception_handler(HeimdallError, _answer_heimdall_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientDisconnect, _answer_disconnect)
    app.add_exception_handler(Exception, _answer_unexpected)
