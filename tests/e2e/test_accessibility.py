"""Everybody can use the page: axe on every tab in both themes, the keyboard alone, reduced motion."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.e2e.studio import Studio, badge, card, chart, curve, settle, tab, toast, watch_of

AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page, place: str) -> list[str]:
    assert AXE.is_file(), "axe-core is not installed: run `npm --prefix frontend ci`"
    settle(page)  # what fades in has not its own colour yet
    page.evaluate(AXE.read_text())
    found = page.evaluate("(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags}})", RULES)
    return [
        f"{place}: {one['id']} ({one['impact']}): {one['help']}: " + "; ".join(node["html"][:160] for node in one["nodes"][:3])
        for one in found["violations"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(open_page: Callable[..., Page], studio: Studio, theme: str) -> None:
    job = studio.finished_job()
    running = studio.start_job("running while axe looks")
    page = open_page(theme=theme)
    expect(badge(card(page, running), "running")).to_be_visible()
    found = violations(page, "jobs")
    page.get_by_role("button", name="New training job").first.click()
    expect(page.get_by_role("dialog").get_by_role("combobox", name="Data set")).to_contain_text("Demo")
    page.get_by_role("dialog").get_by_text("Advanced").click()
    found += violations(page, "create dialog")
    page.keyboard.press("Escape")
    card(page, running).get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("alertdialog")).to_be_visible()
    found += violations(page, "confirmation")
    page.get_by_role("alertdialog").get_by_role("button", name="Keep it").click()

    page.goto(f"/training?tab=metrics&runs={job['id']}")
    expect(curve(chart(page, "Loss"), 0)).to_be_attached()
    found += violations(page, "metrics")
    chart(page, "Loss").get_by_role("button", name="Show as a table").click()
    found += violations(page, "table of a chart")

    page.goto("/training?tab=models")
    expect(page.get_by_test_id("model-card").first).to_be_visible()
    found += violations(page, "models")
    page.locator(f'[data-model-id="{job["model_id"]}"]').get_by_role("button", name="Export").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found += violations(page, "export dialog")
    page.goto(f"/training?tab=models&model={job['model_id']}")
    expect(page.get_by_role("dialog").get_by_role("heading", name="Network")).to_be_visible()
    found += violations(page, "model detail")
    assert not found, "\n".join(found)


def test_a_job_is_made_by_keyboard_alone(page: Page, studio: Studio) -> None:
    expect(page.get_by_role("heading", name="Training", exact=True)).to_be_visible()
    tab_to(page, "Skip to the content", limit=1)
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="New training job")
    name = dialog.get_by_label("Name", exact=True)
    expect(name).to_be_focused()
    expect(dialog.get_by_role("combobox", name="Data set")).to_contain_text("Demo")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("by keyboard alone")
    tab_to(page, "Architecture")
    page.keyboard.press("Enter")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("combobox", name="Architecture")).to_be_focused()
    for label, value in (("Epochs", "2"), ("Batch size", "512")):
        tab_to(page, label)
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type(value)
    tab_to(page, "Start training")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    made = page.get_by_test_id("job-card").filter(has_text="by keyboard alone").first
    expect(made).to_be_visible()
    job = studio.get(f"/training/jobs/{made.get_attribute('data-job-id')}")
    assert (job["total_epochs"], job["config"]["batch_size"]) == (2, 512)
    # Focus is always to be seen, and never lost to the body.
    page.keyboard.press("Tab")
    outline = page.evaluate("() => [document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]")
    assert outline[0] != "BODY"
    assert outline[1] != "none"


FOCUSED = """() => {
  const el = document.activeElement
  const label = el.getAttribute('aria-label') ?? el.labels?.[0]?.textContent ?? el.textContent
  return label.trim()
}"""


def tab_to(page: Page, label: str, limit: int = 40) -> None:
    """Press Tab until the control with this name has the focus."""
    passed = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        if passed[-1] == label:
            return
    raise AssertionError(f"Tab never reached {label!r}: {passed}")


def test_reduced_motion_is_respected(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job("without motion")
    page = open_page(reduced_motion="reduce")
    indicator = card(page, job_id).locator('[data-slot="progress-indicator"]')
    expect(indicator).to_be_visible()
    duration = indicator.evaluate("(bar) => getComputedStyle(bar).transitionDuration")
    assert float(duration.removesuffix("s")) < 0.01
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog", name="New training job")
    expect(dialog).to_be_visible()
    assert float(dialog.evaluate("(el) => getComputedStyle(el).animationDuration").removesuffix("s")) < 0.01
    moving = page.evaluate("() => document.getAnimations().filter(one => one.playState === 'running').length")
    assert moving == 0


def test_a_closed_dialog_gives_the_focus_back(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page()
    for opener in (
        page.get_by_role("button", name="New training job").first,
        page.locator(f'[data-job-id="{job["id"]}"]').get_by_role("button", name="More"),
    ):
        opener.focus()
        page.keyboard.press("Enter")
        if page.get_by_role("menu").count():
            page.get_by_role("menuitem", name="Delete").focus()
            page.keyboard.press("Enter")
        expect(page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))).to_have_count(0)
        expect(opener).to_be_focused()


def test_the_focus_never_falls_to_the_page(open_page: Callable[..., Page], studio: Studio) -> None:
    """To the new job's card after its making, to the next card after a deletion, to the tab where nothing opened the dialog."""
    ended = [studio.create_job(studio.demo_id, job_name=f"goes {name}", epochs=50) for name in ("first", "second", "third")]
    for job_id in ended:
        studio.client.delete(f"/training/jobs/{job_id}")
        studio.wait_job(job_id, {"cancelled"})
    page = open_page()
    expect(card(page, ended[0])).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(tab(page, "Jobs")).to_be_focused()

    # The newest stand first: the card after the second's is the first's.
    card(page, ended[1]).get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    page.get_by_role("alertdialog").get_by_role("button", name="Delete the job").focus()
    page.keyboard.press("Enter")
    expect(card(page, ended[1])).to_have_count(0)
    expect(card(page, ended[0]).get_by_role("heading").get_by_role("button")).to_be_focused()

    page.keyboard.press("n")
    name = page.get_by_role("dialog").get_by_label("Name", exact=True)
    expect(name).not_to_have_value("")
    name.fill("takes the focus")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="takes the focus", exact=True)).to_be_focused()


def test_an_error_is_closed_by_escape(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page()
    watch_of(page).expect("status of 503|503")
    job_id = studio.start_job("cannot be paused")
    expect(card(page, job_id)).to_be_visible()
    refusal = json.dumps({"code": "unavailable", "detail": "The database does not answer."})
    page.route("**/training/pause/*", lambda route: route.fulfill(status=503, content_type="application/json", body=refusal))
    for _ in range(2):
        card(page, job_id).get_by_role("button", name="Pause", exact=True).click()
    error = toast(page, "The database does not answer.")
    expect(error).to_have_count(1)
    expect(error).to_contain_text("(2 times)")
    page.keyboard.press("Escape")
    expect(error).to_have_count(0)
