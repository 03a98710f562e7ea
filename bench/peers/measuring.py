"""The rows: each function measures one product once; the rounds interleave products."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.peers.installing import find_python
from bench.peers.logger import SERIES
from bench.peers.products import ROOT, Call, Product
from bench.peers.running import Logging, Running, serve

Figures = dict[str, float]
_LEAST_BYTES = 8
"""Of a value: a float, or as many digits."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 3
    burst_epochs: int = 10_000
    paced_epochs: int = 50
    killed_epochs: int = 13
    gap_s: float = 0.1
    history_epochs: int = 100_000
    jobs: int = 10_000
    reads: int = 20
    train_pairs: int = 15
    limit_s: float = 120
    """s that one step of one product may take."""


QUICK = Sizes(rounds=3, burst_epochs=500, paced_epochs=20, history_epochs=20_000, jobs=1_000, reads=7, train_pairs=5, limit_s=60)


def prepare(product: Product, folder: Path) -> None:
    """Make an empty store."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in product.prepare(folder):
        subprocess.run(command, env=product.environment(folder, 0), cwd=folder, check=True, capture_output=True, timeout=60)


def measure_live(product: Product, folder: Path, number: int, sizes: Sizes) -> Figures:
    """Start the server, log back to back and paced beside it; return what each cost."""
    prepare(product, folder)
    with serve(product, folder) as server:
        server.settle()
        found = {"start, s": server.started_s, "idle memory, MB": server.memory_mb(), "processes": float(len(server.processes()))}
        found |= _log_burst(product, server, folder, number, sizes)
        found |= _log_paced(product, server, folder, number, sizes)
        found |= _lose(product, server, folder, number, sizes)
    return found


def _log_burst(product: Product, server: Running, folder: Path, number: int, sizes: Sizes) -> Figures:
    arguments = ["--name", f"burst{number}", "--epochs", str(sizes.burst_epochs), "--limit-s", str(sizes.limit_s)]
    logging = Logging(product, folder, arguments, limit_s=3 * sizes.limit_s)
    try:
        logging.go()
        cost = logging.read()
        logging.go()
        logging.read()
        readable_at = _await_epoch(product, server, logging.run, int(cost["epochs"]), sizes.limit_s)
    finally:
        logging.end()
    found = {"epoch back to back, ms": cost["median_ms"], "epoch back to back, CPU ms": cost["cpu_ms"]}
    if cost["epochs"] == sizes.burst_epochs:
        found[f"{sizes.burst_epochs} epochs logged and readable, s"] = readable_at - cost["began"]
    return found


def _await_epoch(product: Product, server: Running, run: str, epoch: int, limit_s: float) -> float:
    connection = server.connect()
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        status, body = connection.ask(product.last_epoch(run))
        if status == 200 and product.read_epoch(body) >= epoch:
            return time.monotonic()
        time.sleep(0.005)
    raise TimeoutError(f"epoch {epoch} could not be read within {limit_s:g} s")


def _log_paced(product: Product, server: Running, folder: Path, number: int, sizes: Sizes) -> Figures:
    """Log at a pace while nobody asks, for what it costs; then again while somebody waits for each epoch."""
    logging = Logging(product, folder, ["--name", f"cost{number}", *_pace(sizes)], limit_s=3 * sizes.limit_s)
    try:
        logging.go()
        cost = logging.read()
        logging.go()
        logging.read()
    finally:
        logging.end()
    found = {"epoch paced, ms": cost["median_ms"], "epoch paced, CPU ms": cost["cpu_ms"]}
    return found | _await_paced(product, server, folder, number, sizes)


def _pace(sizes: Sizes) -> list[str]:
    return ["--epochs", str(sizes.paced_epochs), "--gap-s", str(sizes.gap_s)]


def _await_paced(product: Product, server: Running, folder: Path, number: int, sizes: Sizes) -> Figures:
    arguments = ["--name", f"paced{number}", *_pace(sizes)]
    logging = Logging(product, folder, arguments, limit_s=3 * sizes.limit_s)
    arrivals: dict[int, float] = {}
    is_over = threading.Event()
    listen = _listen_to_socket if product.name == "heimdall" else _poll
    reader = threading.Thread(target=listen, args=(product, server, logging.run, arrivals, is_over))
    try:
        reader.start()
        logging.go()
        cost = logging.read()
        end = time.monotonic() + 15  # what polls its files does so every few seconds
        while len(arrivals) < sizes.paced_epochs and time.monotonic() < end:
            time.sleep(0.01)
        logging.go()
        logging.read()
    finally:
        is_over.set()
        reader.join()
        logging.end()
    delays_ms = [1000 * (at - cost["stamps"][epoch - 1]) for epoch, at in arrivals.items() if 1 <= epoch <= len(cost["stamps"])]
    if len(delays_ms) < sizes.paced_epochs:
        return {}
    return {"log call to reader, ms": statistics.median(delays_ms), "log call to reader, slowest ms": max(delays_ms)}


def _lose(product: Product, server: Running, folder: Path, number: int, sizes: Sizes) -> Figures:
    """Kill the logger right after its last call returned; return how many epochs nobody can read afterwards."""
    arguments = ["--name", f"killed{number}", "--epochs", str(sizes.killed_epochs), "--gap-s", str(sizes.gap_s)]
    logging = Logging(product, folder, arguments, limit_s=3 * sizes.limit_s)
    try:
        logging.go()
        logged = int(logging.read()["epochs"])
        logging.kill()
        newest = _find_newest(product, server, logging.run, logged, patience_s=12)
    finally:
        logging.end()
    return {f"of {sizes.killed_epochs} paced epochs lost by kill -9": float(logged - newest)}


def _find_newest(product: Product, server: Running, run: str, wanted: int, *, patience_s: float) -> int:
    """Return the newest epoch of a run whose logger is gone; what polls its files has its time to find it."""
    connection = server.connect()
    newest = 0
    end = time.monotonic() + patience_s
    while newest < wanted and time.monotonic() < end:
        status, body = connection.ask(product.last_epoch(run))
        with contextlib.suppress(ValueError, KeyError, IndexError):
            newest = product.read_epoch(body) if status == 200 else newest
        time.sleep(0.05)
    return newest


def _listen_to_socket(_product: Product, server: Running, run: str, arrivals: dict[int, float], is_over: threading.Event) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/ws/training/{run}", proxy=None) as socket:
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                frame = json.loads(socket.recv(timeout=0.1))
                if frame["event"] == "training_progress":
                    arrivals[int(frame["data"]["epoch"])] = time.monotonic()


def _poll(product: Product, server: Running, run: str, arrivals: dict[int, float], is_over: threading.Event) -> None:
    """Ask again and again: no peer pushes. An epoch counts as seen when it or a newer one is there."""
    connection = server.connect()
    newest = 0
    while not is_over.is_set():
        status, body = connection.ask(product.last_epoch(run))
        with contextlib.suppress(ValueError, KeyError, IndexError):
            seen = product.read_epoch(body) if status == 200 else 0
            arrivals.update(dict.fromkeys(range(newest + 1, seen + 1), time.monotonic()))
            newest = max(newest, seen)
        is_over.wait(0.002)


def fill(product: Product, folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Fill a store for the reads; return the long run's id and how many runs there are."""
    prepare(product, folder)
    script = str(ROOT / "bench" / "peers" / "filler.py")
    command = [find_python(product.name), script, product.name, str(folder)]
    command += ["--epochs", str(sizes.history_epochs), "--jobs", str(sizes.jobs), "--limit-s", str(sizes.limit_s)]
    environment = product.environment(folder, 0)
    found = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=3 * sizes.limit_s, check=False)
    if found.returncode:
        raise RuntimeError(f"the store could not be filled: {found.stderr.strip()[-200:]}")
    filled: dict[str, Any] = json.loads(found.stdout)
    return filled


