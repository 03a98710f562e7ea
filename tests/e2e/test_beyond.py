"""What the issue asks beyond the document's lists: dropping files, many at once, copies, themes, one socket for many, a still page."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from heimdall.domain.events import Tick
from heimdall.domain.jobs import Claim
from tests.e2e.studio import (
    Studio,
    badge,
    card,
    chart,
    curve,
    expect_not_reloaded,
    mark_document,
    settle,
    tab,
    toast,
    wait_page,
    watch_of,
)
from tests.e2e.test_must_pass import delete_model
from tests.serving import Served, make_container, serve

MAKE_TRANSFER = """([name, bytes]) => {
  const transfer = new DataTransfer()
  transfer.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt(0))], name))
  return transfer
}"""

SHIFTS = """() => new Promise(resolve => {
  let sum = 0
  new PerformanceObserver(list => list.getEntries().forEach(one => { sum += one.hadRecentInput ? 0 : one.value }))
    .observe({type: 'layout-shift', buffered: true})
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(sum))))
})"""


COUNT_CHECKS = """() => {
  window.numChecks = []
  new MutationObserver(() => {
    const count = document.querySelectorAll('[data-testid="check"]').length
    if (count > 0 && count !== window.numChecks.at(-1)) window.numChecks.push(count)
  }).observe(document.body, {childList: true, subtree: true})
}"""
"""Notes how many checks stand on the page whenever that changes."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The real server without a worker: the test itself plays as many of them as it needs."""
    with serve(make_container(tmp_path / "data")) as running:
        yield running


def drop(page: Page, name: str, content: bytes) -> None:
    transfer = page.evaluate_handle(MAKE_TRANSFER, [name, base64.b64encode(content).decode()])
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to import and verify")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop to import and verify")).to_have_count(0)


