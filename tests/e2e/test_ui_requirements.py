"""One test for each line of the document's 'UI/UX Requirements', named after it."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.studio import LONG, Studio, badge, card, chart, curve, tab, toast, watch_of

BAR = """async (card) => {
  const indicator = card.querySelector('[data-slot=progress-indicator]')
  const scaleOf = () => new DOMMatrix(getComputedStyle(indicator).transform).a
  const targets = new Set(), seen = []
  const start = performance.now()
  while (targets.size < 4 && performance.now() - start < 25_000) {
    await new Promise(requestAnimationFrame)
    targets.add(indicator.style.transform)
    seen.push(scaleOf())
  }
  const style = getComputedStyle(indicator)
  return {seen, targets: [...targets].map(text => Number(text.match(/scaleX\\((.*)\\)/)[1])),
          property: style.transitionProperty, duration: style.transitionDuration, timing: style.transitionTimingFunction}
}"""


def test_progress_bars_animate_smoothly(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("gliding", epochs=60)
    page = open_page()
    where = card(page, job_id)
    expect(badge(where, "running")).to_be_visible()
    bar = where.evaluate(BAR)
    assert "transform" in bar["property"]
    assert (bar["duration"], bar["timing"]) == ("0.3s", "linear")
    assert len(bar["targets"]) >= 3, "the bar did not move"
    seen = bar["seen"]
    assert seen == sorted(seen), "the bar ran backward"
    between = [value for value in seen if all(abs(value - target) > 1e-4 for target in bar["targets"])]
    assert between, "the bar jumped from target to target"


HUES = {"pending": (35, 65), "running": (195, 250), "paused": (12, 38), "completed": (100, 165), "failed": (340, 372)}
"""Degrees on the colour wheel that people call yellow, blue, orange, green and red."""

RGB = """(badge) => {
  const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
  const read = (colour) => {
    context.clearRect(0, 0, 1, 1)
    context.fillStyle = colour
    context.fillRect(0, 0, 1, 1)
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
  }
  return [read(getComputedStyle(badge).color), read(getComputedStyle(badge).backgroundColor)]
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_status_badges_use_consistent_colors(open_page: Callable[..., Page], one_of_each: dict[str, str], theme: str) -> None:
    page = open_page(theme=theme)
    for status, job_id in one_of_each.items():
        on_card = badge(card(page, job_id), status)
        expect(on_card).to_be_visible()
        expect(on_card.locator("svg")).to_be_visible()
        text, _ = on_card.evaluate(RGB)
        hue, _, saturation = hls(text)
        if status == "cancelled":
            assert saturation < 0.2, f"cancelled is not gray: {text}"
        else:
            low, high = HUES[status]
            assert low <= hue <= high or low <= hue + 360 <= high, f"{status} has hue {hue:.0f}: {text}"
        # The same colour wherever the status is shown.
        bar = card(page, job_id).locator('[data-slot="progress-indicator"]').evaluate("(bar) => getComputedStyle(bar).backgroundColor")
        fill = page.evaluate(f"() => getComputedStyle(document.documentElement).getPropertyValue('--{status}-fill').trim()")
        assert bar == page.evaluate(
            "(fill) => { const el = document.createElement('i'); el.style.color = fill; return el.style.color }", fill
        )
    page.goto(f"/training?tab=metrics&runs={one_of_each['failed']}")
    expect(page.get_by_test_id("run-panel").locator('[data-slot="badge"]')).to_have_text("Failed")


def hls(rgb: list[int]) -> tuple[float, float, float]:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in rgb))
    return 360 * hue, lightness, saturation


