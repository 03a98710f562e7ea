"""Text from strangers is fit to be shown and stored."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.domain.texts import clean_text, clean_value


def test_text_loses_control_and_direction_characters_and_keeps_the_rest() -> None:
    assert clean_text(" a\x00b\x1b[31m\u202egpj\u2028c é 模型 👩‍🔬 <b> ") == "ab[31mgpjc é 模型 👩‍🔬 <b>"
    assert clean_text("x" * 300, limit=255) == "x" * 255


@settings(deadline=None)
@given(st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10))
def test_a_cleaned_value_fits_any_database(value: Any) -> None:
    text = json.dumps(clean_value(value), allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
