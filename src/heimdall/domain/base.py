"""What every entity shares: frozen pydantic models, UTC instants and ids."""

from __future__ import annotations

import re
import unicodedata
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer

BIDI_CONTROLS: Final = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Invisible characters that turn the direction of writing: a name with one can look like another name."""


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def format_instant(value: datetime) -> str:
    """Return ISO 8601 in UTC with microseconds and a trailing ``Z``."""
    return _to_utc(value).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


Instant = Annotated[datetime, AfterValidator(_to_utc), PlainSerializer(format_instant, return_type=str, when_used="json")]
"""An instant in UTC, written as ISO 8601 with ``Z``."""


class Entity(BaseModel):
    """A frozen value; changed only by :meth:`evolve`, which validates again."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    def evolve(self, **changes: Any) -> Self:  # noqa: ANN401
        """Return a validated copy with ``changes`` applied."""
        return type(self).model_validate({**self.__dict__, **changes})


def new_id() -> str:
    """Return a fresh server-made identifier (UUID 4, text)."""
    return str(uuid.uuid4())


def make_file_stem(name: str) -> str:
    """Return ``name`` in letters, digits, dot, dash and underscore, at most 100: safe unquoted in a header. Empty where nothing is left."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_name).strip("-._")[:100].rstrip("-._")
