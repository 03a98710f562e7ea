"""The Metrics tab under a long run: 100 000 epochs opened, ten epochs a second appended, and the memory of a page left open.

Run: ``.venv/bin/python -m bench.page_curves [--epochs 1000000] [--live-s 12] [--memory-min 10 [--memory-rate 60]] [--write]``. Targets:
open under 1 s with the extremes of every bucket drawn; p95 of a frame at most 20 ms while epochs come, and at most 33 ms while the window
of all charts is moved and resized; heap flat (left out without ``--memory-min``; ``--memory-rate`` epochs a second put hours of a common
run into minutes). ``--write`` puts the table into docs/figures.md: for the section there, with a million epochs and 60 a second.
``--profile FILE`` writes a profile of the live part for the browser's own tools.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
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

from bench.heap import collect, weigh
from bench.page import COUNT_FRAMES, load_before, served_browser
from bench.reporting import print_table, summarize
from bench.sections import FIGURES, introduce, replace_section, tabulate
from bench.serving import make_job
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim
from heimdall.domain.metrics import TrainingMetric
from tests.serving import NOW, make_report

NUM_EPOCHS = 100_000
NUM_SPIKES = 40
EPOCHS_PER_S = 10
KEY_REPEAT_MS = 33
"""As a held key repeats: idle frames in between would flatter the figure."""
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
    report = make_report(claim, epoch, max(NUM_EPOCHS, epoch), **make_values(random_, epoch))
    container.attempts.record_epochs(claim, [replace(report, best_epoch=1000, best_val_loss=0.35)])


@contextmanager
def appending(container: Container, claim: Claim, first: int, rate: float = EPOCHS_PER_S) -> Iterator[list[int]]:
    """Commit ``rate`` epochs a second until the block ends; yields a list whose last number is the newest epoch."""
    newest = [first - 1]
    is_done = threading.Event()

    def work() -> None:
        random_, epoch, begun = random.Random(8), first, time.monotonic()
        while not is_done.wait(max(0, begun + (epoch - first) / rate - time.monotonic())):
            append(container, claim, random_, epoch)
            newest[0] = epoch
            epoch += 1
            if epoch % EPOCHS_PER_S == 0:
                container.attempts.heartbeat(claim)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield newest
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


def measure_heap(page: Page, minutes: float, newest: list[int]) -> dict[str, dict[str, float]]:
    """Weigh the heap every 15 s, and by kind in the middle and at the end: what the second half added, in B an epoch.

    The page must count no frames of its own: that list would grow too. The first half is left to the engine to compile its code and to
    the rows to become live ones, which carry more than those of a thinned overview. The engine goes on compiling for as long as it
    likes; so data and code are told apart. Rows are thinned whenever there are too many: that saw is in the figure of data.
    """
    session = page.context.new_cdp_session(page)
    used_mb: list[float] = []
    begun, middle = time.monotonic(), (0, (0, 0))
    while (spent := time.monotonic() - begun) < minutes * 60 or len(used_mb) < 6:
        collect(session)
        used_mb.append(float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6)
        if not middle[0] and spent > minutes * 30:
            middle = (newest[0], weigh(session))
        page.wait_for_timeout(min(15_000, max(500, minutes * 60_000 / 12)))
    last = (newest[0], weigh(session))
    num_epochs = last[0] - middle[0]
    data, code = ((end - start) / num_epochs for start, end in zip(middle[1], last[1], strict=True))
    return {
        "heap while live, MB": summarize(used_mb),
        f"data added by the {num_epochs} epochs of the second half, B an epoch": summarize([data]),
        "compiled code added by them, B an epoch": summarize([code]),
    }


def measure_window(page: Page, rounds: int = 12) -> list[float]:
    """Return ms of each animation frame while the window is dragged anew on the strip, zoomed in and out by keys, and shown whole."""
    strip = page.get_by_test_id("zoom-strip").locator("div.cursor-crosshair")
    box = strip.bounding_box()
    assert box is not None
    cursor = page.get_by_role("slider").first
    page.evaluate(COUNT_FRAMES)
    for number in range(rounds):
        left = box["x"] + box["width"] * (0.05 + 0.8 * number / rounds)
        page.mouse.move(left, box["y"] + 15)
        page.mouse.down()
        page.mouse.move(left + box["width"] * 0.1, box["y"] + 15, steps=15)
        page.mouse.up()
        cursor.focus()
        for key in ("+", "+", "-", "-"):
            page.keyboard.press(key)
            page.wait_for_timeout(KEY_REPEAT_MS)
    cursor.press("0")
    frames: list[float] = page.evaluate("() => window.frames_ms.slice(2)")
    return frames


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
    parser.add_argument("--epochs", type=int, default=NUM_EPOCHS)
    parser.add_argument("--live-s", type=float, default=12)
    parser.add_argument("--memory-min", type=float, default=0)
    parser.add_argument("--memory-rate", type=float, default=EPOCHS_PER_S)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with served_browser() as (browser, url, container):
        first = options.epochs - int((options.live_s + 20) * EPOCHS_PER_S + options.memory_min * 60 * options.memory_rate)
        job_id, claim, spikes = fill_run(container, first)
        rows = {"load of the machine before": summarize([load_before()])}
        opened = []
        for _ in range(5):
            page, spent = open_run(browser, url, job_id)
            opened.append(spent)
            page.context.close()
        rows[f"{first} epochs opened, ms (wanted: 1 000)"] = summarize(opened)
        page, _ = open_run(browser, url, job_id)
        found, num_points = count_drawn(page, spikes, first)
        rows[f"leaps drawn of {len(spikes)}"] = summarize([found])
        rows["points of a line"] = summarize([num_points])
        rows["window moved and resized, ms/frame (wanted: p95 33)"] = summarize(measure_window(page))
        page.context.close()
        page, _ = open_run(browser, url, job_id)
        with appending(container, claim, first + 1) as newest:
            expect(page.get_by_test_id("freshness")).to_contain_text("Live")
            frames, busy_ms = measure_live(page, options.live_s, options.profile)
            rows["live append, ms/frame (wanted: p95 20)"] = summarize(frames)
            rows[f"the same: main thread, ms of its own an epoch, {EPOCHS_PER_S} a second"] = summarize([busy_ms])
        page.context.close()
        if options.memory_min > 0:
            page, _ = open_run(browser, url, job_id)
            with appending(container, claim, newest[0] + 1, options.memory_rate) as newest:
                rows |= measure_heap(page, options.memory_min, newest)
            page.context.close()
        print_table("the Metrics tab under a long run", rows)
        if options.write:
            further = f"{options.memory_min:g} minutes of {options.memory_rate:g} epochs a second behind the rest."
            columns = {"median": "median", "p95": "p95", "max": "most"}
            replace_section(FIGURES, "page", [introduce(load, further), "", *tabulate("what", rows, columns)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