def test_a_file_dropped_anywhere_is_imported_and_verified(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    bundle = studio.client.get(f"/training/models/{job['model_id']}/export", params={"description": "dropped"}).content
    page = open_page()
    drop(page, "notes.txt", b"not a model")
    refused = toast(page, "Nothing was imported")
    expect(refused).to_contain_text("ends in .heimdall")
    refused.get_by_role("button", name="Close toast").click()
    page.evaluate(COUNT_CHECKS)
    drop(page, "finished-v1.heimdall", bundle)
    dialog = page.get_by_role("dialog", name="Import model")
    expect(dialog.get_by_test_id("seal")).to_have_attribute("data-status", "verified")
    # The checks came one by one, as the engine did them, and not together at the end.
    num_shown = page.evaluate("() => window.numChecks")
    rising = num_shown[: num_shown.index(max(num_shown)) + 1]
    assert rising == sorted(rising)
    assert len(rising) >= 3
    dialog.get_by_role("button", name="Show the model").click()
    expect(page).to_have_url(re.compile("model="))


def test_many_jobs_at_once_get_what_is_valid_for_some_and_only_those(open_page: Callable[..., Page], studio: Studio) -> None:
    running = studio.start_job("bulk running")
    done = [studio.create_job(studio.demo_id, job_name=f"bulk {name}", epochs=50) for name in ("one", "two")]
    for job_id in done:
        studio.client.delete(f"/training/jobs/{job_id}")
        studio.wait_job(job_id, {"cancelled"})
    page = open_page()
    expect(badge(card(page, running), "running")).to_be_visible()
    bar = page.get_by_role("region", name="Selected jobs")
    card(page, running).get_by_role("checkbox").check(force=True)
    expect(bar.get_by_role("button", name="Pause")).to_be_visible()
    expect(bar.get_by_role("button", name="Delete")).to_have_count(0)
    card(page, done[0]).get_by_role("checkbox").check()
    expect(bar.get_by_role("status")).to_have_text("2 jobs selected")
    for name in ("Pause 1 of 2", "Cancel 1 of 2", "Delete 1 of 2", "Compare 2"):
        expect(bar.get_by_role("button", name=name)).to_be_visible()
    expect(bar.get_by_role("button", name="Resume")).to_have_count(0)
    card(page, done[1]).get_by_role("checkbox").check()
    bar.get_by_role("button", name="Delete 2 of 3").click()
    confirmation = page.get_by_role("alertdialog")
    expect(confirmation).to_contain_text("1 other selected job has not ended yet and stays as it is.")
    expect(confirmation).to_contain_text(re.compile(r"Deleted for good: the metrics of \d+ epoch"))
    confirmation.get_by_role("button", name="Delete 2 jobs").click()
    for job_id in done:
        expect(card(page, job_id)).to_have_count(0)
        assert studio.client.get(f"/training/jobs/{job_id}").status_code == 404
    expect(bar.get_by_role("status")).to_have_text("1 job selected")
    expect(badge(card(page, running), "running")).to_be_visible()


def open_menu(page: Page, job_id: str, item: str) -> None:
    card(page, job_id).get_by_role("button", name=re.compile("^More for")).click()
    page.get_by_role("menuitem", name=item).click()


def test_a_job_is_cloned_and_continued(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page()
    open_menu(page, job["id"], "New from this")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("finished again")
    expect(dialog.get_by_label("Epochs", exact=True)).to_have_value(str(job["total_epochs"]))
    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.url.endswith("/training/jobs")) as made:
        dialog.get_by_role("button", name="Start training").click()
    clone = studio.get(f"/training/jobs/{made.value.json()['job_id']}")
    same = {"model_architecture", "dataset_id", "batch_size", "learning_rate", "epochs"}
    assert {name: clone["config"][name] for name in same} == {name: job["config"][name] for name in same}

    open_menu(page, job["id"], "Continue from its checkpoint")
    dialog = page.get_by_role("dialog")
    more = job["total_epochs"] + 2
    dialog.get_by_label("Epochs in all").fill(str(more))
    with page.expect_response(re.compile("/continue$")) as made:
        dialog.get_by_role("button", name="Start the new job").click()
    toast(page, "Continued as a new job").get_by_role("button", name="Watch").click()
    longer = studio.wait_job(made.value.json()["id"], {"completed"})
    assert longer["current_epoch"] == more
    expect(page.get_by_test_id("point-count")).to_contain_text(f"{more} points, 0 gaps")
    assert studio.get(f"/training/jobs/{job['id']}")["status"] == "completed"


def test_the_theme_is_chosen_and_kept(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page(theme="light")
    is_dark = "() => document.documentElement.classList.contains('dark')"
    assert page.evaluate(is_dark) is False
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Use the dark theme").click()
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()
    assert page.evaluate(is_dark) is True
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != ground
    page.reload()
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()
    assert page.evaluate(is_dark) is True


def test_more_than_twenty_running_jobs_share_one_socket(open_page: Callable[..., Page], served: Served) -> None:
    dataset = served.add_dataset()
    claims = [served.claim(served.create_job(dataset, job_name=f"one of many {index}")) for index in range(24)]
    page = open_page(studio=served)
    expect(page.get_by_test_id("job-card")).to_have_count(len(claims))
    expect(page.get_by_test_id("freshness").get_by_role("status")).to_have_text("Live")
    watch = watch_of(page)
    wait_page(page, lambda: len(watch.open_sockets()) == 1, lambda: f"open: {watch.open_sockets()}")
    assert re.search(r"/ws/training(\?|$)", watch.open_sockets()[0])
    for claim in claims:
        served.record(claim, 1)
    for claim in claims:
        expect(card(page, claim.job_id)).to_contain_text("epoch 1 of 50")
    assert len(watch.sockets) == 1, "single sockets were opened before the shared one"


def test_a_silent_worker_is_said_then_healed(open_page: Callable[..., Page], served: Served) -> None:
    claim = served.claim(served.create_job(served.add_dataset()))
    page = open_page(studio=served)
    freshness = page.get_by_test_id("freshness")
    expect(badge(card(page, claim.job_id), "running")).to_be_visible()
    served.record(claim, 1)
    expect(card(page, claim.job_id)).to_contain_text("epoch 1 of 50")
    # From here on no sign of life comes from it.
    expect(freshness).to_have_text(re.compile(r"Worker silent \d+ s"), timeout=60_000)
    expect(freshness).to_have_attribute("data-tone", "warning")
    served.record(claim, 2)
    expect(freshness.get_by_role("status")).to_have_text("Live")
    expect(card(page, claim.job_id)).to_contain_text("epoch 2 of 50")


def test_a_model_is_renamed_and_deleted(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.wait_job(studio.create_job(studio.demo_id, job_name="to be renamed", epochs=1, batch_size=512), {"completed"})
    page = open_page("/training?tab=models")
    where = page.locator(f'[data-model-id="{job["model_id"]}"]')
    where.get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename the model")
    dialog.get_by_label("Name").fill("a better name")
    dialog.get_by_role("button", name="Rename").click()
    expect(where.get_by_role("heading")).to_contain_text("a better name")
    toast(page, "Renamed to “a better name”").get_by_role("button", name="Show").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="a better name v1")).to_be_visible()
    page.keyboard.press("Escape")
    delete_model(page, studio.get(f"/training/models/{job['model_id']}"))
    assert studio.client.get(f"/training/models/{job['model_id']}").status_code == 404


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_moves_when_data_arrive(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    job = studio.finished_job()
    running = studio.start_job("arrives later")
    page = open_page(width=width, slowness=6)
    expect(badge(card(page, running), "running")).to_be_visible()
    expect(card(page, job["id"]).get_by_role("img", name="Validation loss")).to_be_visible()
    moved = {"jobs": page.evaluate(SHIFTS)}
    page = open_page(f"/training?tab=metrics&runs={running}", width=width, slowness=6)
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    at = studio.get(f"/training/jobs/{running}")["current_epoch"]
    studio.wait_job(running, lambda one: one["current_epoch"] > at + 20)
    moved["metrics"] = page.evaluate(SHIFTS)
    page = open_page("/training?tab=models", width=width, slowness=6)
    expect(page.get_by_test_id("model-card").first).to_be_visible()
    moved["models"] = page.evaluate(SHIFTS)
    assert all(shift < 0.02 for shift in moved.values()), moved


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_figures_of_a_run_keep_their_places_whatever_each_epoch_says(
    open_page: Callable[..., Page], served: Served, width: int
) -> None:
    ahead = {"train_accuracy": 0.000411, "val_accuracy": 0.0987, "val_coverage_68": 0.681}
    level = {"train_accuracy": 0.000411, "val_accuracy": 0.00164, "val_coverage_68": 0.5}
    job_id, claim = draw_run(served, 1, **ahead)
    page = open_page(f"/training?tab=metrics&runs={job_id}", width=width, studio=served)
    panel = page.get_by_test_id("run-panel")
    expect(page.get_by_test_id("freshness").get_by_role("status")).to_have_text("Live")
    for place, first in ((chart(page, "Accuracy"), 2), (panel, 12)):
        place.scroll_into_view_if_needed()
        before = page.evaluate(SHIFTS)
        for epoch in range(first, first + 10):
            served.record(claim, epoch, **(level if epoch % 2 == 0 else ahead))
            expect(panel).to_contain_text(f"{epoch} of 500")
        assert page.evaluate(SHIFTS) - before < 0.001


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_room_is_kept_for_the_baselines_of_a_slow_server(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    studio.finished_job()
    running = studio.start_job("faster than its yardsticks")
    page = open_page(f"/training?tab=metrics&runs={running}", width=width)
    held: list[Route] = []
    page.route("**/training/models*", lambda route: held.append(route))
    page.reload()
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    expect(page.get_by_test_id("freshness").get_by_role("status")).to_have_text("Live")
    page.evaluate("() => document.querySelector('[data-testid=zoom-strip]').parentElement.nextElementSibling.scrollIntoView()")
    before = page.evaluate(SHIFTS)
    for route in held:
        route.continue_()
    page.unroute("**/training/models*")
    expect(page.get_by_test_id("run-panel")).to_contain_text("kNN")
    assert page.evaluate(SHIFTS) - before < 0.001


def test_a_runs_own_figures_wait_for_no_slow_server_and_its_baselines_come_after_a_failure(
    open_page: Callable[..., Page], studio: Studio
) -> None:
    job = studio.finished_job()
    page = open_page(f"/training?tab=metrics&runs={job['id']}")
    watch_of(page).expect("status of 503")
    held: list[Route] = []
    page.route("**/training/models*", lambda route: held.append(route))
    page.reload()
    panel = page.get_by_test_id("run-panel")
    expect(panel).to_contain_text("Error now", timeout=15_000)
    expect(panel).not_to_contain_text("kNN")
    for route in held:
        route.fulfill(status=503, json={"code": "unavailable", "detail": "The server is busy."})
    page.unroute("**/training/models*")
    expect(panel).to_contain_text("kNN", timeout=15_000)


def test_how_far_the_page_is_behind_comes_and_goes_beside_what_stays(open_page: Callable[..., Page], served: Served) -> None:
    job_id, claim = draw_run(served, 1)
    page = open_page(f"/training?tab=metrics&runs={job_id}", width=768, studio=served)
    freshness = page.get_by_test_id("freshness")
    expect(freshness.get_by_role("status")).to_have_text("Live")
    served.record(claim, 2)
    expect(freshness).to_contain_text("s behind")
    place = freshness.bounding_box()
    expect(freshness).not_to_contain_text("s behind")
    assert freshness.bounding_box() == place


def test_compared_runs_keep_their_marks_and_a_picture_its_legend(open_page: Callable[..., Page], studio: Studio, tmp_path: Path) -> None:
    job = studio.finished_job()
    paused = studio.start_job("paused for a mark", epochs=400, batch_size=512)
    studio.client.post(f"/training/pause/{paused}")
    studio.wait_job(paused, {"paused"})
    page = open_page(f"/training?tab=metrics&runs={job['id']},{paused}")
    loss = chart(page, "Loss")
    expect(loss.locator("title", has_text=re.compile("paused for a mark: paused after epoch"))).to_be_attached()
    expect(loss.locator("title", has_text=re.compile("finished: best epoch"))).to_be_attached()
    plot = loss.locator("svg.recharts-surface").first.bounding_box()
    with page.expect_download() as saved:
        loss.get_by_role("button", name="Save as PNG").click()
    saved.value.save_as(tmp_path / "loss.png")
    width, height = struct.unpack(">II", (tmp_path / "loss.png").read_bytes()[16:24])
    assert plot is not None
    assert width == pytest.approx(2 * plot["width"], abs=2)
    assert height >= 2 * (plot["height"] + 60), "title, runs and legend stand above the plot"


def test_chart_options_fold_on_a_phone(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page(f"/training?tab=metrics&runs={job['id']}", width=360, height=740)
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    expect(page.get_by_label("log y")).to_have_count(0)
    page.get_by_role("button", name="View", exact=True).click()
    page.get_by_label("log y").click()
    expect(page).to_have_url(re.compile("log=1"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="View (1)")).to_be_visible()
    tab(page, "Jobs").click()


def test_the_first_frame_comes_with_the_document_and_is_light(studio: Studio) -> None:
    document = studio.client.get(f"{studio.url}/").text
    assert "New training job" in document
    assert "<style>" in document
    files = re.findall(r'(?:src|href)="(/assets/[^"]+\.js)"', document)
    packed = studio.client.build_request("GET", studio.url, headers={"Accept-Encoding": "gzip"}).headers
    sizes = [int(studio.client.get(f"{studio.url}{file}", headers=packed).headers["content-length"]) for file in files]
    assert sum(sizes) < 350_000, dict(zip(files, sizes, strict=True))


def test_a_part_that_cannot_be_loaded_leaves_the_rest_and_comes_with_the_page(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page("/training?tab=models")
    watch_of(page).expect(r"ModelDetail|ERR_FAILED|Failed to fetch dynamically imported module|React error #520")
    page.route("**/ModelDetail-*.js", lambda route: route.abort())
    where = page.locator(f'[data-model-id="{job["model_id"]}"]')
    # Once the page helps itself; where that did not help, the person decides.
    with page.expect_navigation():
        where.get_by_role("heading").click()
    failed = page.get_by_role("dialog", name="A part of this page could not be loaded")
    expect(failed.get_by_role("alert")).to_contain_text("Training goes on")
    failed.get_by_role("button", name="Close").click()
    expect(where).to_be_visible()
    page.unroute("**/ModelDetail-*.js")
    where.get_by_role("heading").click()
    failed.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog", name=re.compile(job["name"]))).to_be_visible()


def test_a_new_model_appears_while_its_tab_is_open(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page("/training?tab=models")
    expect(page.get_by_role("button", name="Import model").first).to_be_visible()
    job = studio.wait_job(studio.create_job(studio.demo_id, job_name="made meanwhile", epochs=1, batch_size=512), {"completed"})
    expect(page.locator(f'[data-model-id="{job["model_id"]}"]')).to_be_visible()


def test_the_newest_runs_of_long_names_fit_a_phone(open_page: Callable[..., Page], served: Served) -> None:
    claim = served.claim(served.create_job(served.add_dataset(), job_name="W" * 255))
    served.record(claim, 1)
    page = open_page("/training?tab=metrics", width=360, studio=served)
    expect(page.get_by_role("button", name=re.compile(r"W+ running"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_job_is_offered_before_its_first_epoch_and_its_curve_comes_to_the_open_page(
    open_page: Callable[..., Page], served: Served
) -> None:
    dataset = served.add_dataset()
    page = open_page("/training?tab=metrics", studio=served)
    mark_document(page)
    expect(page.get_by_text("There is no job yet.")).to_be_visible()
    job_id = served.create_job(dataset, job_name="made elsewhere")
    page.get_by_role("combobox", name="Training job").click()
    expect(page.get_by_role("option", name="made elsewhere")).to_contain_text("Pending, no epoch yet")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="made elsewhere pending, no epoch yet").click()
    expect(page.get_by_text("The job waits for a worker.")).to_be_visible()
    claim = served.claim(job_id)
    expect(page.get_by_text("The first epoch is under way.")).to_be_visible()
    served.record(claim, 1)
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    expect_not_reloaded(page)


def test_a_run_that_ended_while_its_rows_could_not_be_had_is_whole_in_the_end(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("ends behind a cut", epochs=12, batch_size=512)
    page = open_page()
    watch_of(page).expect("status of 503")
    busy = {"status": 503, "json": {"code": "unavailable", "detail": "The server is busy."}}
    page.route(f"**/jobs/{job_id}/metrics*", lambda route: route.fulfill(**busy))
    page.goto(f"/training?tab=metrics&runs={job_id}")
    expect(page.get_by_text("The server is busy.")).to_be_visible()
    studio.wait_job(job_id, {"completed"})
    expect(page.get_by_text("0 gaps")).to_have_count(0)
    page.unroute(f"**/jobs/{job_id}/metrics*")
    expect(page.get_by_test_id("point-count")).to_have_text("12 points, 0 gaps", timeout=15_000)


LAYOUT = """() => {
  const box = (element) => element.getBoundingClientRect()
  const dialog = document.querySelector('[role=dialog]')
  return {dialog: box(dialog).toJSON(), plot: box(dialog.querySelector('svg.recharts-surface')).toJSON()}
}"""


def draw_run(served: Served, num_epochs: int, **values: Any) -> tuple[str, Claim]:
    claim = served.claim(served.create_job(served.add_dataset(), job_name="drawn", epochs=500))
    for epoch in range(1, num_epochs + 1):
        served.record(claim, epoch, **values)
    return claim.job_id, claim


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (360, 740)])
def test_a_chart_alone_on_the_screen_fills_it_and_escape_leaves_step_by_step(
    open_page: Callable[..., Page], served: Served, width: int, height: int
) -> None:
    job_id, _ = draw_run(served, 12)
    page = open_page(f"/training?tab=metrics&runs={job_id}", width=width, height=height, studio=served)
    chart(page, "Loss").get_by_role("button", name="Full screen").click()
    dialog = page.get_by_role("dialog", name="Loss")
    expect(curve(dialog, 0)).to_be_attached()
    settle(page)
    found = page.evaluate(LAYOUT)
    assert found["dialog"]["bottom"] - found["plot"]["bottom"] <= 16, found
    assert found["plot"]["height"] > 0.7 * found["dialog"]["height"], found
    # Zoomed, Escape shows all, as the cursor's name says; then it closes, whatever tooltip is open.
    dialog.get_by_role("slider").focus()
    page.keyboard.press("Home")
    page.keyboard.press("+")
    strip = page.get_by_test_id("zoom-strip")
    expect(strip).to_contain_text("Showing epochs")
    page.keyboard.press("Escape")
    expect(strip).not_to_contain_text("Showing epochs")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Show as a table").focus()
    expect(page.locator("[data-slot=tooltip]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(chart(page, "Loss").get_by_role("button", name="Full screen")).to_be_focused()
    expect(page.locator("[data-slot=tooltip]")).to_have_count(0)
    assert page.evaluate(IN_SIGHT), "nothing hangs over what has the focus"


IN_SIGHT = """() => {
  const at = document.activeElement.getBoundingClientRect()
  return document.activeElement.contains(document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2))
}"""


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (360, 740)])
def test_the_strip_stands_below_the_charts_and_hides_nothing_from_the_keyboard(
    open_page: Callable[..., Page], served: Served, width: int, height: int
) -> None:
    job_id, claim = draw_run(served, 12, learning_rate=1e-3, val_error_median_m=100.0, grad_norm=1.0)
    page = open_page(f"/training?tab=metrics&runs={job_id}&zoom=2..6", width=width, height=height, studio=served)
    strip = page.get_by_test_id("zoom-strip")
    expect(strip).to_contain_text("6 newer points outside the view.")
    charts = page.get_by_test_id("chart")
    expect(charts.first).to_be_visible()
    strip_box = strip.bounding_box()
    assert strip_box is not None
    assert strip_box["y"] + strip_box["height"] == pytest.approx(height, abs=1), "in sight, at the lower edge"
    assert strip.evaluate(
        "(strip) => [...document.querySelectorAll('[data-testid=chart]')].every("
        "(one) => one.compareDocumentPosition(strip) & Node.DOCUMENT_POSITION_FOLLOWING)"
    )
    for button in page.get_by_role("button", name="Full screen").all():
        button.focus()
        assert page.evaluate(IN_SIGHT)
    # A run that has ended gets no newer points: what is outside of its window is only outside.
    served.container.jobs.cancel(job_id)
    served.container.attempts.finish_cancelled(claim)
    page.reload()
    expect(strip).to_contain_text("Showing epochs 2 to 6.")
    expect(badge(page.get_by_test_id("run-panel"), "cancelled")).to_be_visible()
    expect(strip).not_to_contain_text("newer")


def test_the_time_that_is_left_fits_a_phone_and_the_step_gives_way(open_page: Callable[..., Page], served: Served) -> None:
    claim = served.claim(served.create_job(served.add_dataset(), job_name="long", epochs=5000))
    served.record(claim, 1234)
    page = open_page(width=360, studio=served)
    where = card(page, claim.job_id)
    expect(where).to_contain_text("epoch 1234 of 5000")
    left = datetime.now(UTC) + timedelta(hours=13, minutes=20)
    progress = {"progress_percent": 25.0, "total_batches": 4500, "estimated_completion": left}
    tick = Tick(job_id=claim.job_id, attempt=1, current_epoch=1235, batch=1021, timestamp=datetime.now(UTC), **progress)

    def is_said() -> bool:
        served.container.live.publish_tick(tick)
        return where.get_by_text("left").count() > 0

    wait_page(page, is_said, where.inner_text)
    expect(where).to_contain_text("step 1021 of 4500")
    assert where.get_by_text("left").evaluate("(one) => one.scrollWidth <= one.clientWidth"), "the time is not cut"
    assert where.evaluate("(card) => card.scrollWidth <= card.clientWidth")


def test_the_theme_is_that_of_the_browser_in_every_tab_of_it(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page()
    other = page.context.new_page()
    other.goto("/training")
    other.wait_for_selector("#root > [inert]", state="detached")
    page.get_by_role("button", name="Use the dark theme").click()
    expect(other.locator("html")).to_have_class(re.compile(r"\bdark\b"))
    expect(other.get_by_role("button", name="Use the light theme")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 360])
def test_a_long_name_stands_in_nothing_s_way(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    long = "unbreakable" * 20
    job = studio.finished_job()
    before = studio.get(f"/training/models/{job['model_id']}")["name"]
    studio.client.patch(f"/training/models/{job['model_id']}", json={"name": long})
    try:
        page = open_page(f"/training?tab=models&model={job['model_id']}", width=width)
        sheet = page.get_by_role("dialog")
        title = sheet.get_by_role("heading", name=re.compile("^unbreakable"))
        expect(title).to_be_visible()
        settle(page)  # it slides in
        end, close = title.bounding_box(), sheet.get_by_role("button", name="Close").bounding_box()
        assert end is not None
        assert close is not None
        assert end["x"] + end["width"] <= close["x"]
        # All of it can be read here, also without a pointer.
        assert title.evaluate("el => el.scrollHeight <= el.clientHeight + 1 && el.scrollWidth <= el.clientWidth + 1")
        page.keyboard.press("Escape")
        page.get_by_role("button", name=f"More for {long}").first.click()
        page.get_by_role("menuitem", name="Delete").click()
        question = page.get_by_role("alertdialog")
        expect(question).to_be_visible()
        assert question.evaluate("el => el.scrollWidth <= el.clientWidth")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    finally:
        studio.client.patch(f"/training/models/{job['model_id']}", json={"name": before})
