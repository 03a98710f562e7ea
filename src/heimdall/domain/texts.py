"""Text from strangers, made fit to be shown and stored. Apart from the bundles, because more than they need it."""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Final

from heimdall.domain.base import BIDI_CONTROLS

MAX_NAME_LENGTH: Final = 255
MAX_TEXT_LENGTH: Final = 2000
MAX_LABEL_LENGTH: Final = 100
"""Characters of an architecture or an identifier."""

_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def clean_text(text: str, *, limit: int = MAX_TEXT_LENGTH) -> str:
    """Return the text without control, surrogate and direction characters, trimmed, cut at ``limit`` characters."""
    kept = (letter for letter in text if unicodedata.category(letter) not in _UNSAFE_CATEGORIES and letter not in BIDI_CONTROLS)
    return "".join(kept).strip()[:limit].rstrip()


def clean_value(value: Any) -> Any:  # noqa: ANN401
    """Return a JSON value with every text and key cleaned and every non-finite number null: fit for any database."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(name), limit=MAX_NAME_LENGTH): clean_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
