"""The Metrics tab under a long run: 100 000 epochs opened, ten epochs a second appended, and the memory of a page left open.

Run: ``.venv/bin/python -m bench.page_curves [--live-s 12] [--memory-min 10]``. Targets: open under 1 s with every extreme drawn; p95 of a
frame at most 20 ms while epochs come; heap flat (its slope printed in kB a minute; ten minutes, left out without ``--memory-min``);
``--profile FILE`` writes a profile of the live part for the browser's own tools.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, expect

from bench.page import COUNT_FRAMES, load_before, served_browser
from bench.reporting import print_table, summarize
from bench.serving import make_job
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import TrainingMetric
from tests.serving import NOW, make_report

NUM_EPOCHS = 100_000
NUM_SPIKES = 40
EPOCHS_PER_S = 10
LOSS_LINES = '[aria-label="Loss"] path.recharts-line-curve'

OPEN = """([id, selector]) => new Promise(resolve => {
  const begun = performance.now()
  document.querySelector(`[data-job-id="${id}"] h2 button`).click()
  const look = () => {
    const lines = [...document.querySelectorAll(selector)]
    if (lines.length > 1 && lines.every(line => line.getAttribute('d'))) resolve(performance.now() - begun)
    else requestAnimationFrame(look)
  }
  look()
})"""
TURNS = """(selector) => [...document.querySelectorAll(selector)].map(line =>
  line.getAttribute('d').split(/[ML]/).slice(1).map(pair => pair.split(',').map(Number)))"""
HEAP = "() => performance.memory.usedJSHeapSize"


def make_values(random_: random.Random, epoch: int) -> dict[str, float]:
    """Return one epoch's series, as noisy as real ones."""
    fall = 1 / (1 + epoch / 400)
    loss = 0.4 + 3 * fall + random_.gauss(0, 0.03)
    return {
        "train_loss": loss,
        "val_loss": loss * 1.1 + random_.gauss(0, 0.05),
        "train_accuracy": 1 - fall * 0.8 - random_.random() * 0.02,
        "val_accuracy": 0.95 - fall * 0.8 - random_.random() * 0.04,
        "learning_rate": 1e-5 + 1e-3 * (1 + math.cos(math.pi * epoch / NUM_EPOCHS)),
        "epoch_duration_seconds": 0.1,
        "val_error_median_m": 120 + 400 * fall + random_.gauss(0, 8),
        "val_error_p68_m": 180 + 500 * fall + random_.gauss(0, 12),
        "val_error_p95_m": 420 + 900 * fall + random_.gauss(0, 30),
        "val_nll": 1.0,
        "val_coverage_68": 0.68 + random_.gauss(0, 0.02),
        "grad_norm": math.exp(random_.gauss(0, 0.4)),
        "samples_per_second": 2000 + random_.gauss(0, 90),
    }


def fill_run(container: Container, num_epochs: int) -> tuple[str, Claim, list[int]]:
    """Store a run of this length in one transaction; returns the job, its claim and the epochs where the loss leaps."""
    job_id, claim = make_job(container)
    random_ = random.Random(7)
    spikes = sorted(random_.sample(range(50, num_epochs - 50), NUM_SPIKES))
    with container.store.write() as tx:
        for epoch in range(1, num_epochs):
            values = make_values(random_, epoch)
            if epoch in spikes:
                values["val_loss"] = 5 + random_.random()
            tx.metrics.put(TrainingMetric(job_id=job_id, epoch=epoch, attempt=1, timestamp=NOW + timedelta(seconds=epoch / 10), **values))
    append(container, claim, random_, num_epochs)
    return job_id, claim, spikes


def append(container: Container, claim: Claim, random_: random.Random, epoch: int) -> None:
    report = make_report(claim, epoch, NUM_EPOCHS, **make_values(random_, epoch))
    container.attempts.record_epoch(claim, replace(report, best_epoch=1000, best_val_loss=0.35))


@contextmanager
def appending(container: Container, claim: Claim, first: int) -> Iterator[None]:
    """Commit ten epochs a second until the block ends."""
    is_done = threading.Event()

    def work() -> None:
        random_, epoch, begun = random.Random(8), first, time.monotonic()
        while not is_done.wait(max(0, begun + (epoch - first) / EPOCHS_PER_S - time.monotonic())):
            append(container, claim, random_, epoch)
            epoch += 1
            if epoch % EPOCHS_PER_S == 0:
                container.attempts.heartbeat(claim)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        is_done.set()
        worker.join()


