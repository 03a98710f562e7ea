"""What a synthetic data set can reach is told in the create dialog, before anybody trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.studio import Studio, choose, number_in
from tests.e2e.test_accessibility import violations

MEASURED = "measured by hand"


@pytest.fixture(scope="module")
def measured(studio: Studio) -> Iterator[None]:
    """An imported data set, for as long as these tests run: the dialog offers the newest first, and other tests want the demo."""
    rows = ["example_id,receiver_id,receiver_latitude,receiver_longitude,rssi_dbm,tx_latitude,tx_longitude"]
    for place in range(30):
        for receiver, lat, lon in (("a", 45.0, 7.6), ("b", 45.05, 7.7), ("c", 45.1, 7.6)):
            rows.append(f"{place},{receiver},{lat},{lon},{-60 - (place + ord(receiver)) % 20},{45.0 + place / 300},{7.6 + place / 400}")
    files = [("file", ("rows.csv", "\n".join(rows).encode(), "text/csv"))]
    answer = studio.client.post("/training/datasets", data={"kind": "rssi-csv", "name": MEASURED}, files=files)
    assert answer.status_code == 201, answer.text
    dataset = studio.wait_dataset(answer.json()["id"])
    yield
    assert studio.client.delete(f"/training/datasets/{dataset['id']}").status_code == 204


def open_dialog(page: Page) -> Locator:
    page.get_by_role("button", name="New training job").first.click()
    dialog = page.get_by_role("dialog", name="New training job")
    expect(dialog.get_by_role("combobox", name="Data set")).not_to_contain_text("Choose")
    return dialog


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (360, "dark")])
def test_the_create_dialog_says_what_can_be_reached(open_page: Callable[..., Page], studio: Studio, width: int, theme: str) -> None:
    config = studio.get(f"/training/datasets/{studio.demo_id}")["config"]
    truth = studio.client.post("/training/datasets/preview", params={"target_m": 200}, json=config).json()
    page = open_page(width=width, theme=theme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/datasets/preview" in request.url else None)
    dialog = open_dialog(page)
    fold = dialog.locator('[data-slot="fold"]').filter(has_text="What can be reached")

    choose(page, "Data set", re.compile(MEASURED))
    expect(fold).to_have_count(0)
    choose(page, "Data set", re.compile("Demo"))
    expect(fold).to_be_visible()
    assert asked == [], "asked before anybody wanted to know"

    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(fold.get_by_role("columnheader", name="±30 m needs")).to_be_visible()
    page.keyboard.press("Tab")
    target = fold.get_by_label("Target radius (m)")
    expect(target).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.insert_text("200")
    page.keyboard.press("Enter")
    expect(fold.get_by_role("columnheader", name="±200 m needs")).to_be_visible()
    expect(dialog, "Enter in the radius started the training").to_be_visible()
    assert len(asked) == 2, asked

    for sentence in truth["sentences"]:
        expect(fold.get_by_text(sentence)).to_be_visible()
    rows = fold.get_by_role("table").locator("tbody tr")
    expect(rows).to_have_count(len(truth["by_receivers"]))
    most = truth["by_receivers"][-1]
    assert number_in(rows.last, r"([\d.]+) %") == pytest.approx(100 * most["share"], abs=0.5)
    assert number_in(rows.last, r"([\d.]+) m\b") == pytest.approx(most["error_p68_m"], rel=5e-3)
    assert number_in(rows.last, r"([\d.]+) ns") == pytest.approx(most["timing_needed_ns"], rel=5e-3)
    causes = fold.get_by_role("region", name="Error of an arrival by cause")
    expect(causes.locator("dd")).to_have_count(len(truth["arrival_sigma_ns"]))
    expect(fold.get_by_text(truth["physical_limit"]["assumptions"])).to_be_visible()

    overflow = "(body) => [body, ...body.querySelectorAll('*')].some(one => one.scrollWidth > one.clientWidth + 1)"
    assert not dialog.locator('[data-slot="dialog-body"]').evaluate("(body) => body.scrollWidth > body.clientWidth"), (
        "wider than its dialog"
    )
    assert not fold.get_by_role("table").evaluate(overflow), "a figure is cut"
    assert not (found := violations(page, f"what can be reached, {theme}")), "\n".join(found)

    target.fill("0")
    expect(fold.get_by_text("Allowed: more than 0, at most 1 000 000.")).to_be_visible()
    assert len(asked) == 2, "asked for no radius"
