"""What routes say about their answers in the API description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute

from heimdall.api.errors import ERROR_TEXTS

Documented = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Documented:
    """Return the ``responses`` of a route that answers these errors; ``openapi.py`` gives each the ``Problem`` body."""
    return {status: {"description": ERROR_TEXTS[status]} for status in (*statuses, 503)}


class Route(APIRoute):
    """A route that writes its own answer, so that the models of its answers serve the API description alone.

    A server builds none of them at its start (an eighth of it: ``bench/startup.py``); :meth:`described` builds them.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401
        self._full = (path, endpoint, options)
        responses: Documented = {
            status: {name: value for name, value in answer.items() if name != "model"}
            for status, answer in (options.get("responses") or {}).items()
        }
        super().__init__(path, endpoint, **{**options, "response_model": None, "responses": responses})

    def described(self) -> APIRoute:
        """Return the same route with the models of its answers."""
        path, endpoint, options = self._full
        return APIRoute(path, endpoint, **options)
