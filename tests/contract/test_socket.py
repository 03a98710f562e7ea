"""The socket half of the contract, over a real server: in order, none missing, none twice."""

from __future__ import annotations

import contextlib
import json
import random
import socket as sockets
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from heimdall.domain.events import EventType, Tick
from tests.contract.served import served as served
from tests.serving import Served, make_container, receive, receive_until, serve


@pytest.fixture
def dataset_id(served: Served) -> str:
    return served.add_dataset(uuid.uuid4().hex)


def events_of(served: Served, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := served.api.get(f"/training/jobs/{job_id}/events", params={"since": found[-1]["seq"] if found else 0}).json()["events"]:
        found += page
    return found


def drain(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=15)


def expect_close(socket: ClientConnection, code: int) -> str:
    with pytest.raises(ConnectionClosed) as caught:
        drain(socket)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code, caught.value.rcvd
    return caught.value.rcvd.reason


def test_connected_comes_first_then_the_past_then_the_present(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    served.record(claim, 1)
    with served.socket(f"/ws/training/{job_id}") as socket:
        hello = receive(socket)
        assert (hello["event"], hello["seq"], hello["job_id"]) == ("connected", None, job_id)
        assert hello["data"]["last_seq"] == 3
        assert hello["data"]["job"] == served.api.get(f"/training/jobs/{job_id}").json()
        past = [receive(socket) for _ in range(3)]
        assert [frame["event"] for frame in past] == ["training_updated", "training_started", "training_progress"]
        served.record(claim, 2)
        live = receive(socket)
        assert (live["seq"], live["data"]["epoch"], live["data"]["progress_percent"]) == (4, 2, 4.0)
        assert [*past, live] == events_of(served, job_id)


def test_since_gives_what_follows_and_nothing_else(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    for epoch in range(1, 6):
        served.record(claim, epoch)
    with served.socket(f"/ws/training/{job_id}?since=5") as socket:
        receive(socket)
        assert [receive(socket)["seq"], receive(socket)["seq"]] == [6, 7]
    for since in ("7", "9999"):
        with served.socket(f"/ws/training/{job_id}?since={since}") as socket:
            assert receive(socket)["data"]["last_seq"] == served.api.get(f"/training/jobs/{job_id}").json()["last_seq"]
            served.record(claim, 6 if since == "7" else 7)
            assert receive(socket)["seq"] == (8 if since == "7" else 9)


@pytest.mark.parametrize("since", ["-1", "x", "1.5", "9" * 30, "٣"])
def test_a_since_that_is_no_number_is_refused(served: Served, dataset_id: str, since: str) -> None:
    job_id = served.create_job(dataset_id)
    with served.socket(f"/ws/training/{job_id}?since={since}") as socket:
        assert "since" in expect_close(socket, 4400)


def test_an_unknown_job_is_4404(served: Served) -> None:
    with served.socket("/ws/training/nowhere") as socket:
        expect_close(socket, 4404)


def test_sockets_that_join_while_events_are_committed_miss_and_double_nothing(served: Served, dataset_id: str) -> None:
    num_epochs = 300
    job_id = served.create_job(dataset_id, epochs=num_epochs)
    claim = served.claim(job_id)
    last_seq = 2 + num_epochs
    is_started = threading.Event()

    def train() -> None:
        for epoch in range(1, num_epochs + 1):
            served.record(claim, epoch)
            if epoch == 5:
                is_started.set()

    def follow(seed: int) -> list[int]:
        since = random.Random(seed).randrange(3)
        with served.socket(f"/ws/training/{job_id}?since={since}") as socket:
            assert receive(socket)["event"] == "connected"
            frames = receive_until(socket, lambda frame: frame["seq"] == last_seq)
        assert [frame["seq"] for frame in frames] == list(range(since + 1, last_seq + 1))
        return [frame["seq"] for frame in frames]

    with ThreadPoolExecutor(5) as pool:
        worker = pool.submit(train)
        assert is_started.wait(20)
        for follower in [pool.submit(follow, seed) for seed in range(24)]:
            assert follower.result(60)
        worker.result(60)


def test_a_socket_cut_a_hundred_times_receives_what_is_stored(served: Served, dataset_id: str) -> None:
    num_epochs = 200
    job_id = served.create_job(dataset_id, epochs=num_epochs)
    claim = served.claim(job_id)
    received: list[dict[str, Any]] = []
    cuts = 0
    dice = random.Random(1)

    def train() -> None:
        for epoch in range(1, num_epochs + 1):
            served.record(claim, epoch)

    worker = threading.Thread(target=train)
    worker.start()
    while not received or received[-1]["seq"] < num_epochs + 2:
        with served.socket(f"/ws/training/{job_id}?since={received[-1]['seq'] if received else 0}") as socket:
            assert receive(socket)["event"] == "connected"
            for _ in range(dice.randrange(4)):
                if received and received[-1]["seq"] >= num_epochs + 2:
                    break
                received.append(receive(socket))
            socket.socket.close()
            cuts += 1
    worker.join()
    assert cuts >= 100
    assert received == events_of(served, job_id)


def test_the_socket_of_all_jobs_starts_now_and_numbers_the_whole_log(served: Served, dataset_id: str) -> None:
    served.create_job(dataset_id)
    with served.socket("/ws/training") as socket:
        hello = receive(socket)
        assert (hello["event"], hello["job_id"], hello["data"]["job"]) == ("connected", None, None)
        start = hello["data"]["last_seq"]
        job_ids = [served.create_job(dataset_id, epochs=40) for _ in range(4)]
        claims = [served.claim(job_id) for job_id in job_ids]

        def train(claim: Any) -> None:
            for epoch in range(1, 41):
                served.record(claim, epoch)

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(train, claim) for claim in claims]:
                done.result(60)
        total = 4 * 42
        frames = [receive(socket) for _ in range(total)]
    positions = [frame["seq"] for frame in frames]
    assert positions == sorted(set(positions))
    assert positions[0] > start
    for job_id in job_ids:
        assert [frame["job_seq"] for frame in frames if frame["job_id"] == job_id] == list(range(1, 43))
    with served.socket(f"/ws/training?since={start}") as socket:
        receive(socket)
        assert [receive(socket) for _ in range(total)] == frames
    with served.socket(f"/ws/training?since={positions[100]}") as socket:
        receive(socket)
        assert receive(socket) == frames[101]


def test_ticks_have_no_number_are_not_stored_and_come_four_a_second(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    claim = served.claim(job_id)
    with served.socket(f"/ws/training/{job_id}?since=2") as socket:
        receive(socket)
        for batch in range(20):
            tick = Tick(
                job_id=job_id, attempt=1, timestamp=datetime.now(UTC), current_epoch=0, progress_percent=1.0, batch=batch, total_batches=20
            )
            served.container.live.publish_tick(tick)
        first = receive(socket)
        assert (first["event"], first["seq"], first["job_seq"]) == ("training_progress", None, None)
        assert {"current_epoch", "progress_percent", "batch", "total_batches"} <= set(first["data"])
        served.record(claim, 1)
        frames = [first, *receive_until(socket, lambda frame: frame["seq"] is not None)]
        assert len(frames) - 1 <= 4
    assert [frame["seq"] for frame in events_of(served, job_id)] == [1, 2, 3]


def test_a_ping_is_answered_and_nonsense_is_not_borne(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    with served.socket(f"/ws/training/{job_id}?since=1") as socket:
        receive(socket)
        socket.send('{"event":"ping"}')
        assert receive(socket)["event"] == "pong"
        socket.send('{"event":"something of a later version"}')
        socket.send(b'{"event":"ping"}')
        assert receive(socket)["event"] == "pong"
        socket.send("[" * 1000)
        assert "ping" in expect_close(socket, 4400)
    with served.socket(f"/ws/training/{job_id}?since=1") as socket, contextlib.suppress(ConnectionClosed):
        socket.send("x" * 200_000)
        expect_close(socket, 1009)


def test_a_job_deleted_while_watched_says_so_and_ends(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    served.api.delete(f"/training/jobs/{job_id}")
    with served.socket(f"/ws/training/{job_id}?since=2") as socket:
        receive(socket)
        assert served.api.delete(f"/training/jobs/{job_id}").status_code == 204
        assert receive(socket)["event"] == "training_deleted"
        expect_close(socket, 4404)


def test_a_foreign_page_is_refused_before_the_upgrade(served: Served, dataset_id: str) -> None:
    job_id = served.create_job(dataset_id)
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{served.port + 1}", f"http://evil.example:{served.port}"):
        with pytest.raises(InvalidStatus) as caught, served.socket(f"/ws/training/{job_id}", origin=origin):
            pass
        assert caught.value.response.status_code == 403
        assert json.loads(caught.value.response.body or b"{}")["code"] == "foreign_origin"
    with served.socket(f"/ws/training/{job_id}", origin=served.url) as socket:
        assert receive(socket)["event"] == "connected"


def test_an_address_that_is_no_socket_is_refused(served: Served) -> None:
    with pytest.raises(InvalidStatus) as caught, served.socket("/ws/other"):
        pass
    assert caught.value.response.status_code in (403, 404)


def append_large_event(served: Served, job_id: str, num_bytes: int) -> None:
    with served.container.store.write() as tx:
        job = tx.jobs.get(job_id, lock=True)
        changed = job.evolve(last_seq=job.last_seq + 1, version=job.version + 1)
        tx.jobs.save(changed, expected_version=job.version)
        payload = {"filler": "x" * num_bytes}
        tx.events.append(job_id, seq=changed.last_seq, type=EventType.UPDATED, payload=payload, now=datetime.now(UTC))


def test_a_client_that_does_not_read_is_closed_and_goes_on_from_its_last_number(tmp_path: Path) -> None:
    with serve(make_container(tmp_path, socket_buffer_events=20)) as served:
        overrun(served, served.create_job(served.add_dataset()))


def overrun(served: Served, job_id: str) -> None:
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", served.port))
    with served.socket(f"/ws/training/{job_id}?since=1", sock=raw, max_queue=1) as socket:
        assert receive(socket)["event"] == "connected"
        dropped = served.container.settings.socket_buffer_events + 300
        for _ in range(dropped):
            append_large_event(served, job_id, 20_000)
        received: list[int] = []
        closed: ConnectionClosed | None = None
        while closed is None:
            try:
                received.append(receive(socket)["seq"])
            except ConnectionClosed as error:
                closed = error
    assert closed.rcvd is not None
    assert closed.rcvd.code == 4408
    assert received == list(range(2, len(received) + 2))
    assert len(received) < dropped
    last_seq = served.api.get(f"/training/jobs/{job_id}").json()["last_seq"]
    with served.socket(f"/ws/training/{job_id}?since={received[-1]}") as socket:
        receive(socket)
        rest = receive_until(socket, lambda frame: frame["seq"] == last_seq)
    assert [*received, *(frame["seq"] for frame in rest)] == list(range(2, last_seq + 1))
