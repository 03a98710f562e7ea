"""Whatever a client says to a socket, in its address or its frames: the server answers or closes in words, and goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.serving import Served, make_container, receive, serve

FRAMES = st.lists(
    st.one_of(
        st.text(max_size=50),
        st.binary(max_size=50),
        st.sampled_from(
            ['{"event": "ping"}', "[]", "null", '{"event": 7}', "{" * 60, '"x"', '{"event": "ping", "x": "\\u0000"}', "9" * 400]
        ),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(json.dumps),
    ),
    max_size=5,
)
SINCE = st.none() | st.integers(-5, 2**70).map(str) | st.text(max_size=20)
JOB = st.none() | st.just("real") | st.text(min_size=1, max_size=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("sockets"))) as running:
        running.job = running.create_job(running.add_dataset())  # type: ignore[attr-defined]
        yield running


def talk(served: Served, path: str, frames: list[str | bytes]) -> str:
    """Say everything and then ping; return how it ended."""
    try:
        with served.socket(path) as socket:
            for frame in frames:
                socket.send(frame)
            socket.send('{"event": "ping"}')
            end = time.monotonic() + 10
            while receive(socket)["event"] != "pong" and time.monotonic() < end:
                pass
            return "pong" if time.monotonic() < end else "silence"
    except ConnectionClosed as closed:
        return "torn" if closed.rcvd is None else f"closed {closed.rcvd.code} {'in words' if closed.rcvd.reason else 'without a word'}"
    except InvalidStatus as refused:
        return f"refused {refused.response.status_code}"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=FRAMES, since=SINCE, job=JOB)
def test_no_words_break_a_socket(served: Served, frames: list[str | bytes], since: str | None, job: str | None) -> None:
    named = served.job if job == "real" else job  # type: ignore[attr-defined]
    path = "/ws/training" + ("" if named is None else f"/{quote(named, safe='')}") + ("" if since is None else f"?since={quote(since)}")
    assert talk(served, path, frames) in {
        "pong",
        "closed 4400 in words",
        "closed 4404 in words",
        "refused 403",
        "refused 404",
        "refused 422",
    }


def test_the_server_still_serves_after_all_that(served: Served) -> None:
    with served.socket("/ws/training") as socket:
        assert receive(socket)["event"] == "connected"
    assert served.client.get("/health/ready").status_code == 200
    assert 'status="500"' not in served.client.get("/metrics").text
