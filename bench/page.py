"""The page's figures in a real browser: commit to changed DOM, first paint, weight of the first view, scrolling with 500 jobs.

Run: ``.venv/bin/python -m bench.page [--epochs 60] [--only commits|paint|jobs]``. Targets: p95 under 150 ms; first contentful paint under
1 s; JS under 350 kB gzip; p95 under 50 ms per frame; a key or a click painted within 100 ms (p95). The built page must be there
(``make install``); takes about a minute.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.reporting import print_table, summarize
from bench.serving import is_ready, make_job
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim, TrainingJobConfig
from tests.e2e.conftest import CHROMIUM_FLAGS
from tests.instance import find_free_port, wait_until
from tests.serving import make_container, make_report

DIST = Path(__file__).parents[1] / "frontend" / "dist"
NUM_JOBS = 500

WATCH_CARD = """(id) => {
  window.changes = {}
  const card = document.querySelector(`[data-job-id="${id}"]`)
  const look = () => {
    const epoch = Number(card.textContent.match(/epoch (\\d+) of/)?.[1])
    window.changes[epoch] ??= Date.now()
  }
  new MutationObserver(look).observe(card, {subtree: true, childList: true, characterData: true})
}"""

SCROLL = """async (steps) => {
  const frames = []
  let before = performance.now()
  for (let step = 0; step < steps; step += 1) {
    scrollBy(0, 60)
    await new Promise(requestAnimationFrame)
    const now = performance.now()
    frames.push(now - before)
    before = now
  }
  return frames.slice(5)
}"""

COUNT_FRAMES = """() => {
  window.frames_ms = []
  let before = performance.now()
  const next = (now) => { window.frames_ms.push(now - before); before = now; requestAnimationFrame(next) }
  requestAnimationFrame(next)
}"""

# The browser's own measure of a key or a click until the frame that shows it; shorter ones than 16 ms it does not tell.
COUNT_INTERACTIONS = """() => {
  window.interactions_ms = {}
  new PerformanceObserver(list => list.getEntries().filter(one => one.interactionId).forEach(one => {
    window.interactions_ms[one.interactionId] = Math.max(one.duration, window.interactions_ms[one.interactionId] ?? 0)
  })).observe({type: 'event', durationThreshold: 16, buffered: true})
}"""

PAINT = """() => new Promise(resolve => new PerformanceObserver((list, observer) => {
  const found = list.getEntriesByName('first-contentful-paint')[0]
  if (found) { observer.disconnect(); resolve(found.startTime) }
}).observe({type: 'paint', buffered: true}))"""


def first_view_kb() -> float:
    """Return the kB of gzip that the page's own document asks for before anything is clicked."""
    page = (DIST / "index.html").read_text()
    files = re.findall(r'(?:src|href)="/(assets/[^"]+\.js)"', page)
    return sum(len(gzip.compress((DIST / file).read_bytes(), 9)) for file in files) / 1000


def open_page(browser: Browser, url: str) -> Page:
    page = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900}).new_page()
    page.goto("/training")
    page.get_by_test_id("freshness").wait_for()
    return page


def measure_commits(browser: Browser, url: str, container: Container, num_epochs: int) -> list[float]:
    """Return ms from the call that records an epoch to the card that shows it; both clocks are this machine's."""
    job, claim = make_job(container)
    page = open_page(browser, url)
    page.locator(f'[data-job-id="{job}"]').wait_for()
    page.evaluate(WATCH_CARD, job)
    told: dict[int, float] = {}

    def commit() -> None:
        for epoch in range(1, num_epochs + 1):
            told[epoch] = time.time() * 1000
            container.attempts.record_epochs(claim, [make_report(claim, epoch, num_epochs)])
            time.sleep(0.15)

    worker = threading.Thread(target=commit)
    worker.start()
    page.locator(f'[data-job-id="{job}"]').get_by_text(f"epoch {num_epochs} of").wait_for(timeout=60_000)
    worker.join()
    shown: dict[str, float] = page.evaluate("() => window.changes")
    page.context.close()
    return [shown[str(epoch)] - at for epoch, at in told.items() if str(epoch) in shown]


