"""One test for each line of the document's 'Must Pass', in its order and named after it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.studio import (
    Studio,
    badge,
    card,
    chart,
    choose,
    curve,
    expect_not_reloaded,
    mark_document,
    num_points,
    number_in,
    settle,
    tab,
    toast,
    wait_page,
    watch_of,
)

THREE_CHARTS = ["Loss", "Accuracy within 1000 m (%)", "Learning rate (log)"]


def test_training_page_accessible_from_navigation(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page("/")
    expect(page).to_have_url(f"{studio.url}/training")
    link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Training")
    expect(link.locator("svg.lucide-brain")).to_be_visible()
    link.click()
    expect(page).to_have_url(f"{studio.url}/training")
    expect(page.get_by_role("heading", name="Training", exact=True)).to_be_visible()
    for name in ("Jobs", "Metrics", "Models"):
        tab(page, name).click()
        expect(tab(page, name)).to_have_attribute("aria-selected", "true")


def test_jobs_tab_displays_all_jobs_from_api(open_page: Callable[..., Page], studio: Studio) -> None:
    studio.finished_job()
    cancelled = studio.create_job(studio.demo_id, job_name="made by REST")
    studio.client.delete(f"/training/jobs/{cancelled}")
    studio.wait_job(cancelled, {"cancelled", "completed"})
    page = open_page()
    jobs = studio.jobs()
    expect(page.get_by_test_id("job-card")).to_have_count(len(jobs))
    for job in jobs:
        where = card(page, job["id"])
        expect(where.get_by_role("heading", name=job["name"])).to_be_visible()
        expect(badge(where, job["status"])).to_be_visible()
        expect(where).to_contain_text(f"epoch {job['current_epoch']} of {job['total_epochs']}")
        expect(where).to_contain_text(f"{job['config']['model_architecture']} · batch {job['config']['batch_size']}")


def test_create_job_dialog_works_triggers_celery_task(page: Page, studio: Studio) -> None:
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog", name="New training job")
    dialog.get_by_role("button", name=re.compile("^Quick")).click()
    dialog.get_by_label("Name", exact=True).fill("made in the dialog")
    choose(page, "Architecture", re.compile("^DeepSets, small"))
    expect(dialog.get_by_role("combobox", name="Data set")).to_contain_text("Demo: synchronized network")
    dialog.get_by_label("Epochs", exact=True).fill("3")
    dialog.get_by_label("Batch size").fill("512")
    expect(dialog.get_by_text(re.compile(r"\d+ steps \(\d+ an epoch\)"))).to_be_visible()
    dialog.get_by_role("button", name="Start training").click()
    expect(dialog).to_have_count(0)
    expect(toast(page, "Training job created")).to_be_visible()
    where = page.get_by_test_id("job-card").filter(has_text="made in the dialog").first
    expect(badge(where, "completed")).to_be_visible(timeout=120_000)
    expect(where).to_contain_text("epoch 3 of 3")
    # It went through the queue to a worker: the engine's own record says which attempt ran, and on what device.
    job = studio.get(f"/training/jobs/{where.get_attribute('data-job-id')}")
    assert (job["attempt"], job["config"]["epochs"], job["config"]["batch_size"]) == (1, 3, 512)
    assert job["started_at"] > job["created_at"]
    assert job["device"]["name"]


def test_job_cards_show_real_time_progress_websocket(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("watched card")
    page = open_page()
    where = card(page, job_id)
    expect(badge(where, "running")).to_be_visible()
    mark_document(page)
    held: list[Route] = []
    # From here on no list comes any more: what still moves the card is the socket.
    page.route("**/api/v1/training/jobs?*", lambda route: held.append(route))
    page.route(f"**/api/v1/training/jobs/{job_id}", lambda route: held.append(route))
    bar = where.get_by_role("progressbar")
    before_bar = float(bar.get_attribute("aria-valuenow") or "nan")
    before = number_in(where, r"epoch (\d+) of")
    wait_page(page, lambda: number_in(where, r"epoch (\d+) of") >= before + 5, lambda: where.inner_text())
    assert float(bar.get_attribute("aria-valuenow") or "nan") > before_bar
    expect_not_reloaded(page)
    watch = watch_of(page)
    assert [url for url in watch.open_sockets() if job_id in url], watch.open_sockets()
    shown = number_in(where, r"epoch (\d+) of")
    events = [json.loads(frame) for frame in watch.frames]
    assert {"connected", "training_progress"} <= {frame["event"] for frame in events}
    assert max(frame["data"].get("epoch", 0) for frame in events) >= shown
    page.unroute_all(behavior="ignoreErrors")
    for route in held:
        route.continue_()


def test_pause_resume_cancel_buttons_functional(page: Page, studio: Studio) -> None:
    job_id = studio.start_job("to be paused")
    where = card(page, job_id)
    where.get_by_role("button", name="Pause", exact=True).click()
    expect(toast(page, "Asked to pause “to be paused”")).to_be_visible()
    expect(badge(where, "paused")).to_be_visible()
    assert studio.get(f"/training/jobs/{job_id}")["status"] == "paused"
    expect(where.get_by_role("button", name="Pause", exact=True)).to_have_count(0)
    paused_at = number_in(where, r"epoch (\d+) of")

    where.get_by_role("button", name="Resume", exact=True).click()
    expect(badge(where, "running")).to_be_visible()
    wait_page(page, lambda: number_in(where, r"epoch (\d+) of") > paused_at, lambda: where.inner_text())
    assert studio.get(f"/training/jobs/{job_id}")["attempt"] == 2

    where.get_by_role("button", name="Cancel", exact=True).click()
    confirmation = page.get_by_role("alertdialog", name="Cancel “to be paused”?")
    expect(confirmation).to_contain_text("no model is made")
    confirmation.get_by_role("button", name="Keep it").click()
    expect(confirmation).to_have_count(0)
    assert studio.get(f"/training/jobs/{job_id}")["status"] == "running"
    where.get_by_role("button", name="Cancel", exact=True).click()
    confirmation.get_by_role("button", name="Cancel the job").click()
    expect(badge(where, "cancelled")).to_be_visible()
    assert studio.get(f"/training/jobs/{job_id}")["status"] == "cancelled"
    expect(where.get_by_role("button", name="Resume", exact=True)).to_have_count(0)


def test_metrics_tab_shows_charts_for_selected_job(page: Page, studio: Studio) -> None:
    job = studio.finished_job()
    tab(page, "Metrics").click()
    expect(page.get_by_role("heading", name="No job selected")).to_be_visible()
    page.get_by_role("combobox", name="Training job").click()
    page.get_by_role("option", name=job["name"], exact=True).first.click()
    rows = studio.metrics(page.url.rsplit("runs=")[1])
    for title, colours in zip(THREE_CHARTS, ["blue red", "green orange", "purple"], strict=True):
        where = chart(page, title)
        expect(where.get_by_role("heading", name=title)).to_be_visible()
        for index, colour in enumerate(colours.split()):
            line = curve(where, index)
            expect(line).to_have_attribute("stroke", f"var(--chart-{colour})")
            assert num_points(line) == len(rows)
    # What the chart says is what was measured: the table holds the last epoch's losses.
    loss = chart(page, "Loss")
    loss.get_by_role("button", name="Show as a table").click()
    last = rows[-1]
    cells = loss.get_by_role("row").filter(has=page.get_by_role("rowheader", name=str(last["epoch"]), exact=True)).get_by_role("cell")
    shown = [float(text) for text in cells.all_inner_texts()]
    assert shown == pytest.approx([last["train_loss"], last["val_loss"]], rel=1e-3)


def test_charts_update_in_real_time_during_training(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("watched charts")
    page = open_page(f"/training?tab=metrics&runs={job_id}")
    lines = [curve(chart(page, title), 0) for title in THREE_CHARTS]
    for line in lines:
        expect(line).to_be_attached()
    mark_document(page)
    before = [num_points(line) for line in lines]
    wait_page(
        page,
        lambda: all(num_points(line) >= was + 4 for line, was in zip(lines, before, strict=True)),
        lambda: f"points stay at {[num_points(line) for line in lines]}, were {before}",
    )
    expect(page.get_by_test_id("point-count")).to_contain_text("0 gaps")
    expect_not_reloaded(page)


def test_models_tab_lists_all_trained_models(open_page: Callable[..., Page], studio: Studio) -> None:
    studio.finished_job()
    page = open_page("/training?tab=models")
    models = studio.get("/training/models")["models"]
    expect(page.get_by_test_id("model-card")).to_have_count(len(models))
    for model in models:
        where = page.locator(f'[data-model-id="{model["id"]}"]')
        expect(where.get_by_role("heading", name=model["name"])).to_be_visible()
        expect(where).to_contain_text(f"v{model['version']}")
        expect(where).to_contain_text(model["architecture"])
        expect(where).to_contain_text("parameters")
        for name in ("Train loss", "Val loss", "Train accuracy", "Val accuracy"):
            expect(where).to_contain_text(name)
        expect(where.get_by_test_id("seal")).to_have_attribute("data-status", "verified")
    with page.expect_response(f"**/api/v1/training/models/{models[0]['id']}"):
        page.get_by_test_id("model-card").first.get_by_role("heading").get_by_role("button").click()
    detail = page.get_by_role("dialog")
    for section in ("Lineage", "Verification", "Quality on held-out examples", "Network"):
        expect(detail.get_by_role("heading", name=section)).to_be_visible()
    measured = studio.get(f"/training/models/{models[0]['id']}")["accuracy_breakdown"]
    by_receivers = detail.get_by_role("table", name="Error by receivers that heard")
    expect(by_receivers.get_by_role("rowheader")).to_have_text([group["label"] for group in measured["breakdowns"][0]["groups"]])
    expect(detail.get_by_role("img", name="68 % promised")).to_be_attached()


def export_model(page: Page, model_id: str, folder: Path, **choices: object) -> Path:
    """Export by the dialog, as a person does; returns the downloaded file."""
    page.locator(f'[data-model-id="{model_id}"]').get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name=re.compile("^Export"))
    for label in choices.get("without", ()):  # type: ignore[attr-defined]
        dialog.get_by_role("checkbox", name=str(label)).uncheck()
    if "num_samples" in choices:
        dialog.get_by_label("Number of samples").fill(str(choices["num_samples"]))
    if "description" in choices:
        dialog.get_by_label("Description (optional)").fill(str(choices["description"]))
    with page.expect_download() as waiting:
        dialog.get_by_role("button", name="Download").click()
    download = waiting.value
    assert download.failure() is None
    path = folder / download.suggested_filename
    download.save_as(path)
    expect(dialog).to_have_count(0)
    expect(toast(page, "Model exported")).to_contain_text(download.suggested_filename)
    return path


def test_export_dialog_downloads_heimdall_file(open_page: Callable[..., Page], studio: Studio, tmp_path: Path) -> None:
    model = studio.model_of(studio.finished_job()["id"])
    page = open_page("/training?tab=models")
    path = export_model(
        page, model["id"], tmp_path, without=["Training configuration"], num_samples=3, description="made by a browser test"
    )
    assert path.name == f"{model['name'].replace(' ', '-')}-v{model['version']}.heimdall"
    bundle = json.loads(path.read_text())
    assert bundle["format_version"].startswith("1.")
    assert bundle["bundle_metadata"]["description"] == "made by a browser test"
    assert bundle["model"]["architecture"] == model["architecture"]
    assert not bundle.get("training_config")
    assert bundle["performance_metrics"]
    assert bundle["normalization_stats"]
    assert len(bundle["sample_predictions"]) == 3


def test_import_dialog_accepts_heimdall_file(open_page: Callable[..., Page], studio: Studio, tmp_path: Path) -> None:
    job = studio.wait_job(studio.create_job(studio.demo_id, job_name="there and back", epochs=1, batch_size=512), {"completed"})
    page = open_page("/training?tab=models")
    path = export_model(page, job["model_id"], tmp_path)

    def bring_in() -> None:
        page.get_by_role("button", name="Import model").click()
        field = page.get_by_role("dialog", name="Import model").get_by_label("File")
        expect(field).to_have_attribute("accept", ".heimdall")
        field.set_input_files(path)
        page.get_by_role("button", name="Upload").click()

    dialog = page.get_by_role("dialog", name="Import model")
    bring_in()
    expect(dialog).to_contain_text("This very model is already here")
    expect(toast(page, "This model is already here")).to_be_visible()
    dialog.get_by_role("button", name="Close").first.click()

    # Without its model, the file alone brings it back.
    for model in studio.get("/training/models")["models"]:
        if model["name"] == "there and back":
            delete_model(page, model)
    expect(page.get_by_role("heading", name="there and back")).to_have_count(0)

    bring_in()
    expect(dialog.get_by_test_id("seal")).to_have_attribute("data-status", "verified")
    expect(dialog.get_by_test_id("seal")).to_contain_text("Verified here: 5/5")
    checks = dialog.get_by_role("listitem")
    assert checks.count() >= 4
    expect(checks.get_by_label("failed")).to_have_count(0)
    dialog.get_by_role("button", name="Show the model").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="there and back v1")).to_be_visible()
    assert {model["name"]: model["verification"]["status"] for model in studio.get("/training/models")["models"]}[
        "there and back"
    ] == "verified"


def delete_model(page: Page, model: dict[str, Any]) -> None:
    where = page.locator(f'[data-model-id="{model["id"]}"]')
    where.get_by_role("button", name=f"More for {model['name']}").click()
    page.get_by_role("menuitem", name="Delete").click()
    confirmation = page.get_by_role("alertdialog")
    if model["training_job_id"] is not None:  # its job shows it, and the page knows: the name is asked for before anything is refused
        expect(confirmation.get_by_role("button", name="Delete the model")).to_be_disabled()
        confirmation.get_by_label(f"Type “{model['name']}” to delete it all the same").fill(model["name"])
    confirmation.get_by_role("button", name="Delete the model").click()
    expect(where).to_have_count(0)


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_all_components_responsive(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    job = studio.finished_job()
    studio.start_job("a job with a rather long name, as people write them when they try many things in one afternoon")
    page = open_page(width=width, height=740)
    expect(page.get_by_test_id("job-card").first).to_be_visible()
    expect_to_fit(page, "jobs")
    cards = page.get_by_test_id("job-card")
    tops = [box["y"] for box in (cards.nth(index).bounding_box() for index in range(2)) if box]
    assert (len(set(tops)) == 2) is (width == 360), "one column on a phone, more elsewhere"
    page.get_by_role("button", name="New training job").first.click()
    expect(page.get_by_role("dialog").get_by_role("combobox", name="Data set")).to_contain_text("Demo")
    page.get_by_role("dialog").get_by_text("Advanced").click()
    expect_to_fit(page, "create dialog")
    page.keyboard.press("Escape")

    page.goto(f"/training?tab=metrics&runs={job['id']}")
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    expect_to_fit(page, "metrics")
    page.goto(f"/training?tab=models&model={job['model_id']}")
    expect(page.get_by_role("dialog").get_by_role("heading", name="Network")).to_be_visible()
    expect_to_fit(page, "model detail")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_test_id("model-card").first).to_be_visible()
    expect_to_fit(page, "models")
    page.locator(f'[data-model-id="{job["model_id"]}"]').get_by_role("button", name="Export").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect_to_fit(page, "export dialog")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Import model").click()
    expect(page.get_by_role("dialog", name="Import model")).to_be_visible()
    expect_to_fit(page, "import dialog")


TOO_SMALL = """() => {
  const seen = (el) => el.checkVisibility({opacityProperty: true, visibilityProperty: true})
  const scope = document.querySelector('[role=dialog], [role=alertdialog]') ?? document
  const found = []
  for (const el of scope.querySelectorAll('button, a[href], input, [role=combobox], [role=tab], [role=checkbox], summary')) {
    if (!seen(el) || el.closest('[aria-hidden=true]')) continue
    const box = el.getBoundingClientRect()
    if (box.width <= 1 || box.height <= 1 || getComputedStyle(el).clipPath !== 'none') continue
    // A target may reach further than what is drawn: as a pseudo-element over its surroundings, or by its label.
    const after = getComputedStyle(el, '::after')
    const grown = after.content !== 'none' && after.position === 'absolute'
    const height = grown ? Math.max(box.height, parseFloat(after.height) || 0) : box.height
    const width = grown ? Math.max(box.width, parseFloat(after.width) || 0) : box.width
    if (height < 43.5 || width < 43.5)
      found.push(`${el.getAttribute('aria-label') ?? (el.textContent.trim().slice(0, 30) || el.outerHTML.slice(0, 80))}: `
        + `${Math.round(width)}x${Math.round(height)}`)
  }
  return found
}"""


def expect_to_fit(page: Page, place: str) -> None:
    """Nothing reaches beyond the window's edge, and on a phone every target is big enough for a thumb."""
    settle(page)
    wide = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1], f"{place} scrolls sideways: {wide}"
    outside = page.evaluate(
        """() => [...document.querySelectorAll('[role=dialog] *, main *')].filter(el => {
             const box = el.getBoundingClientRect()
             return box.width > 0 && box.right > innerWidth + 1 && el.checkVisibility() && !el.closest('[data-scrolls], pre')
               && ![...ancestors(el)].some(up => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(up).overflowX))
           }).map(el => el.outerHTML.slice(0, 120))
           function* ancestors(el) { for (let up = el.parentElement; up && up !== document.body; up = up.parentElement) yield up }"""
    )
    assert not outside, f"{place}: {outside}"
    if page.viewport_size and page.viewport_size["width"] < 600:
        small = page.evaluate(TOO_SMALL)
        assert not small, f"{place}, targets under 44 px: {small}"


