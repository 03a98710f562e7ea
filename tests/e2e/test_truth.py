"""What the page claims holds when processes die, tabs reload and many components look at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.studio import Studio, badge, card, chart, curve, expect_not_reloaded, mark_document, num_points, tab, wait_page, watch_of

AWAY = (
    "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED|WebSocket connection to|ERR_CONNECTION_CLOSED"
)
"""What a browser prints of a server that was killed on purpose."""


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An instance whose processes these tests kill."""
    patience = {"HEIMDALL_LEASE_S": "10", "HEIMDALL_SILENCE_NOTICE_S": "5"}
    instance = Studio(tmp_path_factory.mktemp("frail") / "data", {"HEIMDALL_SEED_DEMO": "true", **patience})
    try:
        instance.start()
        instance.wait_demo()
        yield instance
        instance.cancel_active()
        assert instance.stop() == 0
    finally:
        instance.kill_everything()
        instance.client.close()


def kill(process: psutil.Process | None) -> None:
    assert process is not None
    process.kill()


def freshness(page: Page):
    return page.get_by_test_id("freshness")


def drawn_epochs(page: Page) -> list[int]:
    """Return the epochs of the loss chart as its table lists them, oldest first."""
    loss = chart(page, "Loss")
    button = loss.get_by_role("button", name="Show as a table")
    button.click()
    texts = loss.get_by_role("rowheader").all_inner_texts()
    button.click()
    return [int(re.sub(r"\s", "", text)) for text in reversed(texts)]


