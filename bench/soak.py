"""Twenty jobs, half an hour, five people watching: does the server's memory stand still, and does everybody get everything?

Run: ``.venv/bin/python -m bench.soak [--minutes 30] [--jobs 20] [--rate 1] [--viewers 5] [--write]``. Each job is a process that logs
epochs. Each viewer follows all jobs on one socket and asks for a chart every two seconds; every second viewer leaves every half a minute
and comes back with the last number that it had. At the end every epoch must be in the database, and at every viewer once and in order.
The slope of the memory is that of a straight line. A chart of a long run comes first: the first that must be thinned loads NumPy, 15 MB
once, which would else be a step in the middle that reads as a slope. ``--write`` puts the result into docs/figures.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.peers.report import describe_machine
from bench.reads import fill_run
from bench.reporting import print_table, summarize
from bench.sections import FIGURES, replace_section
from bench.serving import make_job, serve
from heimdall.domain.metrics import VALUE_FIELDS
from tests.serving import make_container

STAY_S = 30
LOOK_EVERY_S = 2
BEAT_EVERY_S = 60
LONG_RUN_EPOCHS = 2_000


@dataclass
class Viewer:
    """One person with the page open."""

    port: int
    job_ids: list[str]
    comes_and_goes: bool
    epochs: dict[str, list[int]] = field(default_factory=dict)
    """What the socket brought, by job, in the order of arrival."""
    looks_ms: list[float] = field(default_factory=list)
    num_visits: int = 0
    last_seq: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Be there until it is over."""
        while not self.is_over.is_set():
            self.num_visits += 1
            leaves_at = time.monotonic() + STAY_S if self.comes_and_goes else float("inf")
            with connect(f"ws://127.0.0.1:{self.port}/ws/training?since={self.last_seq}", proxy=None) as socket:
                while not self.is_over.is_set() and time.monotonic() < leaves_at:
                    try:
                        self._take(json.loads(socket.recv(timeout=0.5)))
                    except TimeoutError:
                        continue
                    except ConnectionClosed:
                        break

    def _take(self, frame: dict[str, object]) -> None:
        if frame["seq"] is None:
            return
        self.last_seq = int(str(frame["seq"]))
        if frame["event"] == "training_progress":
            data = frame["data"]
            assert isinstance(data, dict)
            self.epochs.setdefault(str(frame["job_id"]), []).append(int(data["epoch"]))

    def look(self) -> None:
        """Ask for charts until it is over."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        series = ",".join(VALUE_FIELDS[:5])
        while not self.is_over.wait(LOOK_EVERY_S):
            job_id = self.job_ids[len(self.looks_ms) % len(self.job_ids)]
            began = time.perf_counter()
            connection.request("GET", f"/api/v1/training/jobs/{job_id}/metrics?max_points=800&series={series}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            self.looks_ms.append(1000 * (time.perf_counter() - began))

    def has_all(self, num_epochs: int) -> bool:
        """Say whether the last epoch of every job has come."""
        return all(self.epochs.get(job_id, [0])[-1] == num_epochs for job_id in self.job_ids)


def find_losses(viewers: list[Viewer], stored: dict[str, list[int]], num_epochs: int) -> list[str]:
    """Say what is not there, or there twice, or out of order."""
    wanted = list(range(1, num_epochs + 1))
    found = [f"database: job {job_id} has {len(epochs)} of {num_epochs} epochs" for job_id, epochs in stored.items() if epochs != wanted]
    for number, viewer in enumerate(viewers):
        for job_id in stored:
            got = viewer.epochs.get(job_id, [])
            if got != wanted:
                missing, twice = len(set(wanted) - set(got)), len(got) - len(set(got))
                found.append(f"viewer {number}: job {job_id}: {missing} missing, {twice} twice, in order: {got == sorted(got)}")
    return found


def slope_mb_per_min(samples: list[tuple[float, float]], share: float = 2 / 3) -> float:
    """Return the slope of a straight line through the last ``share`` of (s, MB)."""
    late = samples[round(len(samples) * (1 - share)) :]
    return 60 * statistics.linear_regression([at for at, _ in late], [mb for _, mb in late]).slope


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1, help="epochs a second of each job")
    parser.add_argument("--viewers", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write what was found to docs/figures.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    num_epochs = round(60 * options.minutes * options.rate)
    with tempfile.TemporaryDirectory() as folder:
        container = make_container(Path(folder))
        claims = [make_job(container)[1] for _ in range(options.jobs)]
        job_ids = [claim.job_id for claim in claims]
        long_run_id = fill_run(container, LONG_RUN_EPOCHS)
        with serve(Path(folder)) as server:
            idle_mb = psutil.Process(server.pid).memory_info().rss / 1e6
            server.read(f"/training/jobs/{long_run_id}/metrics?max_points=800", times=5)
            gap_s = 1 / options.rate
            paces = [(num_epochs, gap_s, gap_s * number / options.jobs) for number in range(options.jobs)]
            tasks = [json.dumps([folder, claim.model_dump(), *pace]) for claim, pace in zip(claims, paces, strict=True)]
            command = [sys.executable, "-m", "bench.load", "--be"]
            workers = [subprocess.Popen([*command, task], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for task in tasks]
            viewers = [Viewer(server.port, job_ids, comes_and_goes=number % 2 == 1) for number in range(options.viewers)]
            threads = [threading.Thread(target=target) for viewer in viewers for target in (viewer.watch, viewer.look)]
            try:
                for worker in workers:
                    assert worker.stdout is not None
                    assert worker.stdout.readline() == "ready\n"
                busy_s = server.busy_s()
                for thread in threads:
                    thread.start()
                for worker in workers:
                    assert worker.stdin is not None
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
                with ThreadPoolExecutor(options.jobs) as readers:
                    said = [readers.submit(worker.communicate) for worker in workers]
                    samples = watch_memory(server.pid, said, lambda: [container.attempts.heartbeat(claim) for claim in claims])
                costs_ms = [cost for future in said for cost in json.loads(future.result()[0])[0]]
                end = time.monotonic() + 60
                while time.monotonic() < end and not all(viewer.has_all(num_epochs) for viewer in viewers):
                    time.sleep(0.1)
                busy_s = server.busy_s() - busy_s
            finally:
                for viewer in viewers:
                    viewer.is_over.set()
                for thread in threads:
                    thread.join()
                for worker in workers:
                    worker.kill()
                    worker.wait()
        stored = {
            job_id: [row[0] for columns in container.metrics.iterate(job_id) for row in zip(*columns, strict=True)] for job_id in job_ids
        }
        container.close()
    losses = find_losses(viewers, stored, num_epochs)
    looks_ms = [look for viewer in viewers for look in viewer.looks_ms]
    elapsed_min = samples[-1][0] / 60
    print_table(
        f"{options.jobs} jobs, {options.viewers} viewers, {elapsed_min:.1f} min, ms",
        {"write": summarize(costs_ms), "chart": summarize(looks_ms)},
    )
    row = {
        "idle_mb": idle_mb,
        "first_mb": samples[0][1],
        "median_mb": statistics.median(mb for _, mb in samples),
        "last_mb": samples[-1][1],
        "slope_mb_min": slope_mb_per_min(samples),
        "last_third": slope_mb_per_min(samples, 1 / 3),
        "cpu_percent": 100 * busy_s / samples[-1][0],
    }
    print_table("memory of the server", {"resident": row})
    tenths = [samples[number * (len(samples) - 1) // 10][1] for number in range(11)]
    print("MB at each tenth of the time: " + " ".join(f"{mb:.1f}" for mb in tenths))
    visits = sum(viewer.num_visits for viewer in viewers)
    print(f"{options.jobs * num_epochs} epochs logged, {visits} visits, {len(losses)} losses")
    print("\n".join(losses[:20]))
    if options.write:
        about = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}, load {load:.1f} at the start"
        what = f"{options.jobs} jobs x {options.rate:g} epochs/s, {options.viewers} viewers, {elapsed_min:.0f} minutes"
        lines = [
            f"{about}. {what}: {options.jobs * num_epochs} epochs, {visits} visits of viewers who come and go, {len(losses)} losses.",
            "",
            "- Resident memory of the server at each tenth of the time, MB: "
            + ", ".join(f"{mb:.1f}" for mb in tenths)
            + f"; {idle_mb:.1f} before the first view. Slope {row['slope_mb_min']:.2f} MB a minute over the last two thirds, "
            f"{row['last_third']:.2f} over the last third.",
            f"- The training thread's cost of an epoch: {summarize(costs_ms)['median']:.3f} ms (p95 {summarize(costs_ms)['p95']:.3f}); "
            f"a chart: {summarize(looks_ms)['median']:.1f} ms (p95 {summarize(looks_ms)['p95']:.1f}); "
            f"the server's processor: {row['cpu_percent']:.1f} %.",
        ]
        replace_section(FIGURES, "soak", lines)
    return bool(losses)


def watch_memory(pid: int, jobs: list[Future[tuple[str, str]]], beat: Callable[[], object]) -> list[tuple[float, float]]:
    """Return (s, MB) of the server, every two seconds until every job has logged its last epoch; keep leases, as a worker does."""
    process = psutil.Process(pid)
    began = beaten = time.monotonic()
    samples = []
    while not all(job.done() for job in jobs):
        samples.append((time.monotonic() - began, process.memory_info().rss / 1e6))
        time.sleep(2)
        if time.monotonic() - beaten > BEAT_EVERY_S:
            beat()
            beaten = time.monotonic()
    return samples


if __name__ == "__main__":
    sys.exit(main())
