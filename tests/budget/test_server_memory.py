"""What a server keeps in memory must not grow with the events that went through it to a socket, nor with the views between them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from bench.serving import Server, make_job, serve
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import VALUE_FIELDS
from tests.serving import make_container, make_report

NUM_JOBS = 4
EPOCHS_PER_COMMIT = 50
NUM_COMMITS = 20
MAX_GROWTH_BYTES = 250 * NUM_JOBS * NUM_COMMITS * EPOCHS_PER_COMMIT
"""Less than any object that stands for an event."""


class Watched:
    """A server with one client that follows every job."""

    def __init__(self, container: Container, server: Server, socket: ClientConnection, claims: Sequence[Claim]) -> None:
        self.container, self.server, self.socket, self.claims = container, server, socket, claims
        self.epoch = 0

    def run(self) -> None:
        """Let every job log epochs, wait until the client has the last one, and look at a chart of each after each commit."""
        for _ in range(NUM_COMMITS):
            epochs = range(self.epoch + 1, self.epoch + EPOCHS_PER_COMMIT + 1)
            self.epoch = epochs[-1]
            for claim in self.claims:
                reports = [make_report(claim, epoch, 100_000, **dict.fromkeys(VALUE_FIELDS, 1 / epoch)) for epoch in epochs]
                self.container.attempts.record_epochs(claim, reports)
            waiting = {claim.job_id for claim in self.claims}
            while waiting:
                frame = json.loads(self.socket.recv(timeout=20))
                if frame["event"] == "training_progress" and frame["data"]["epoch"] == self.epoch:
                    waiting.discard(frame["job_id"])
            for claim in self.claims:
                path = f"/api/v1/training/jobs/{claim.job_id}/metrics?max_points=100"
                assert httpx.get(f"http://127.0.0.1:{self.server.port}{path}").status_code == 200

    def read_own_bytes(self) -> int:
        """Return the server's memory without the pages of files."""
        found = re.search(r"Anonymous:\s+(\d+) kB", Path(f"/proc/{self.server.pid}/smaps_rollup").read_text())
        assert found
        return 1024 * int(found[1])


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells a process' own pages from those of files")
def test_a_server_keeps_nothing_of_the_events_that_it_passed_on(tmp_path: Path) -> None:
    container = make_container(tmp_path)
    claims = [make_job(container)[1] for _ in range(NUM_JOBS)]
    with serve(tmp_path) as server, connect(f"ws://127.0.0.1:{server.port}/ws/training?since=0", proxy=None) as socket:
        watched = Watched(container, server, socket, claims)
        watched.run()
        before = watched.read_own_bytes()
        watched.run()
        growth = watched.read_own_bytes() - before
    container.close()
    assert growth < MAX_GROWTH_BYTES
