"""Start and rest of the whole product: time to ready, memory, processor time and processes while nobody asks for anything.

Run: ``.venv/bin/python -m bench.startup [--runs 5] [--idle-seconds 20]``. The first start makes database and demo data
set; later ones find them. Memory is the resident set (shared pages counted in each process) and, where the system says
it, the proportional set, in MB (10^6 bytes). Idle processor time is a share of one processor over the idle seconds.
``work_s`` is the processor time of command line, supervisor and server up to ready: on a machine with busy neighbours it
says more than the wall clock. ``libraries alone`` is what no code of ours can take away from the start of the API.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from bench.reporting import print_table, summarize
from bench.serving import serve
from heimdall.cli.supervisor import SEEDED_MARK
from tests.instance import Heimdall, wait_until

ROLES = {"heimdall.cli.supervisor": "supervisor", "heimdall.api": "api", "heimdall.worker": "worker"}
LIBRARIES = """
import gc
gc.disable()
from heimdall.api.lightness import load_lightly
load_lightly()
import fastapi, pydantic_settings, prometheus_client, sqlalchemy, sqlalchemy.dialects.sqlite, structlog, uvicorn.server, uvloop, websockets
import os
os._exit(0)
"""


def measure_start(instance: Heimdall) -> dict[str, float]:
    """Start and return s until the server lives, is ready, and until its worker is there."""
    started = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "heimdall.cli.main",
        "up",
        "--no-browser",
        "--port",
        str(instance.port),
        "--data-dir",
        str(instance.data_dir),
    ]
    size_before = instance.log_path.stat().st_size if instance.log_path.exists() else 0
    with instance.log_path.open("ab") as log:
        instance.process = subprocess.Popen(command, env=instance.env, stdout=log, stderr=log, start_new_session=True)
    found: dict[str, float] = {}

    def look() -> bool:
        for name, path in (("live_s", "/health/live"), ("ready_s", "/health/ready")):
            with contextlib.suppress(httpx.HTTPError):
                if name not in found and instance.client.get(path).status_code == 200:
                    found[name] = time.perf_counter() - started
        if "worker_s" not in found and "worker ready" in instance.log_path.read_text()[size_before:]:
            found["worker_s"] = time.perf_counter() - started
        return len(found) == 3  # live, ready, worker

    wait_until(look, 120, instance.log_tail, poll_s=0.01)
    on_the_way = [process for process in instance.processes() if name_role(process) in ("supervisor", "api")]
    found["work_s"] = sum(sum(process.cpu_times()[:2]) for process in on_the_way)
    return found


def measure_api(folder: Path) -> dict[str, float]:
    """Return s of wall clock and of processor from the launch of the API process alone until it is ready, and its memory then."""
    started = time.perf_counter()
    with serve(folder, poll_s=0.002) as server:
        process = psutil.Process(server.pid)
        ready_s = time.perf_counter() - started
        return {"ready_s": ready_s, "work_s": server.busy_s(), "rss_mb": process.memory_info().rss / 1e6}


def name_role(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next((role for word, role in ROLES.items() if word in words), "other")


def settle(instance: Heimdall, limit_s: float = 30.0) -> None:
    """Wait until what follows a start is done: a worker gets a training process ready for the first job."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        before_s = sum(sum(process.cpu_times()[:2]) for process in instance.processes())
        time.sleep(2)
        if sum(sum(process.cpu_times()[:2]) for process in instance.processes()) - before_s < 0.04:
            return


def measure_rest(instance: Heimdall, idle_s: float) -> dict[str, dict[str, float]]:
    """Return memory and processor share of every process over ``idle_s``."""
    processes = instance.processes()
    before = {process.pid: sum(process.cpu_times()[:2]) for process in processes}
    time.sleep(idle_s)
    rows: dict[str, dict[str, float]] = {}
    for process in processes:
        row = rows.setdefault(name_role(process), {"processes": 0, "rss_mb": 0, "pss_mb": 0, "cpu_percent": 0})
        memory = process.memory_full_info()
        row["processes"] += 1
        row["rss_mb"] += memory.rss / 1e6
        row["pss_mb"] += getattr(memory, "pss", float("nan")) / 1e6
        row["cpu_percent"] += 100 * (sum(process.cpu_times()[:2]) - before[process.pid]) / idle_s
    columns = ("processes", "rss_mb", "pss_mb", "cpu_percent")
    rows["api + worker"] = {column: sum(rows.get(role, {}).get(column, 0) for role in ("api", "worker")) for column in columns}
    rows["all"] = {column: sum(row[column] for name, row in rows.items() if name != "api + worker") for column in columns}
    return rows


def measure_help(runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "heimdall.cli.main", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return times


def measure_libraries() -> float:
    """Return s from the launch of a process until it has the libraries that the server stands on, by our short cuts to them."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        instance = Heimdall(Path(folder) / "data", {"HEIMDALL_SEED_DEMO": "true"})
        for name in ("HEIMDALL_LEASE_S", "HEIMDALL_HEARTBEAT_S"):
            instance.env.pop(name, None)
        try:
            began = time.perf_counter()
            first = measure_start(instance)
            wait_until((instance.data_dir / SEEDED_MARK).exists, 60, instance.log_tail)
            first["demo_s"] = time.perf_counter() - began
            instance.stop()
            later, stops = [], []
            for _ in range(options.runs):
                later.append(measure_start(instance))
                began = time.perf_counter()
                instance.stop()
                stops.append(time.perf_counter() - began)
            measure_start(instance)
            settle(instance)
            rest = measure_rest(instance, options.idle_seconds)
            instance.stop()
        finally:
            instance.kill_everything()
            instance.client.close()
    with tempfile.TemporaryDirectory() as folder:
        measure_api(Path(folder))  # makes the database
        alone, libraries = [], []
        for _ in range(options.runs):
            alone.append(measure_api(Path(folder)))
            libraries.append(measure_libraries())
    rows = {f"later start: {name}": summarize([row[name] for row in later]) for name in ("live_s", "ready_s", "worker_s", "work_s")}
    rows |= {f"API alone: {name}": summarize([row[name] for row in alone]) for name in alone[0]}
    rows["libraries alone, s"] = summarize(libraries)
    rows["stop (Ctrl-C), s"] = summarize(stops)
    rows["heimdall --help, s"] = summarize(measure_help(options.runs))
    print_table("start and stop", {**{f"first start: {name}": summarize([value]) for name, value in first.items()}, **rows})
    print_table(f"at rest over {options.idle_seconds:g} s", rest)


if __name__ == "__main__":
    main()
