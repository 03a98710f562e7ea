"""What routes say about their errors in the API description."""

from __future__ import annotations

from typing import Any

from heimdall.api.errors import ERROR_TEXTS

Documented = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Documented:
    """Return the ``responses`` of a route that answers these errors; ``openapi.py`` gives each the ``Problem`` body."""
    return {status: {"description": ERROR_TEXTS[status]} for status in (*statuses, 503)}
