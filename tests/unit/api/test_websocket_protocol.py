"""Frames that are encoded once are the frames that the library writes."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from heimdall.api.websocket_protocol import encode_frame, find_frame_writer


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_is_the_one_of_the_library(length: int) -> None:
    payload = b"x" * length
    assert encode_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_another_server_offers_no_writer() -> None:
    assert find_frame_writer({"extensions": {}}) is None
    assert find_frame_writer({}) is None