def add_jobs(container: Container, num_running: int = 20) -> list[Claim]:
    """Fill the list up to 500 jobs, most of them final, 20 running."""
    claims = [make_job(container)[1]]
    with container.store.read() as tx:
        dataset = tx.datasets.find_all()[0]
    for index in range(NUM_JOBS - num_running):
        job, _ = container.jobs.create(TrainingJobConfig(job_name=f"job {index}", dataset_id=dataset.id, epochs=10))
        container.jobs.cancel(job.id)
    # The newest stand on top: most running jobs are seen while scrolling begins and while typing.
    return claims + [make_job(container)[1] for _ in range(num_running - 1)]


def measure_scroll(browser: Browser, url: str, container: Container, claims: list[Claim]) -> tuple[list[float], list[float], list[float]]:
    """Return ms per frame while scrolling through 500 jobs and while typing a search, and ms of each key and click to the next paint.

    Every running job reports meanwhile.
    """
    page = open_page(browser, url)
    page.get_by_test_id("job-card").first.wait_for()
    is_done = threading.Event()

    def report() -> None:
        for epoch in range(1, 100_000):
            for claim in claims:
                container.attempts.record_epochs(claim, [make_report(claim, epoch, 100_000)])
                if is_done.wait(0.02):
                    return

    worker = threading.Thread(target=report)
    worker.start()
    try:
        scrolled = page.evaluate(SCROLL, 240)
        page.evaluate("() => scrollTo(0, 0)")
        page.evaluate(COUNT_FRAMES)
        page.evaluate(COUNT_INTERACTIONS)
        page.get_by_role("searchbox").press_sequentially("job 12 cancelled", delay=80)
        typed = page.evaluate("() => window.frames_ms.slice(2)")
        page.get_by_role("searchbox").fill("")
        for index in range(3):
            page.get_by_test_id("job-card").nth(index).get_by_role("checkbox").click()
        for name in ("Metrics", "Jobs", "Models", "Jobs"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(300)
        shown = page.evaluate("() => Object.values(window.interactions_ms)")
    finally:
        is_done.set()
        worker.join()
        page.context.close()
    return scrolled, typed, shown


def measure_paint(browser: Browser, url: str, rounds: int = 7) -> list[float]:
    """Return ms to the first contentful paint, an empty cache each time."""
    values = []
    for _ in range(rounds):
        page = open_page(browser, url)
        values.append(float(page.evaluate(PAINT)))
        page.context.close()
    return values


@contextmanager
def served_browser() -> Iterator[tuple[Browser, str, Container]]:
    """Yield a browser, the address of a server in its own process, and the wired services over the same folder."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None or not (DIST / "index.html").is_file():
        sys.exit("chromium and the built page (make install) are needed")
    with tempfile.TemporaryDirectory() as folder:
        container = make_container(Path(folder))
        port = find_free_port()
        changes = {"HEIMDALL_DATA_DIR": folder, "HEIMDALL_PORT": str(port), "HEIMDALL_LOG_LEVEL": "error", "HEIMDALL_LEASE_S": "600"}
        server = subprocess.Popen([sys.executable, "-m", "heimdall.api"], env={**os.environ, **changes})
        try:
            wait_until(lambda: is_ready(port), 30, lambda: "the server is not ready")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS, "--enable-precise-memory-info"])
                yield browser, f"http://127.0.0.1:{port}", container
                browser.close()
        finally:
            server.terminate()
            server.wait(15)
            container.close()


def load_before() -> float:
    """Return how many processes wanted a processor in the last minute: figures of a busy machine mean little without it."""
    return os.getloadavg()[0]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--only", choices=["commits", "paint", "jobs"])
    options = parser.parse_args()
    chosen = {options.only} if options.only else {"commits", "paint", "jobs"}
    with served_browser() as (browser, url, container):
        rows = {"load of the machine before": summarize([load_before()])}
        if "commits" in chosen:
            rows["commit to DOM, ms"] = summarize(measure_commits(browser, url, container, options.epochs))
        if "paint" in chosen:
            rows["first contentful paint, ms"] = summarize(measure_paint(browser, url))
            rows["JS of the first view, kB gzip"] = summarize([first_view_kb()])
        if "jobs" in chosen:
            scrolled, typed, shown = measure_scroll(browser, url, container, add_jobs(container))
            rows["500 jobs, scroll, ms/frame"] = summarize(scrolled)
            rows["500 jobs, typing, ms/frame"] = summarize(typed)
            rows["500 jobs, key or click to next paint, ms"] = summarize(shown)
        print_table("the Training page", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
