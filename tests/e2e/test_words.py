"""Long names, odd searches, downloads and targets: what a person meets who does not do the expected."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.studio import Studio, card, chart
from tests.instance import wait_until

LONG_NAME = ("a name in which somebody wrote down every setting, " * 6)[:255].strip()


def test_a_name_of_255_letters_leaves_a_dialog_readable_on_a_phone(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.start_job(LONG_NAME)
    page = open_page(width=360, height=740)
    card(page, job_id).get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("alertdialog")
    title = dialog.get_by_role("heading")
    expect(title).to_have_text(f"Cancel “{LONG_NAME}”?")
    assert title.evaluate("node => node.scrollHeight <= node.clientHeight && node.scrollWidth <= node.clientWidth"), "all of it is read"
    expect(dialog.get_by_role("button", name="Cancel the job")).to_be_in_viewport()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_the_box_of_a_card_takes_a_finger(open_page: Callable[..., Page], studio: Studio) -> None:
    job_id = studio.finished_job()["id"]
    page = open_page(width=360, height=740)
    box = card(page, job_id).get_by_role("checkbox")
    box.scroll_into_view_if_needed()
    hits = box.evaluate(
        "node => { const at = node.getBoundingClientRect(), x = at.x + at.width / 2, y = at.y + at.height / 2;"
        " return [[-21, 0], [21, 0], [0, -21], [0, 21]].map(([dx, dy]) => node.contains(document.elementFromPoint(x + dx, y + dy))) }"
    )
    assert hits == [True] * 4, "44 px around its middle"


def test_a_comparison_that_is_none_says_how_to_search(open_page: Callable[..., Page], studio: Studio) -> None:
    studio.finished_job()
    page = open_page()
    page.get_by_role("searchbox").fill("loss<<")
    expect(
        page.get_by_text("“loss<<” is no comparison. Write a name, a sign and a number without spaces, such as loss<0.1.")
    ).to_be_visible()


def test_downloads_are_named_after_their_run(open_page: Callable[..., Page], studio: Studio) -> None:
    job = studio.finished_job()
    page = open_page(f"/training?tab=metrics&runs={job['id']}")
    loss = chart(page, "Loss")
    with page.expect_download() as table:
        loss.get_by_role("link", name=re.compile("CSV")).click()
    assert table.value.suggested_filename == "finished-metrics.csv"
    with page.expect_download() as picture:
        loss.get_by_role("button", name=re.compile("PNG")).click()
    assert picture.value.suggested_filename == "finished-Loss.png"


def test_a_data_set_that_failed_is_explained_and_removed(open_page: Callable[..., Page], studio: Studio) -> None:
    answer = studio.client.post(
        "/training/datasets", data={"kind": "rssi-csv", "name": "broken import"}, files=[("file", ("a.csv", b"nothing,here\n1,2\n"))]
    )
    dataset_id = answer.json()["id"]
    wait_until(lambda: studio.get(f"/training/datasets/{dataset_id}")["status"] == "failed", 60, studio.log_tail)
    page = open_page(width=360, height=740)
    page.get_by_role("button", name="New training job").first.click()
    page.get_by_text("1 data set could not be made").click()
    failed = page.get_by_role("list", name="Data sets that could not be made").get_by_role("listitem")
    expect(failed).to_contain_text("“broken import” could not be made.")
    expect(failed).to_contain_text("lacks the column(s)")
    failed.get_by_role("button", name="Remove it").click()
    expect(failed).to_have_count(0)
    assert studio.client.get(f"/training/datasets/{dataset_id}").status_code == 404


def test_the_slider_has_the_colours_of_the_dark_theme(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page(f"/training?tab=metrics&runs={studio.finished_job()['id']}", theme="dark")
    slider = page.get_by_role("slider", name="smoothing")
    expect(slider).to_be_visible()
    assert slider.evaluate("node => getComputedStyle(node).appearance") == "none", "the browser would paint a light rail"