def test_api_killed_while_watching_is_said_and_caught_up_without_gap_or_double(open_page: Callable[..., Page], frail: Studio) -> None:
    job_id = frail.start_job("through a crash of the server", epochs=400, batch_size=512)
    page = open_page(f"/training?tab=metrics&runs={job_id}", studio=frail)
    watch_of(page).expect(AWAY)
    line = curve(chart(page, "Loss"), 0)
    expect(line).to_be_attached()
    expect(freshness(page).get_by_role("status")).to_have_text("Live")
    mark_document(page)
    before = num_points(line)
    api = frail.find_process("heimdall.api")
    kill(api)
    expect(freshness(page)).to_contain_text(re.compile(r"Reconnecting, showing data to \d\d:\d\d:\d\d"))
    expect(freshness(page)).to_have_attribute("data-tone", "warning")
    expect(line).to_be_attached()  # what was known stays on the page
    expect(freshness(page).get_by_role("status")).to_have_text("Live", timeout=60_000)
    wait_page(page, lambda: num_points(line) >= before + 6, lambda: f"{num_points(line)} points, were {before}")
    frail.client.post(f"/training/pause/{job_id}")
    frail.wait_job(job_id, {"paused"})
    rows = frail.metrics(job_id)
    expect(page.get_by_test_id("point-count")).to_have_text(f"{len(rows)} points, 0 gaps")
    epochs = drawn_epochs(page)
    assert epochs == [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    expect_not_reloaded(page)
    assert frail.find_process("heimdall.api").pid != api.pid


def test_worker_killed_is_said_then_healed(open_page: Callable[..., Page], frail: Studio) -> None:
    job_id = frail.start_job("through a crash of its loop", batch_size=256)
    page = open_page(studio=frail)
    where = card(page, job_id)
    expect(badge(where, "running")).to_be_visible()
    mark_document(page)
    kill(frail.find_process("heimdall.worker.child", job_id))
    # Back to pending with its checkpoint, then on by itself: attempt 2.
    frail.wait_job(job_id, lambda job: job["attempt"] == 2 and job["status"] == "running")
    expect(badge(where, "running")).to_be_visible()
    at = frail.get(f"/training/jobs/{job_id}")["current_epoch"]
    expect(where).to_contain_text(re.compile("epoch"))
    frail.wait_job(job_id, lambda job: job["current_epoch"] > at + 1)
    expect_not_reloaded(page)
    where.get_by_role("heading").get_by_role("button").click()
    expect(page.get_by_test_id("run-panel")).to_contain_text(re.compile(r"Attempts\s*2"))
    expect(page.get_by_test_id("point-count")).to_contain_text("0 gaps")
    # The crash stands in the curve where it happened.
    expect(chart(page, "Loss").get_by_text("✕").first).to_be_attached()
    events = [frame["event"] for frame in frail.events(job_id)]
    assert "training_requeued" in events
    frail.client.delete(f"/training/jobs/{job_id}")


def test_a_worker_that_hangs_is_said(open_page: Callable[..., Page], frail: Studio) -> None:
    job_id = frail.start_job("silent", batch_size=256)
    page = open_page(studio=frail)
    expect(freshness(page).get_by_role("status")).to_have_text("Live")
    worker = frail.find_process("heimdall.worker.main")
    assert worker is not None
    frozen = [worker, *worker.children(recursive=True)]
    frail.freeze(*frozen)
    try:
        where = card(page, job_id)
        expect(freshness(page)).to_have_text(re.compile(r"^Worker silent \d+ s$"))
        expect(freshness(page)).to_have_attribute("data-tone", "warning")
        # Then its lease runs out, and the job waits for a worker again.
        expect(where.get_by_text("waiting for a worker")).to_be_visible(timeout=60_000)
        expect(freshness(page)).to_have_text(re.compile(r"^Waiting for a worker \d+ s$"))
        expect(freshness(page)).to_have_attribute("data-tone", "warning")
    finally:
        for process in frozen:
            process.resume()
    frail.wait_job(job_id, lambda job: job["status"] == "running" and job["attempt"] == 2)
    expect(badge(where, "running")).to_be_visible()
    expect(freshness(page).get_by_role("status")).to_have_text("Live")
    frail.client.delete(f"/training/jobs/{job_id}")
    frail.wait_job(job_id, {"cancelled"})


def test_a_training_process_that_hangs_is_said_while_its_worker_lives(open_page: Callable[..., Page], frail: Studio) -> None:
    job_id = frail.start_job("hung", batch_size=256)
    page = open_page(studio=frail)
    where = card(page, job_id)
    expect(freshness(page).get_by_role("status")).to_have_text("Live")
    expect(freshness(page)).to_have_text(re.compile(r"^Live, \d+\.\d s behind$"))
    child = frail.find_process("heimdall.worker.child", job_id)
    assert child is not None
    height = where.evaluate("card => card.offsetHeight")
    frail.freeze(child)
    try:
        expect(where).to_contain_text("The training process was stopped from outside, and no step for more than 5 s.")
        expect(where).to_contain_text("ends this attempt at 600 s")
        assert where.evaluate("card => card.offsetHeight") == height
        expect(badge(where, "running")).to_be_visible()
        expect(freshness(page)).to_have_text(re.compile(r"^Worker silent \d+ s$"))
        expect(where).not_to_contain_text(re.compile(r"left\b|finishing"))
        page.reload()  # it is the engine's word, not this page's memory
        expect(freshness(page)).to_have_text(re.compile(r"^Worker silent \d+ s$"))
        page.set_viewport_size({"width": 360, "height": 740})
        expect(freshness(page)).to_have_text(re.compile(r"^Worker silent \d+ s$"))
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    finally:
        child.resume()
    expect(freshness(page).get_by_role("status")).to_have_text("Live")
    expect(where.get_by_text("no step for more than")).to_have_count(0)
    assert frail.get(f"/training/jobs/{job_id}")["attempt"] == 1
    frail.client.delete(f"/training/jobs/{job_id}")
    frail.wait_job(job_id, {"cancelled"})


def test_one_socket_per_job_however_many_look(open_page: Callable[..., Page], studio: Studio) -> None:
    first, second = studio.start_job("one socket"), studio.start_job("another socket")
    page = open_page()
    watch = watch_of(page)
    expect(badge(card(page, first), "running")).to_be_visible()
    expect(badge(card(page, second), "running")).to_be_visible()
    for _ in range(4):
        tab(page, "Metrics").click()
        expect(page.get_by_role("combobox", name="Training job")).to_be_visible()
        tab(page, "Jobs").click()
        expect(card(page, first)).to_be_visible()
    page.goto(f"/training?tab=metrics&runs={first},{second}")
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    page.get_by_test_id("run-panel").first.get_by_role("button", name="one socket").click()
    page.get_by_test_id("run-panel").first.get_by_role("button", name="Log").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    tab(page, "Jobs").click()
    expect(card(page, first)).to_be_visible()
    wait_page(page, lambda: len(watch.open_sockets()) == 2, lambda: f"open: {watch.open_sockets()}")
    for job_id in (first, second):
        opened = [socket.url for socket in watch.sockets if job_id in socket.url]
        # Two documents were loaded, each opened one; looking from elsewhere opened none.
        assert len(opened) == 2, opened


def test_a_cancelled_job_whose_card_is_filtered_away_keeps_no_socket(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("cancelled out of sight")
    page = open_page("/training?status=running")
    watch = watch_of(page)
    where = card(page, job_id)
    expect(badge(where, "running")).to_be_visible()
    wait_page(page, lambda: len(watch.open_sockets()) == 1, lambda: f"open: {watch.open_sockets()}")
    where.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel the job").click()
    expect(where).to_have_count(0)
    wait_page(page, lambda: not watch.open_sockets(), lambda: f"open: {watch.open_sockets()}")
    studio.wait_job(job_id, {"cancelled"})
    assert studio.client.delete(f"/training/jobs/{job_id}").status_code == 204
    page.goto("/training")
    expect(card(page, job_id)).to_have_count(0)
    wait_page(page, lambda: not watch.open_sockets(), lambda: f"open: {watch.open_sockets()}")


def test_view_state_is_restored_by_reload_and_back(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page()
    card(page, job["id"]).get_by_role("heading").get_by_role("button").click()
    expect(tab(page, "Metrics")).to_have_attribute("aria-selected", "true")
    page.get_by_label("log y").click()
    expect(page.get_by_label("log y")).to_be_checked()
    cursor = chart(page, "Loss").get_by_role("slider")
    cursor.focus()
    page.keyboard.press("Home")
    page.keyboard.press("+")
    expect(page.get_by_test_id("zoom-strip")).to_contain_text("Showing epochs")
    expect(page).to_have_url(re.compile("zoom="))
    address = page.url
    words = page.get_by_test_id("zoom-strip").inner_text()
    page.reload()
    expect(page.get_by_test_id("zoom-strip")).to_have_text(re.compile(re.escape(words.split(".")[0].split("\n")[-1])))
    expect(page.get_by_label("log y")).to_be_checked()
    assert page.url == address
    page.go_back()
    expect(tab(page, "Jobs")).to_have_attribute("aria-selected", "true")
    page.go_forward()
    expect(page).to_have_url(address)
    expect(page.get_by_label("log y")).to_be_checked()
    tab(page, "Jobs").click()
    page.get_by_role("searchbox").fill("finished")
    expect(page).to_have_url(re.compile("q=finished"))
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("finished")
    expect(card(page, job["id"])).to_be_visible()


def test_tab_title_shows_progress(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("in the title", epochs=40)
    page = open_page()
    expect(page).to_have_title(re.compile(r"^\d+ % · in the title · Heimdall$"))
    first = int(page.title().split(" ")[0])
    wait_page(page, lambda: int(re.findall(r"\d+", page.title())[0]) > first, page.title)
    studio.client.delete(f"/training/jobs/{job_id}")
    expect(page).to_have_title("Training · Heimdall")
