"""What the browser tests know of the instance and of the page: words and places, so that a test reads as what a person does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, WebSocket, expect

from tests.instance import Heimdall, wait_until

LONG = {"epochs": 5000, "batch_size": 256, "learning_rate": 3e-3, "checkpoint_every_n_epochs": 5}
"""Longer than any test: several epochs a second, until it is cancelled."""
QUICK = {"epochs": 4, "batch_size": 512, "learning_rate": 3e-3}
FINAL = {"completed", "failed", "cancelled"}


class Studio(Heimdall):
    """An instance with the demo data set."""

    demo_id: str = ""

    def wait_demo(self) -> None:
        """Wait for the demo data set; from then on training gives way, for here the page is under test and not the engine's speed."""

        def is_ready() -> bool:
            found = self.get("/training/datasets")["datasets"]
            self.demo_id = found[0]["id"] if found and found[0]["status"] == "ready" else ""
            return bool(self.demo_id)

        wait_until(is_ready, 120, lambda: f"no demo data set: {self.log_tail()}")
        worker = self.find_process("heimdall.worker.main")
        assert worker is not None
        for process in (worker, *worker.children(recursive=True)):
            process.nice(10)

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.get("/training/jobs", limit=200)["jobs"])

    def start_job(self, name: str, **changes: Any) -> str:
        """Create a long job and wait for its first epoch."""
        job_id = self.create_job(self.demo_id, **{"job_name": name, **LONG, **changes})
        self.wait_job(job_id, lambda job: job["current_epoch"] >= 1)
        return job_id

    def finished_job(self, name: str = "finished") -> dict[str, Any]:
        """Return a completed job with a model; trained once, shared by all tests that only look at it."""
        for job in self.jobs():
            if job["name"] == name and job["status"] == "completed" and self._has_model(job):
                return job
        return self.wait_job(self.create_job(self.demo_id, job_name=name, **QUICK), {"completed"})

    def _has_model(self, job: dict[str, Any]) -> bool:
        return bool(job["model_id"]) and self.client.get(f"/training/models/{job['model_id']}").status_code == 200

    def cancel_active(self) -> None:
        active = [job["id"] for job in self.jobs() if job["status"] not in FINAL]
        for job_id in active:
            self.client.delete(f"/training/jobs/{job_id}")
        for job_id in active:
            self.wait_job(job_id, FINAL)


class Watch:
    """Listens to one page: every console error or warning, page error and failed request is a fault unless a test expects it."""

    def __init__(self, page: Page) -> None:
        self._said: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.sockets: list[WebSocket] = []
        self._num_left = 0
        self.frames: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._said.append(f"page error: {error.message}"))
        page.on("requestfailed", self._miss)
        page.on("websocket", self._count)
        page.on("request", self._leave)
        page.context._watch = self  # type: ignore[attr-defined]

    def expect(self, pattern: str) -> None:
        """From now on the browser may complain in words that match: the test provokes it."""
        self._expected.append(re.compile(pattern))

    @property
    def faults(self) -> list[str]:
        return [said for said in self._said if not any(pattern.search(said) for pattern in self._expected)]

    def open_sockets(self) -> list[str]:
        return [socket.url for socket in self.sockets[self._num_left :] if not socket.is_closed()]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._said.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _miss(self, request: Request) -> None:
        # Leaving a page ends its requests; that is no failure.
        if request.failure != "net::ERR_ABORTED":
            self._said.append(f"request failed: {request.method} {request.url} {request.failure}")

    def _leave(self, request: Request) -> None:
        # Another document: the old one's sockets are gone with it, without a close that could be heard.
        if request.is_navigation_request() and request.frame.parent_frame is None:
            self._num_left = len(self.sockets)

    def _count(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        socket.on("framereceived", lambda frame: self.frames.append(str(frame)))


def watch_of(page: Page) -> Watch:
    found: Watch = page.context._watch  # type: ignore[attr-defined]
    return found


def card(page: Page, job_id: str) -> Locator:
    return page.locator(f'[data-testid="job-card"][data-job-id="{job_id}"]')


def badge(where: Locator, status: str) -> Locator:
    """The badge as it stands for a status that has been reached, nothing asked for beside it."""
    return where.locator(f'[data-slot="badge"][data-status="{status}"]').filter(has_text=status.capitalize())


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tablist", name="Training").get_by_role("tab", name=name)


def toast(page: Page, text: str) -> Locator:
    return page.locator("[data-sonner-toast]").filter(has_text=text)


def chart(page: Page, title: str) -> Locator:
    return page.get_by_role("group", name=re.compile(rf"^{re.escape(title)}"))


def num_points(curve: Locator) -> int:
    """How many points a drawn line has: one move and then one line command each."""
    drawn = curve.get_attribute("d") or ""
    return len(re.findall(r"[ML]", drawn))


def curve(where: Locator, index: int) -> Locator:
    return where.locator("path.recharts-line-curve").nth(index)


def wait_page(page: Page, check: Callable[[], bool], describe: Callable[[], str], timeout_s: float = 30) -> None:
    """Wait for a condition that no locator can say; the page's events go on being heard meanwhile."""

    def look() -> bool:
        page.evaluate("() => new Promise(requestAnimationFrame)")
        return check()

    wait_until(look, timeout_s, describe)


def settle(page: Page) -> None:
    """Let everything that fades or slides in come to rest; what turns for ever is left to turn."""
    page.evaluate(
        "() => Promise.all(document.getAnimations().filter(one => one.effect.getTiming().iterations !== Infinity)"
        ".map(one => one.finished.catch(() => null)))"
    )


def mark_document(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("() => { window.notReloaded = true }")


def expect_not_reloaded(page: Page) -> None:
    assert page.evaluate("() => window.notReloaded") is True, "the page was loaded again"


def number_in(where: Locator, pattern: str) -> float:
    text = where.inner_text()
    found = re.search(pattern, text)
    assert found, f"no {pattern} in {text!r}"
    return float(found.group(1))


def choose(page: Page, label: str, option: str | re.Pattern[str]) -> None:
    """Pick from a dropdown by its label."""
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option).click()
    expect(page.get_by_role("listbox")).to_have_count(0)
