"""What goes into a column comes out, or comes out cleaned."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from heimdall.storage.column_types import InstantColumn, clean_text, encode_json

DIALECT = sqlite.dialect()
instants = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=9))]),
)


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=[])))
def test_cleaned_text_can_be_stored_anywhere(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\x00" not in cleaned
    assert clean_text(cleaned) == cleaned


@given(st.text())
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert clean_text(text) == text.replace("\x00", "\ufffd")


def test_json_holds_no_numbers_that_are_none_and_no_half_characters() -> None:
    assert json.loads(encode_json({"a": float("nan"), "b": float("inf"), "c": [1.5]})) == {"a": None, "b": None, "c": [1.5]}
    assert json.loads(encode_json({"text \ud800": ["\udfff"]})) == {"text \ufffd\ufffd\ufffd": ["\ufffd\ufffd\ufffd"]}


@given(instants, instants)
def test_instants_come_back_and_sort_as_text(first: datetime, second: datetime) -> None:
    column = InstantColumn()
    texts = [column.process_bind_param(value, DIALECT) for value in (first, second)]
    assert [column.process_result_value(text, DIALECT) for text in texts] == [first, second]
    assert (texts[0] < texts[1]) == (first < second)


def test_an_instant_without_a_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="time zone"):
        InstantColumn().process_bind_param(datetime(2026, 1, 1), DIALECT)