def test_error_handling_shows_user_friendly_messages(page: Page, studio: Studio, tmp_path: Path) -> None:
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog", name="New training job")
    epochs = dialog.get_by_label("Epochs", exact=True)
    epochs.fill("0")
    dialog.get_by_role("button", name="Start training").click()
    expect(epochs).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_text(re.compile(r"(between 1 and 100|at least 1|1 to 100)")).first).to_be_visible()

    # What only the engine can know comes back and stands at its field; the dialog stays open with all that was typed.
    watch_of(page).expect("status of 422")
    epochs.fill("7")
    dialog.get_by_text("Advanced").click()
    choose(page, "Device", "cuda")
    dialog.get_by_role("button", name="Start training").click()
    device = dialog.get_by_role("combobox", name="Device")
    expect(device).to_have_attribute("aria-invalid", "true")
    note = page.locator(f'[id="{device.get_attribute("aria-describedby")}"]')
    expect(note).to_have_text("This machine has no CUDA device. Choose “auto” or “cpu”.")
    expect(epochs).to_have_value("7")
    page.keyboard.press("Escape")

    tab(page, "Models").click()
    broken = tmp_path / "broken.heimdall"
    broken.write_text('{"format_version": "1.0.0"')
    page.get_by_role("button", name="Import model").click()
    page.get_by_label("File").set_input_files(broken)
    page.get_by_role("button", name="Upload").click()
    refusal = page.get_by_role("dialog", name="Import model").get_by_role("alert")
    expect(refusal).to_contain_text("Nothing was stored")
    expect(toast(page, "was not imported")).to_have_count(0)
    expect(page.get_by_role("button", name="Upload")).to_be_disabled()
    text = page.locator("body").inner_text()
    assert not re.search(r"Oops|Something went wrong|undefined|\[object|Traceback|status code", text)


def test_error_handling_names_a_server_that_is_away(page: Page, studio: Studio) -> None:
    studio.finished_job()
    expect(page.get_by_test_id("job-card").first).to_be_visible()
    watch_of(page).expect("ERR_INTERNET_DISCONNECTED|ERR_FAILED")
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog", name="New training job")
    expect(dialog.get_by_role("combobox", name="Data set")).to_contain_text("Demo")
    page.context.set_offline(True)
    dialog.get_by_role("button", name="Start training").click()
    message = "The server does not answer. Check that Heimdall is running, then try again."
    expect(dialog.get_by_role("alert").filter(has_text=re.compile(f"^{message}"))).to_be_visible()
    page.context.set_offline(False)
    # The same intention, sent again: one job, not two.
    before = {job["id"] for job in studio.jobs()}
    dialog.get_by_role("button", name="Start training").click()
    expect(dialog).to_have_count(0)
    assert len({job["id"] for job in studio.jobs()} - before) == 1