def open_run(browser: Browser, url: str, job_id: str) -> tuple[Page, float]:
    """Open the job's curves from the Jobs tab, as a person does; returns the page and ms from the click to drawn lines."""
    page = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900}).new_page()
    page.goto("/training")
    where = page.locator(f'[data-job-id="{job_id}"]')
    where.wait_for()
    page.wait_for_function("() => performance.getEntriesByType('resource').some(one => one.name.includes('MetricsTab'))")
    spent = page.evaluate(OPEN, [job_id, LOSS_LINES])
    return page, float(spent)


def count_drawn(page: Page, spikes: list[int], num_epochs: int) -> tuple[int, int]:
    """Return how many of the leaps stand in the validation line, and its number of points.

    Two points of the line are one bucket, its lowest and its highest: of two leaps in one bucket the higher is drawn for both.
    """
    line: list[list[float]] = page.evaluate(TURNS, LOSS_LINES)[1]
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*line, strict=True))
    width = right - left
    high = [x for x, y in line if y < top + (bottom - top) * 0.3]
    bucket = width / (len(line) / 2) + 0.5
    found = sum(any(abs(x - left - width * (epoch - 1) / (num_epochs - 1)) < bucket for x in high) for epoch in spikes)
    return found, len(line)


def measure_heap(page: Page, minutes: float) -> tuple[list[float], float]:
    """Return the heap after a collection, in MB, every 15 s; and its slope over the second half, in kB a minute."""
    session = page.context.new_cdp_session(page)
    found: list[tuple[float, float]] = []
    begun = time.monotonic()
    while (spent := time.monotonic() - begun) < minutes * 60 or len(found) < 4:
        session.send("HeapProfiler.collectGarbage")
        found.append((spent / 60, float(page.evaluate(HEAP)) / 1e6))
        page.wait_for_timeout(min(15_000, max(500, minutes * 60_000 / 12)))
    half = found[len(found) // 2 :]
    slope, _ = statistics.linear_regression([at for at, _ in half], [mb for _, mb in half])
    return [mb for _, mb in found], slope * 1000


def measure_live(page: Page, seconds: float, profile: Path | None) -> tuple[list[float], float]:
    """Return ms of each animation frame while epochs come, and ms of the main thread's own time for one epoch."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    if profile:
        session.send("Profiler.enable")
        session.send("Profiler.start")
    page.evaluate(COUNT_FRAMES)
    before = read_busy_ms(session)
    page.wait_for_timeout(seconds * 1000)
    busy_ms = read_busy_ms(session) - before
    frames: list[float] = page.evaluate("() => window.frames_ms.slice(2)")
    if profile:
        found: dict[str, Any] = session.send("Profiler.stop")
        profile.write_text(json.dumps(found["profile"]))
    return frames, busy_ms / (seconds * EPOCHS_PER_S)


def read_busy_ms(session: CDPSession) -> float:
    """Return how long the page's main thread has had a processor: what a busy machine takes away is not in it."""
    values = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(values["TaskDuration"]) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live-s", type=float, default=12)
    parser.add_argument("--memory-min", type=float, default=0)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    with served_browser() as (browser, url, container):
        first = NUM_EPOCHS - int((options.live_s + 20 + options.memory_min * 60) * EPOCHS_PER_S)
        job_id, claim, spikes = fill_run(container, first)
        rows = {"load of the machine before": summarize([load_before()])}
        opened = []
        for _ in range(5):
            page, spent = open_run(browser, url, job_id)
            opened.append(spent)
            page.context.close()
        rows[f"{first} epochs opened, ms"] = summarize(opened)
        page, _ = open_run(browser, url, job_id)
        found, num_points = count_drawn(page, spikes, first)
        rows[f"leaps drawn of {len(spikes)}"] = summarize([found])
        rows["points of a line"] = summarize([num_points])
        with appending(container, claim, first + 1):
            expect(page.get_by_test_id("freshness")).to_have_text("Live")
            frames, busy_ms = measure_live(page, options.live_s, options.profile)
            rows["live append, ms/frame"] = summarize(frames)
            rows["main thread, ms of its own/epoch"] = summarize([busy_ms])
            if options.memory_min > 0:
                heap, slope = measure_heap(page, options.memory_min)
                rows["heap while live, MB"] = summarize(heap)
                rows["its slope, kB a minute"] = summarize([slope])
        page.context.close()
        print_table("the Metrics tab under a long run", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