@pytest.fixture
def one_of_each(studio: Studio) -> dict[str, str]:
    """One job in each of the six statuses: two run, so that the next one waits."""
    failing = {"learning_rate": 1.0, "optimizer": "sgd", "max_grad_norm": 1e6}
    failed = next((job["id"] for job in studio.jobs() if job["status"] == "failed"), None) or studio.create_job(
        studio.demo_id, job_name="will fail", epochs=20, batch_size=256, **failing
    )
    completed = studio.finished_job()["id"]
    studio.wait_job(failed, {"failed"})
    paused = studio.start_job("stands still")
    studio.client.post(f"/training/pause/{paused}")
    studio.wait_job(paused, {"paused"})
    running = studio.start_job("runs")
    studio.start_job("runs too")
    pending = studio.create_job(studio.demo_id, job_name="waits", **LONG)
    cancelled = studio.create_job(studio.demo_id, job_name="was cancelled")
    studio.client.delete(f"/training/jobs/{cancelled}")
    studio.wait_job(cancelled, {"cancelled"})
    return {"pending": pending, "running": running, "paused": paused, "completed": completed, "failed": failed, "cancelled": cancelled}


class Gate:
    """Holds requests back until it is opened, as a slow network does."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._pattern = pattern
        self._held: list[Route] = []
        page.route(pattern, lambda route: self._held.append(route))

    def open(self) -> None:
        for route in self._held:
            route.continue_()
        self._page.unroute(self._pattern)


def test_loading_states_shown_during_api_calls(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page("/training?tab=models")
    expect(page.get_by_test_id("model-card").first).to_be_visible()
    busy = page.locator("[aria-busy]").locator('[data-slot="skeleton"]')

    gate = Gate(page, "**/api/v1/training/jobs?*")
    page.goto("/training")
    expect(busy.first).to_be_visible()
    expect(page.get_by_text("Still waiting for the list of jobs.")).to_be_visible()
    gate.open()
    expect(card(page, job["id"])).to_be_visible()
    expect(busy).to_have_count(0)

    gate = Gate(page, "**/api/v1/training/models*")
    page.goto("/training?tab=models")
    expect(busy.first).to_be_visible()
    gate.open()
    expect(page.get_by_test_id("model-card").first).to_be_visible()
    expect(busy).to_have_count(0)

    gate = Gate(page, f"**/api/v1/training/jobs/{job['id']}/metrics*")
    page.goto(f"/training?tab=metrics&runs={job['id']}")
    expect(busy.first).to_be_visible()
    gate.open()
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    expect(busy).to_have_count(0)

    # A button that has asked for something says so until the answer comes.
    page.goto("/training?tab=models")
    page.locator(f'[data-model-id="{job["model_id"]}"]').get_by_role("button", name="Export").click()
    gate = Gate(page, "**/export?*")
    download = page.get_by_role("dialog").get_by_role("button", name="Download")
    download.click()
    expect(download).to_be_disabled()
    with page.expect_download():
        gate.open()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_confirmation_dialogs_for_destructive_actions(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("precious")
    page = open_page()
    where = card(page, job_id)
    confirmation = page.get_by_role("alertdialog")

    where.get_by_role("button", name="Cancel", exact=True).click()
    expect(confirmation).to_contain_text("no model is made")
    expect(confirmation).to_contain_text(re.compile("checkpoint"))
    expect(confirmation.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(confirmation).to_have_count(0)
    assert studio.get(f"/training/jobs/{job_id}")["status"] == "running"
    where.get_by_role("button", name="Cancel", exact=True).click()
    confirmation.get_by_role("button", name="Cancel the job").click()
    expect(badge(where, "cancelled")).to_be_visible()

    job = studio.get(f"/training/jobs/{job_id}")
    where.get_by_role("button", name="Delete").click()
    expect(confirmation).to_contain_text(f"Deleted for good: the metrics of {job['current_epoch']} epoch")
    if job["checkpoint"]:
        expect(confirmation).to_contain_text("1 checkpoint")
    expect(confirmation).to_contain_text("There is no model to keep.")
    confirmation.get_by_role("button", name="Keep it").click()
    expect(where).to_be_visible()
    where.get_by_role("button", name="Delete").click()
    confirmation.get_by_role("button", name="Delete the job").click()
    expect(where).to_have_count(0)
    assert studio.client.get(f"/training/jobs/{job_id}").status_code == 404

    job = studio.finished_job()
    tab(page, "Models").click()
    page.locator(f'[data-model-id="{job["model_id"]}"]').get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(confirmation).to_contain_text(re.compile(r"Its network \(\d+ kB\), samples and verification are deleted for good"))
    confirmation.get_by_role("button", name="Keep it").click()
    assert studio.client.get(f"/training/models/{job['model_id']}").status_code == 200


def test_toast_notifications_for_success_error(page: Page, studio: Studio) -> None:
    job_id = studio.start_job("toasted")
    where = card(page, job_id)
    where.get_by_role("button", name="Pause", exact=True).click()
    said = toast(page, "Asked to pause “toasted”")
    expect(said).to_have_attribute("data-type", "success")
    expect(badge(where, "paused")).to_be_visible()
    expect(said).to_have_count(0)  # success leaves by itself

    # Somebody else was faster: the engine's sentence is the toast's, and it stays until it is closed.
    watch_of(page).expect("status of 409")
    gate = Gate(page, "**/api/v1/training/resume/*")
    where.get_by_role("button", name="Resume", exact=True).click()
    assert studio.client.delete(f"/training/jobs/{job_id}").status_code == 200
    studio.wait_job(job_id, {"cancelled"})
    gate.open()
    refused = toast(page, "Not done: “toasted”")
    expect(refused).to_have_attribute("data-type", "error")
    expect(refused).to_contain_text(re.compile("cancelled"))
    refused.get_by_role("button", name="Close toast").click()
    expect(refused).to_have_count(0)


@pytest.fixture(scope="module")
def new_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    instance = Studio(tmp_path_factory.mktemp("new") / "data", {"HEIMDALL_SEED_DEMO": "false"})
    try:
        instance.start()
        yield instance
    finally:
        instance.kill_everything()
        instance.client.close()


def test_empty_states_have_helpful_messages(open_page: Callable[..., Page], new_studio: Studio) -> None:
    page = open_page(studio=new_studio)
    expect_empty(page, "No training jobs yet", "A job trains one network on one data set", "heimdall train")
    page.get_by_role("tabpanel").get_by_role("button", name="New training job").click()
    expect(page.get_by_role("dialog", name="New training job")).to_be_visible()
    page.keyboard.press("Escape")
    tab(page, "Metrics").click()
    expect_empty(page, "No job selected", "Create one in the Jobs tab")
    tab(page, "Models").click()
    expect_empty(page, "No models yet", "Every completed training job leaves a model here", "heimdall model import FILE.heimdall")
    expect(page.get_by_role("button", name="Import model")).to_be_visible()


def test_empty_states_tell_filtered_from_missing(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page()
    page.get_by_role("searchbox", name="Search jobs").fill("no such job anywhere")
    expect_empty(page, "No job matches", "“no such job anywhere”")
    page.get_by_role("button", name="Clear filters").click()
    expect(card(page, job["id"])).to_be_visible()
    waiting = studio.create_job(studio.demo_id, job_name="no epoch yet", epochs=2, batch_size=1)
    page.goto(f"/training?tab=metrics&runs={waiting}")
    expect_empty(page, "No metrics yet", "epoch")
    page.goto("/training?tab=metrics&runs=00000000-0000-4000-8000-000000000000")
    expect_empty(page, "This job is not here", "Choose another one above")


def expect_empty(page: Page, title: str, sentence: str, command: str | None = None) -> Locator:
    panel = page.get_by_role("tabpanel")
    expect(panel.get_by_role("heading", name=title)).to_be_visible()
    expect(panel).to_contain_text(sentence)
    if command:
        expect(panel.locator("code")).to_have_text(command)
    return panel
