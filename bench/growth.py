"""How cost grows: with the length of a run, the number of jobs, the number of clients. Processor time: neighbours disturb it less.

Run: ``.venv/bin/python -m bench.growth [--full] [--write]``. Wanted: a chart's view flat in the run's length, the first page flat
in the number of jobs, a worker's epoch flat in the epochs before it, memory of the server flat in the history that it serves. ``--full``
goes to a million epochs, a hundred thousand jobs and 5 000 clients, and takes some ten minutes. ``--write`` writes the pictures and a table
to docs. A run of 100 epochs has fewer points than a chart asks for, and ten jobs fill no page: what such an answer costs is shown, but the
growth is told from the first size at which the answer is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.peers.report import describe_machine
from bench.plotting import Point, draw_plot
from bench.reads import FIVE, fill_jobs, fill_run
from bench.reporting import print_table
from bench.sections import FIGURES, replace_section
from bench.serving import serve
from bench.socket_latency import measure as measure_sockets
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import VALUE_FIELDS
from tests.serving import make_container, make_report

Lines = dict[str, list[Point]]
ROUNDS = 3
READS = 60
"""In a round. The server's processor is told in nanoseconds on Linux, in ticks of 10 ms elsewhere."""
VIEW, PAGE = "chart view, 800 points: server", "first page, 50 jobs: server"
MEMORY = f"server after {ROUNDS * READS} views of the run"
WHOLE_FROM = {VIEW: 800, MEMORY: 800, PAGE: 50}
"""Size from which on an answer is whole; the others are at any size."""
ROOT = Path(__file__).parents[1]


def repeat(size: float, measure: Callable[[], float]) -> Point:
    """Measure some times."""
    values = [measure() for _ in range(ROUNDS)]
    return Point(size, statistics.median(values), min(values), max(values))


def measure_length(folder: Path, lengths: Sequence[int]) -> tuple[Lines, Lines]:
    """Return what a view costs the server and an epoch the worker, and the server's memory, for each length of run."""
    container = make_container(folder)
    runs = {length: fill_run(container, length) for length in lengths}
    found: Lines = {VIEW: [], "next epoch: worker": []}
    memory: Lines = {MEMORY: []}
    for length, job_id in runs.items():
        path = f"/training/jobs/{job_id}/metrics?max_points=800&{FIVE}"
        with serve(folder) as server:  # a server of its own, so that its memory is of this run alone
            server.read(path, times=3, gzip=True)
            point = repeat(length, lambda s=server, p=path: s.read(p, times=READS, gzip=True)["cpu_ms"])
            found[VIEW].append(point)
            memory_mb = psutil.Process(server.pid).memory_info().rss / 1e6
            memory[MEMORY].append(Point(length, memory_mb, memory_mb, memory_mb))
    for length, job_id in runs.items():  # last: it makes the runs longer
        found["next epoch: worker"].append(repeat(length, lambda i=job_id: time_epochs(container, i)))
    container.close()
    return found, memory


def time_epochs(container: Container, job_id: str, num_epochs: int = 100) -> float:
    """Return the ms of the worker's processor for one more epoch of this run."""
    with container.store.read() as tx:
        job = tx.jobs.get(job_id)
    rest = next(container.metrics.iterate(job_id, since_epoch=job.current_epoch, max_points=10), None)
    length = rest[0][-1] if rest else job.current_epoch
    claim = Claim(job_id=job_id, worker_id="bench", attempt=job.attempt)
    values = dict.fromkeys(VALUE_FIELDS, 0.5)
    busy_s = time.thread_time()
    for epoch in range(length + 1, length + 1 + num_epochs):
        container.attempts.record_epochs(claim, [make_report(claim, epoch, 2 * epoch, **values)])
    return 1000 * (time.thread_time() - busy_s) / num_epochs


def measure_jobs(folder: Path, counts: Sequence[int]) -> Lines:
    """Return what the first page costs the server for each number of jobs."""
    container = make_container(folder)
    found: Lines = {PAGE: []}
    there = 0
    for count in counts:
        fill_jobs(container, count - there)
        there = count
        with serve(folder) as server:
            server.read("/training/jobs", times=3, gzip=True)
            found[PAGE].append(repeat(count, lambda s=server: s.read("/training/jobs", times=READS, gzip=True)["cpu_ms"]))
    container.close()
    return found


