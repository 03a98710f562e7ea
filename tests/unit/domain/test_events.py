"""The page on events names what the code can say."""

from __future__ import annotations

import re

from heimdall.domain.events import EventType
from heimdall.services.retention import CHECKPOINT_EXPIRED
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")


def test_every_event_is_documented_and_no_other() -> None:
    named = set(re.findall(r"`((?:training_[a-z]+)|connected|pong)`", PAGE))
    assert named == {event.value for event in EventType}


def test_every_reason_of_an_update_is_documented() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "heimdall" / "services").glob("*.py"))
    said = set(re.findall(r'EventType\.UPDATED[^)]*?reason="([a-z_]+)"', source)) | {CHECKPOINT_EXPIRED, "waiting", "going_on"}
    assert len(said) >= 9
    assert {reason for reason in said if f"`{reason}`" not in PAGE} == set()