def measure_reads(server: Running, run: str, num_jobs: int, sizes: Sizes) -> Figures:
    """Ask for everything that a page asks for; return medians of this round."""
    product = server.product
    found: Figures = {}
    view = _time_calls(server, product.view(run, sizes.history_epochs), sizes.reads)
    found |= {"chart view, ms": view[0], "chart view, server CPU ms": view[1], "chart view, kB gzip": view[2]}
    if num_jobs == sizes.jobs:
        page = _time_calls(server, product.jobs(), sizes.reads)
        found |= {f"first page of {num_jobs} jobs, ms": page[0], "first page, server CPU ms": page[1], "first page, kB gzip": page[2]}
    return found


def measure_history(server: Running, run: str, sizes: Sizes) -> Figures:
    """Ask for every value of the long run, after a look whether the answer is long enough to be that."""
    calls = server.product.history(run, sizes.history_epochs)
    connection = server.connect()
    num_bytes = sum(len(connection.ask(call)[1]) for call in calls)
    if num_bytes < _LEAST_BYTES * len(SERIES) * sizes.history_epochs:
        raise RuntimeError(f"{num_bytes} bytes cannot be the whole history")
    taken_ms, busy_ms, _ = _time_calls(server, calls, 1)
    return {f"history of {sizes.history_epochs} epochs, s": taken_ms / 1000, "history, server CPU s": busy_ms / 1000}


def _time_calls(server: Running, calls: list[Call], times: int) -> tuple[float, float, float]:
    """Return the median ms, the server's ms of processor each, and kB over the wire, of making all calls."""
    connection = server.connect()
    delays_ms, num_bytes, busy_s = [], 0, server.busy_s()
    for _ in range(times):
        began = time.perf_counter()
        answers = [connection.ask(call, gzip=True) for call in calls]
        delays_ms.append(1000 * (time.perf_counter() - began))
        num_bytes = sum(len(body) for _, body in answers)
        if any(status != 200 for status, _ in answers):
            raise RuntimeError(f"answered {[status for status, _ in answers]}: {answers[0][1][:100]!r}")
    return statistics.median(delays_ms), 1000 * (server.busy_s() - busy_s) / times, num_bytes / 1000


def measure_training(product: Product, folder: Path, number: int, sizes: Sizes) -> Figures:
    """Train with and without the product's log call, in turns in one process."""
    prepare(product, folder)
    arguments = ["--name", f"train{number}", "--train-pairs", str(sizes.train_pairs)]
    logging = Logging(product, folder, arguments, limit_s=3 * sizes.limit_s)
    try:
        logging.go()
        return {"training throughput with / without": float(logging.read()["ratio"])}
    finally:
        logging.end()