def measure_clients(folder: Path, counts: Sequence[int]) -> Lines:
    """Return the us of the server's processor for one delivery, for each number of clients."""
    container = make_container(folder)
    found: Lines = {"one delivery: server": []}
    with serve(folder) as server:
        for count in counts:
            num_events = max(20, min(500, 20_000 // count))

            def deliver(count: int = count, num_events: int = num_events) -> float:
                return asyncio.run(measure_sockets(container, server, num_clients=count, num_events=num_events, gap_s=0.0)).server_us

            found["one delivery: server"].append(repeat(count, deliver))
    container.close()
    return found


PICTURES = {
    "length": ("Cost against the length of a run", "epochs", "ms of processor"),
    "memory": ("The server's memory against the length of a run", "epochs", "MB"),
    "jobs": ("Cost of the list's first page against the number of jobs", "jobs", "ms of processor"),
    "clients": ("Cost of a delivery against the number of sockets", "clients", "us of processor"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="*", choices=["length", "jobs", "clients"], default=["length", "jobs", "clients"])
    parser.add_argument("--write", action="store_true", help="write pictures and table to docs")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Between two widths of summaries as well: there a view reads most.
    lengths = [100, 1000, 1600, 3000, 10_000, *([30_000, 100_000, 300_000, 1_000_000] if options.full else [])]
    counts = [10, 50, 100, 1000, *([10_000, 100_000] if options.full else [])]
    clients = [1, 10, 100, 1000, 5000] if options.full else [1, 10, 100]
    found: dict[str, Lines] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "length" in options.only:
            found["length"], found["memory"] = measure_length(folder / "runs", lengths)
        if "jobs" in options.only:
            found["jobs"] = measure_jobs(folder / "jobs", counts)
        if "clients" in options.only:
            found["clients"] = measure_clients(folder / "clients", clients)
    for key, lines in found.items():
        title, x_label, y_label = PICTURES[key]
        rows = {
            f"{line}, {point.x:g} {x_label}": {"median": point.median, "min": point.least, "max": point.most}
            for line, points in lines.items()
            for point in points
        }
        print_table(f"{title}, {y_label}", rows)
    known = remember(found)
    if options.write:
        draw(known, ROOT / "docs" / "img")
        replace_section(FIGURES, "growth", write_lines(known))


def write_lines(known: dict[str, Lines]) -> list[str]:
    """Return the part of docs/figures.md: the ends of each line, and the pictures."""
    rows = []
    for key, lines in known.items():
        for line, points in lines.items():
            whole = [point for point in points if point.x >= WHOLE_FROM.get(line, 0)]
            first, last, dearest = whole[0], whole[-1], max(whole, key=lambda point: point.median)
            shorter = f"{points[0].median:.3g} at {points[0].x:,.0f}" if points[0] != first else ""
            cells = [f"{PICTURES[key][0]}: {line}", shorter, *(f"{one.median:.3g} at {one.x:,.0f}" for one in (first, last))]
            cells += [f"{last.median / first.median:.2f}", f"{dearest.median:.3g} at {dearest.x:,.0f}", PICTURES[key][2]]
            rows.append(f"| {' | '.join(cells)} |")
    pictures = [f"![{PICTURES[key][0]}](img/growth-{key}.svg)" for key in known]
    about = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}, load {os.getloadavg()[0]:.1f} at the end. Medians of {ROUNDS} rounds."
    head = "| what | smaller answer | first whole answer | longest | longest over first whole | most of the whole | unit |"
    return [about, "", head, "|---|---|---|---|---|---|---|", *rows, "", *pictures]


def remember(found: dict[str, Lines]) -> dict[str, Lines]:
    """Write what was found to ``bench/out/growth.json`` and return it with what earlier runs left there."""
    path = Path(__file__).parent / "out" / "growth.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    known |= {key: {name: [vars(point) for point in points] for name, points in lines.items()} for key, lines in found.items()}
    path.write_text(json.dumps(known, indent=1) + "\n")
    return {key: {name: [Point(**point) for point in points] for name, points in lines.items()} for key, lines in known.items()}


def draw(known: dict[str, Lines], folder: Path) -> None:
    """Write the pictures."""
    for key, lines in known.items():
        title, x_label, y_label = PICTURES[key]
        note = f"{datetime.now(UTC):%Y-%m-%d}, median and spread of {ROUNDS} rounds, bench/growth.py"
        (folder / f"growth-{key}.svg").write_text(draw_plot(title, x_label, y_label, lines, note))


if __name__ == "__main__":
    main()
