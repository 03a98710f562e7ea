"""Socket clients that note every frame they get: steady ones, and ones that are slow or vanish without a word."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from pathlib import Path
from typing import IO

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from chaos.checker import hash_payload


class Follower:
    """Follows one job to its end over as many connections as it takes, cutting some of them itself, and notes what it saw."""

    def __init__(self, port: int, job_id: str, log: Path, seed: int) -> None:
        self._url = f"ws://127.0.0.1:{port}/ws/training/{job_id}"
        self._log = log
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self.last_seq = 0
        self._thread = threading.Thread(target=self._run, name=f"follow-{job_id[:8]}", daemon=True)
        self._thread.start()

    def stop(self, *, at_seq: int, timeout_s: float = 20) -> None:
        """Wait until everything up to ``at_seq`` was seen (or the time is over), then end."""
        deadline = time.monotonic() + timeout_s
        while self.last_seq < at_seq and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            while not self._stop.is_set():
                with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                    self._follow(log)
                self._stop.wait(0.2)

    def _follow(self, log: IO[str]) -> None:
        num_left = self._rng.choice([5, 20, 200])  # frames until this connection is cut
        with connect(f"{self._url}?since={self.last_seq}", proxy=None, open_timeout=3, close_timeout=1) as connection:
            while not self._stop.is_set() and num_left:
                try:
                    frame = json.loads(connection.recv(timeout=1))
                except TimeoutError:
                    continue
                if frame["seq"] is None or frame["event"] == "connected":
                    continue
                num_left -= 1
                log.write(json.dumps({"seq": frame["seq"], "event": frame["event"], "sha256": hash_payload(frame["data"])}) + "\n")
                log.flush()
                self.last_seq = frame["seq"]
            connection.socket.close()  # a cut, not a goodbye


class RudeClient:
    """Connects, asks for everything, reads nothing, and vanishes."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=3)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        self._socket.sendall(
            f"GET /ws/training?since=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def vanish(self) -> None:
        """Reset the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._socket.close()
