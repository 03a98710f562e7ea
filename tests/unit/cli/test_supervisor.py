"""The supervisor as a real process over small stand-ins for server and worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from heimdall.cli.supervisor import PLAN_VARIABLE, SEEDED_MARK, Plan
from tests.instance import find_free_port, wait_until

API = """
import http.server, os, pathlib, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *words): pass
def stop(*_):
    with open(sys.argv[1], "a") as log: log.write("api\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", int(os.environ["HEIMDALL_PORT"])), Handler).serve_forever()
"""
SLOW_API = """
import http.server, os, sys, time
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(time.monotonic())
        self.send_response(503 if len(asked) < 7 else 200); self.send_header("Content-Length", "0"); self.end_headers()
        with open(sys.argv[1], "a") as log: log.write(f"{asked[-1]}\\n")
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["HEIMDALL_PORT"])), Handler).serve_forever()
"""
WORKER = """
import os, signal, subprocess, sys, threading
def stop(*_):
    with open(sys.argv[1], "a") as log: log.write("worker\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) if "child" in sys.argv else None
with open(sys.argv[1] + ".pids", "a") as pids: pids.write(f"{os.getpid()} {child.pid if child else 0}\\n")
while True: signal.pause()
"""
DEAF_WORKER = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\nwhile True: signal.pause()"
SEED = "import sys; open(sys.argv[1], 'a').write('seed\\n')"


class Supervised:
    """A supervisor under test and what it wrote."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.log = folder / "order.log"
        self.text = folder / "output.txt"
        plan = Plan(
            **{
                "host": "127.0.0.1",
                "port": find_free_port(),
                "data_dir": str(folder / "data"),
                "api": [sys.executable, "-c", API, str(self.log)],
                "worker": [sys.executable, "-c", WORKER, str(self.log)],
                **changes,
            }
        )
        self.plan = plan
        with self.text.open("ab") as stream:
            command = [sys.executable, "-m", "heimdall.cli.supervisor"]
            environment = {**os.environ, PLAN_VARIABLE: plan.to_json()}
            self.process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True)

    def output(self) -> str:
        return self.text.read_text()

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.output(), 20, lambda: f"'{words}' never came: {self.output()}")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker_pids(self) -> list[tuple[int, int]]:
        path = Path(f"{self.log}.pids")
        rows = path.read_text().splitlines() if path.exists() else []
        return [(int(own), int(child)) for own, child in (row.split() for row in rows)]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(**changes: Any) -> Supervised:
        started.append(Supervised(tmp_path, **changes))
        return started[-1]

    yield start
    for supervised in started:
        if supervised.process.poll() is None:
            for process in [*supervised.children(), psutil.Process(supervised.process.pid)]:
                process.kill()
            supervised.process.wait(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_signal_ends_worker_then_server_and_exits_well(supervise: Callable[..., Supervised], number: signal.Signals) -> None:
    supervised = supervise()
    supervised.wait_for("Heimdall is ready")
    wait_until(lambda: bool(supervised.worker_pids()), 10, supervised.output)
    children = supervised.children()
    assert supervised.stop(number) == 0
    assert supervised.log.read_text().split() == ["worker", "api"]
    assert supervised.output().splitlines()[-1].endswith("stopped")
    assert not [process for process in children if process.is_running()]


def test_worker_that_dies_is_started_again_with_what_it_left_behind_gone(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    supervised = supervise(worker=[sys.executable, "-c", WORKER, str(tmp_path / "order.log"), "child"])
    supervised.wait_for("Heimdall is ready")
    wait_until(lambda: len(supervised.worker_pids()) == 1, 10, supervised.output)
    worker, child = supervised.worker_pids()[0]
    os.kill(worker, signal.SIGKILL)
    supervised.wait_for("worker ended (signal SIGKILL), starting it again in 0.2 s")
    wait_until(lambda: len(supervised.worker_pids()) == 2, 10, supervised.output)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert supervised.stop() == 0


def test_killed_supervisor_leaves_neither_server_nor_worker(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise()
    supervised.wait_for("Heimdall is ready")
    children = supervised.children()
    assert len(children) == 2
    supervised.process.kill()
    supervised.process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_second_stop_signal_ends_at_once(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(worker=[sys.executable, "-c", DEAF_WORKER], drain_s=30)
    supervised.wait_for("Heimdall is ready")
    supervised.wait_for("deaf")
    supervised.process.send_signal(signal.SIGINT)
    supervised.wait_for("stopping")
    assert supervised.stop() == 130


def test_worker_that_does_not_stop_is_ended_after_the_drain_time(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(worker=[sys.executable, "-c", DEAF_WORKER], drain_s=0.3)
    supervised.wait_for("Heimdall is ready")
    supervised.wait_for("deaf")
    assert supervised.stop() == 0
    assert "worker did not stop within 0.3 s and was ended" in supervised.output()


def test_second_instance_on_the_folder_is_refused_with_the_first_ones_url(supervise: Callable[..., Supervised]) -> None:
    first = supervise()
    first.wait_for("Heimdall is ready")
    second = supervise(port=find_free_port())
    assert second.process.wait(timeout=10) == 1
    assert f"already runs on {first.plan.data_dir} at http://127.0.0.1:{first.plan.port}" in second.output()
    assert first.stop() == 0


def test_taken_port_is_said_with_a_free_way_out(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    first = supervise()
    first.wait_for("Heimdall is ready")
    second = supervise(port=first.plan.port, data_dir=str(tmp_path / "other"), as_json=True)
    assert second.process.wait(timeout=10) == 1
    error = json.loads(second.output().splitlines()[-1])
    assert (error["code"], error["field"]) == ("port_taken", "port")
    assert f"heimdall up --port {first.plan.port + 1}" in error["detail"]
    assert first.stop() == 0


def test_server_that_never_starts_is_given_up(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(api=[sys.executable, "-c", "raise SystemExit(3)"])
    assert supervised.process.wait(timeout=40) == 1
    assert "api ended (exit code 3)" in supervised.output()
    assert "the server does not start" in supervised.output()


def test_server_that_says_it_is_not_ready_is_asked_less_and_less_often(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    asked = tmp_path / "asked.log"
    supervised = supervise(api=[sys.executable, "-c", SLOW_API, str(asked)])
    supervised.wait_for("Heimdall is ready")
    times = [float(line) for line in asked.read_text().splitlines()]
    assert len(times) == 7
    assert times[6] - times[5] > 4 * (times[3] - times[2])
    assert supervised.stop() == 0


def test_demo_is_seeded_once_per_folder(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    seed = [sys.executable, "-c", SEED, str(tmp_path / "seeds")]
    first = supervise(seed=seed)
    wait_until((tmp_path / "data" / SEEDED_MARK).exists, 20, first.output)
    assert first.stop() == 0
    second = supervise(seed=seed)
    wait_until(lambda: second.output().count("Heimdall is ready") == 2, 20, second.output)
    assert second.stop() == 0
    assert (tmp_path / "seeds").read_text() == "seed\n"


def test_seed_that_failed_is_tried_again_next_time(supervise: Callable[..., Supervised], tmp_path: Path) -> None:
    supervised = supervise(seed=[sys.executable, "-c", "raise SystemExit(1)"])
    supervised.wait_for("the demo data set was not made")
    assert not (tmp_path / "data" / SEEDED_MARK).exists()
    assert supervised.stop() == 0


def test_json_start_tells_the_url_of_a_port_it_chose(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(port=0, as_json=True, log_format="json")
    supervised.wait_for('"pid"')
    lines = [json.loads(line) for line in supervised.output().splitlines()]
    said = next(line for line in lines if "pid" in line)
    assert said["pid"] == supervised.process.pid
    assert said["url"] == next(line["url"] for line in lines if line.get("event") == "ready")
    assert supervised.stop() == 0


def test_supervisor_stays_small(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise()
    supervised.wait_for("Heimdall is ready")
    assert psutil.Process(supervised.process.pid).memory_info().rss < 30e6
    assert supervised.stop() == 0
