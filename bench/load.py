"""Eight jobs that log ten epochs a second each while a reader asks for their charts twenty times a second.

Run: ``.venv/bin/python -m bench.load [--jobs 8] [--rate 10] [--seconds 30] [--phases together|spread] [--database-url postgresql://…]``.
``together`` lets all jobs end their epochs in the same instant, the worst case; ``spread`` evenly over the time of an epoch. 100 jobs on
PostgreSQL need ``max_connections`` of some 400. Each job is a process of its own that reports through a job's own sink, the API another.
``write`` is what the training thread waits, ``durable`` the time from its word until the epoch is on disk. Targets: write p95 1 ms, read
p95 10 ms, 4 s of the server's processor; every epoch is there at the end. One job more is killed with -9 in the middle, and what it left
is stored as its worker would: nothing that it had reported is lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.reporting import print_table, summarize
from bench.serving import make_job, make_sink, serve
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.training import EpochReport
from heimdall.worker.sink import JobSink
from heimdall.worker.slate import Slate, open_slate
from tests.serving import make_container, make_report


def log_epochs(
    folder: str, database_url: str, claim: Claim, num_epochs: int, gap_s: float, phase_s: float = 0.0, *, slate_fd: int | None = None
) -> None:
    """Be one job: log, and print what each epoch cost the training thread and when it was durable, ms.

    A job that is to be killed has a slate of its worker's, and says each epoch at once, as far as it has reported it.
    """
    container = make_container(Path(folder), **({"database_url": database_url} if database_url else {}))
    print("ready", flush=True)
    sys.stdin.readline()
    costs_ms: list[float] = []
    durable_ms: list[float] = []
    started_s: dict[int, float] = {}

    class Noted(JobSink):
        def _record_epochs(self, reports: Sequence[EpochReport]) -> None:
            super()._record_epochs(reports)
            durable_ms.extend(1000 * (time.perf_counter() - started_s[report.metric.epoch]) for report in reports)

    sink = make_sink(container, claim, Noted, slate=None if slate_fd is None else Slate(slate_fd))
    began = time.monotonic() + phase_s
    with sink.writing():
        for epoch in range(1, num_epochs + 1):
            time.sleep(max(0.0, began + epoch * gap_s - time.monotonic()))
            report = make_report(claim, epoch, num_epochs, **dict.fromkeys(VALUE_FIELDS, 1.0 / epoch))
            started_s[epoch] = time.perf_counter()
            sink.report_epoch(report)
            costs_ms.append(1000 * (time.perf_counter() - started_s[epoch]))
            if slate_fd is not None:
                print(epoch, flush=True)
    container.close()
    print(json.dumps([costs_ms, durable_ms]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--phases", choices=["together", "spread"], default="together")
    parser.add_argument("--database-url", default="")
    parser.add_argument("--be", help="internal: be one job")
    parser.add_argument("--slate-fd", type=int, help="internal: be the one that is killed")
    options = parser.parse_args()
    if options.be:
        folder, claim, *pace = json.loads(options.be)
        log_epochs(folder, options.database_url, Claim(**claim), *pace, slate_fd=options.slate_fd)
        return
    num_epochs = int(options.rate * options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        container = make_container(Path(folder), **({"database_url": options.database_url} if options.database_url else {}))
        claims = [make_job(container)[1] for _ in range(options.jobs + 1)]
        killed, slate = claims[-1], open_slate()
        with serve(Path(folder), options.database_url or None) as server:
            command = [sys.executable, "-m", "bench.load", "--database-url", options.database_url, "--be"]
            gap_s = 1 / options.rate
            apart_s = gap_s / options.jobs if options.phases == "spread" else 0.0
            tasks = [json.dumps([folder, claim.model_dump(), num_epochs, gap_s, apart_s * number]) for number, claim in enumerate(claims)]
            commands = [*([*command, task] for task in tasks[:-1]), [*command, tasks[-1], "--slate-fd", str(slate.fd)]]
            workers = [
                subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(slate.fd,)) for one in commands
            ]
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            busy_s = server.busy_s()
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            killing = threading.Timer(options.seconds / 2, workers[-1].kill)
            killing.start()
            reads_ms = read_charts(server.port, [claim.job_id for claim in claims[:-1]], options.seconds)
            busy_s = server.busy_s() - busy_s
            told = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers[:-1]]
            last_told = int(workers[-1].communicate(timeout=120)[0].split()[-1])
            num_left = container.attempts.record_left(killed, slate.read())
        stored = {claim.job_id: [epoch for part in container.metrics.iterate(claim.job_id) for epoch in part[0]] for claim in claims}
        container.close()
        left = stored.pop(killed.job_id)
        assert left == list(range(1, len(left) + 1)), "the killed job has gaps"
        num_lost = options.jobs * num_epochs - sum(map(len, stored.values()))
        assert num_lost == 0, f"{num_lost} epochs are lost"
        write, durable = (summarize([ms for of_job in told for ms in of_job[index]]) for index in (0, 1))
        rows = {"write": write, "durable": durable, "read": summarize(reads_ms), "server, s": {"median": busy_s}}
        rows["killed with -9 in the middle: epochs said and lost"] = {"median": max(0, last_told - len(left))}
        rows["killed with -9 in the middle: epochs that its worker stored"] = {"median": num_left}
        print_table(f"{options.jobs} jobs x {options.rate:g} epochs/s, ms ({'PostgreSQL' if options.database_url else 'SQLite'})", rows)


def read_charts(port: int, job_ids: list[str], seconds: float) -> list[float]:
    """Ask for one chart after the other, twenty a second; return ms of each answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    path = "/api/v1/training/jobs/{}/metrics?max_points=800&series=" + ",".join(VALUE_FIELDS[:5])
    delays_ms: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        started = time.perf_counter()
        connection.request("GET", path.format(job_ids[len(delays_ms) % len(job_ids)]))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        delays_ms.append(1000 * (time.perf_counter() - started))
        time.sleep(max(0.0, 0.05 - delays_ms[-1] / 1000))
    return delays_ms


if __name__ == "__main__":
    main()
