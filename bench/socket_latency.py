"""From a worker's commit to a socket's client, and to very many of them, on the embedded default or on PostgreSQL.

Run: ``.venv/bin/python -m bench.socket_latency [--events 300] [--clients 1000 5000] [--database-url postgresql://…]``. The server is its
own process; commits and clients share the benchmark's process and clock. Targets: p95 under 30 ms for one client; 30 000 deliveries/s;
p95 60 ms for 1 000 clients, 250 ms for 5 000.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.reporting import print_table, summarize
from bench.serving import Server, make_job, serve
from heimdall.bootstrap import Container
from tests.serving import make_container, make_report

_SEQ = re.compile(rb'"job_seq":(\d+)')


@dataclass
class Arrivals:
    """When each event was told to the log and when each client had it."""

    told: dict[int, float] = field(default_factory=dict)
    received: list[tuple[int, float]] = field(default_factory=list)
    expected: int = 0
    num_bytes: int = 0
    is_complete: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, seq: int, num_bytes: int) -> None:
        """Take one arrival."""
        self.num_bytes += num_bytes
        self.received.append((seq, time.perf_counter()))
        if len(self.received) >= self.expected:
            self.is_complete.set()

    def delays_ms(self) -> list[float]:
        """Return the delay of every arrival."""
        return [1000 * (at - self.told[seq]) for seq, at in self.received]


class Client(asyncio.Protocol):
    """The least that a WebSocket client can be, so that a thousand of them measure the server and not themselves."""

    def __init__(self, request: bytes, on_event: Callable[[int, int], None]) -> None:
        self._request = request
        self._on_event = on_event
        self._buffer = b""
        self.connected = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take frames out of what came."""
        self._buffer += data
        if b"\r\n\r\n" in self._buffer and self._buffer.startswith(b"HTTP/1.1 101"):
            self._buffer = self._buffer.partition(b"\r\n\r\n")[2]
        while len(self._buffer) >= 2 and not self._buffer.startswith(b"HTTP"):
            length, start = self._buffer[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < start + length:
                return
            payload, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
            found = _SEQ.search(payload)
            if found is not None:
                self._on_event(int(found.group(1)), start + length)
            elif b'"connected"' in payload and not self.connected.done():
                self.connected.set_result(None)


@dataclass
class Round:
    """Some events to some clients, from the first commit to the last arrival."""

    delays_ms: list[float]
    deliveries_per_s: float
    server_us: float
    """us of the server's processor for one delivery: what a busy neighbour changes least."""
    frame_bytes: float
    """Of one event on the wire."""
    socket_kb: float
    """kB that the server's memory grew by for each socket that was opened."""


async def measure(container: Container, server: Server, *, num_clients: int, num_events: int, gap_s: float) -> Round:
    """Commit events while clients listen."""
    job, claim = make_job(container)
    arrivals = Arrivals(expected=num_clients * num_events)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /ws/training/{job}?since=2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    clients = []
    memory_bytes = psutil.Process(server.pid).memory_info().rss
    for start in range(0, num_clients, 100):
        batch = [
            (await loop.create_connection(lambda: Client(request, arrivals.note), "127.0.0.1", server.port))[1]
            for _ in range(min(100, num_clients - start))
        ]
        await asyncio.gather(*(client.connected for client in batch))
        clients += batch

    def commit() -> None:
        for epoch in range(1, num_events + 1):
            report = make_report(claim, epoch, num_events)
            arrivals.told[epoch + 2] = time.perf_counter()
            container.attempts.record_epochs(claim, [report])
            time.sleep(gap_s)

    socket_kb = (psutil.Process(server.pid).memory_info().rss - memory_bytes) / num_clients / 1000
    busy_before_s = server.busy_s()
    started_at = time.perf_counter()
    worker = threading.Thread(target=commit)
    worker.start()
    await asyncio.wait_for(arrivals.is_complete.wait(), 120)
    elapsed_s = max(at for _, at in arrivals.received) - started_at
    server_us = 1e6 * (server.busy_s() - busy_before_s) / len(arrivals.received)
    worker.join()
    for client in clients:
        if client.transport is not None:
            client.transport.close()
    return Round(
        arrivals.delays_ms(), len(arrivals.received) / elapsed_s, server_us, arrivals.num_bytes / len(arrivals.received), socket_kb
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300)
    parser.add_argument("--clients", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--saturate", type=int, nargs="*", help="numbers of clients that are also sent to without a pause; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        container = make_container(Path(folder), **({"database_url": options.database_url} if options.database_url else {}))
        with serve(Path(folder), options.database_url) as server:
            rows = {}

            def run(num_clients: int, num_events: int, gap_s: float) -> Round:
                return asyncio.run(measure(container, server, num_clients=num_clients, num_events=num_events, gap_s=gap_s))

            rows["1 client, 50 events/s"] = summarize(run(1, options.events, 0.02).delays_ms)
            for num_clients in options.clients:
                # As many events a second as a fan-out of 20 000 deliveries a second leaves room for.
                rate = min(10, 10_000 // num_clients)
                rows[f"{num_clients} clients, {rate} events/s"] = summarize(run(num_clients, 4 * rate, 1 / rate).delays_ms)
                if options.saturate is not None and num_clients not in options.saturate:
                    continue
                rounds = [run(num_clients, max(20, 100_000 // num_clients), 0.0) for _ in range(options.rounds)]
                rows[f"{num_clients} clients, deliveries/s"] = summarize([one.deliveries_per_s for one in rounds])
                rows[f"{num_clients} clients, server us each"] = summarize([one.server_us for one in rounds])
            print_table(f"commit to socket, ms ({'PostgreSQL' if options.database_url else 'embedded'})", rows)
        container.close()


if __name__ == "__main__":
    main()
