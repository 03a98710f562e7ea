"""A product's server and its logger as processes that are always ended, and one connection to the server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.peers.installing import find_python
from bench.peers.products import ROOT, Call, Product
from heimdall.domain.jobs import Claim
from heimdall.worker.slate import open_slate
from tests.instance import find_free_port
from tests.serving import make_container

_ANSWER_LIMIT_S = 180


class Connection:
    """One HTTP connection that is opened again when the server closed it. Asks for gzip, as a browser does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: http.client.HTTPConnection | None = None

    def ask(self, call: Call, *, gzip: bool = False) -> tuple[int, bytes]:
        """Return status and body."""
        headers = {"Accept-Encoding": "gzip" if gzip else "identity"}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        for is_last in (False, True):
            if self._open is None:
                self._open = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_LIMIT_S)
            try:
                self._open.request("GET" if call.body is None else "POST", call.path, call.encode(), headers)
                answer = self._open.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._open = None
                if is_last:
                    raise
        raise AssertionError("not reached")


@dataclass
class Running:
    """A server that answers."""

    product: Product
    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    started_s: float
    """From launch to the first good answer."""

    def connect(self) -> Connection:
        """Return a connection."""
        return Connection(self.port)

    def processes(self) -> list[psutil.Process]:
        """Return everything that the server started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def busy_s(self) -> float:
        """Return the processor time of all of them."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:2])
        return total

    def memory_mb(self) -> float:
        """Return the proportional set of all of them: shared pages count once."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss / 1e6
        return total

    def freeze(self) -> None:
        """Stop all of them where they are: some work for minutes on what was stored before."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.suspend()

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let them go on, alone and after their own settling, until the end of the block."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()
        try:
            self.settle(10)
            yield
        finally:
            self.freeze()

    def settle(self, limit_s: float = 30) -> None:
        """Wait until the server does nothing: some import for seconds after the first answer."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            before_s = self.busy_s()
            time.sleep(1)
            if self.busy_s() - before_s < 0.06:
                return


@contextmanager
def serve(product: Product, folder: Path, *, limit_s: float = 240) -> Iterator[Running]:
    """Run a product's server over a folder until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port = find_free_port()
    environment = product.environment(folder, port)
    with (folder / "server.log").open("ab") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            product.command(folder, port),
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        running = Running(product, folder, port, process, 0.0)
        wait_for(running, product.ready_path, began + limit_s)
        running.started_s = time.monotonic() - began
        yield running
    finally:
        end_group(process)


def wait_for(running: Running, path: str, end: float) -> None:
    """Return when the server answers."""
    while time.monotonic() < end:
        if running.process.poll() is not None:
            raise RuntimeError(f"the server ended: {(running.folder / 'server.log').read_text(errors='replace')[-300:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if running.connect().ask(Call(path))[0] < 400:
                return
        time.sleep(0.01)
    raise TimeoutError("the server was not ready in time")


def end_group(process: subprocess.Popen[Any]) -> None:
    """End the session that this process leads, and only it."""
    for number, patience_s in ((signal.SIGTERM, 8), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            os.killpg(process.pid, signal.SIGCONT)  # a frozen one hears nothing
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class Logging:
    """A logger of a product in a process of its own."""

    def __init__(self, product: Product, folder: Path, arguments: Sequence[str], *, limit_s: float) -> None:
        command = [find_python(product.name), str(ROOT / "bench" / "peers" / "logger.py"), product.name, str(folder), *arguments]
        self._folder = folder
        self._slate = open_slate() if product.name == "heimdall" else None
        kept = () if self._slate is None else (self._slate.fd,)
        command += [part for fd in kept for part in ("--slate-fd", str(fd))]
        self._log = (folder / "logger.log").open("ab")
        self._process = subprocess.Popen(
            command, env=product.environment(folder, 0), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            start_new_session=True, text=True, pass_fds=kept,
        )  # fmt: skip
        self._watch = threading.Timer(limit_s, self._process.kill)
        self._watch.start()
        self.run = str(self.read()["run"])

    def go(self) -> None:
        """Let it take its next step."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Return what it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the logger ended: {Path(self._log.name).read_text(errors='replace')[-300:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> None:
        """End it as a fault would, with everything that it started; for ours, do what the worker does that started it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)
        if self._slate is not None:
            container = make_container(self._folder)
            container.attempts.record_left(Claim(job_id=self.run, worker_id="bench", attempt=1), self._slate.read())
            container.close()

    def end(self) -> None:
        """End it."""
        self._watch.cancel()
        end_group(self._process)
        self._log.close()
        if self._slate is not None:
            self._slate.close()
