"""The curves read well: labels and signs apart and whole, names that tell the lines, a view that its address keeps, at every width."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.studio import Studio, chart, choose, curve, settle, watch_of
from tests.e2e.test_accessibility import violations
from tests.serving import Served, make_container, serve

NAME = "north valley receivers, deep sets with attention and receiver dropout, learning rate 0.003, seed "


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(make_container(tmp_path / "data", max_creates_per_minute=0)) as running:
        yield running


def draw_run(served: Served, name: str, num_epochs: int, **values: Any) -> str:
    claim = served.claim(served.create_job(served_dataset(served), job_name=name, epochs=500))
    for epoch in range(1, num_epochs + 1):
        served.record(claim, epoch, **values)
    return claim.job_id


def served_dataset(served: Served) -> str:
    found = served.api.get("/training/datasets").json()["datasets"]
    return str(found[0]["id"]) if found else served.add_dataset()


def boxes(where: Locator) -> list[dict[str, float]]:
    found: list[dict[str, float]] = where.evaluate_all("(all) => all.map(one => one.getBoundingClientRect().toJSON())")
    return found


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes share more than the half pixel that rounding may give."""
    return (
        min(one["right"], other["right"]) - max(one["left"], other["left"]) > 0.5
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 0.5
    )


@pytest.mark.parametrize("width", [1440, 768, 360])
def test_levels_are_named_apart_from_one_another_and_from_the_curves(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    job = studio.finished_job()
    page = open_page(f"/training?tab=metrics&runs={job['id']}", width=width)
    error = chart(page, "Validation error")
    error.scroll_into_view_if_needed()
    levels = error.get_by_test_id("level")
    expect(levels.first).to_be_attached()
    labels = boxes(levels.locator("text"))
    assert len(labels) >= 3
    (plot,) = boxes(error.get_by_role("slider"))
    (card,) = boxes(error)
    for index, label in enumerate(labels):
        assert not any(overlap(label, other) for other in labels[:index]), labels
        assert not overlap(label, plot), (label, plot)
        assert label["right"] <= card["right"], "whole"
        assert label["height"] >= 10
    assert "kNN" in error.get_by_test_id("levels").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_best_epochs_of_six_runs_stand_side_by_side_and_whole(open_page: Callable[..., Page], served: Served) -> None:
    runs = [draw_run(served, f"{NAME}{number}", 9) for number in range(6)]
    page = open_page(f"/training?tab=metrics&runs={','.join(runs)}", width=360, studio=served)
    loss = chart(page, "Loss")
    loss.evaluate("(card) => card.scrollIntoView({block: 'end'})")
    expect(loss.locator('[data-mark="best"]')).to_have_count(6)
    (train, validation) = boxes(loss.get_by_role("button", name=re.compile("seed 0 (train|validation)")))
    assert train["top"] == validation["top"], "a run's two lines stand in one row"
    signs = boxes(loss.locator('[data-mark="best"]'))
    (picture,) = boxes(loss.locator("svg.recharts-surface"))
    assert all(picture["left"] <= sign["left"] and sign["right"] <= picture["right"] for sign in signs), signs
    assert not any(overlap(one, other) for index, one in enumerate(signs) for other in signs[:index]), signs
    # The names give way, and what tells train from validation never does.
    for word in ("train", "validation"):
        for entry in loss.get_by_role("button", name=re.compile(rf"seed \d {word}")).all():
            assert entry.get_by_text(word, exact=True).evaluate("(one) => one.scrollWidth <= one.clientWidth || one.offsetWidth > 20")
            (box,) = boxes(entry)
            assert box["right"] <= picture["right"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_test_id("run-panel").first.get_by_role("button", name="seed 0").click()
    expect(page.get_by_test_id("marks").first).to_contain_text("best epoch 9")


def test_an_address_of_too_many_runs_says_so_and_the_menu_why_it_takes_no_more(open_page: Callable[..., Page], served: Served) -> None:
    runs = [draw_run(served, f"run {number}", 2) for number in range(8)]
    page = open_page(f"/training?tab=metrics&runs={','.join(runs)}", studio=served)
    note = page.get_by_test_id("address-note")
    expect(note).to_contain_text("This address names 8 runs, and at most 6 are compared. Not shown: run 6; run 7.")
    page.get_by_label("log y").click()
    expect(page).to_have_url(re.compile("log=1"))
    expect(note).to_be_visible()
    page.get_by_role("button", name="Compare").click()
    greyed = page.get_by_role("menuitemcheckbox", name="run 7")
    expect(greyed).to_be_disabled()
    expect(greyed).to_have_accessible_description("At most 6 runs are compared. Take one away to add another.")
    expect(page.get_by_role("menu")).to_contain_text("At most 6 runs are compared.")
    page.keyboard.press("Escape")
    note.get_by_role("button", name="Leave them out").click()
    expect(note).to_have_count(0)
    expect(page).to_have_url(re.compile(rf"runs={'(,|%2C)'.join(runs[:6])}(&|$)"))
    page.goto(f"/training?tab=metrics&runs={runs[0]},00000000-0000-4000-8000-000000000000")
    expect(note).to_contain_text("1 run of this address was deleted or belongs to another installation.")


def test_which_lines_are_hidden_is_part_of_the_address(open_page: Callable[..., Page], served: Served) -> None:
    first, second = (draw_run(served, name, 4) for name in ("first", "second"))
    page = open_page(f"/training?tab=metrics&runs={first},{second}", studio=served)
    loss = chart(page, "Loss")
    entry = loss.get_by_role("button", name=re.compile("^second validation"))
    entry.click()
    expect(page).to_have_url(re.compile(r"hide=[\w-]{8}\.val_loss"))
    page.reload()
    expect(curve(loss, 2)).to_be_attached()
    expect(curve(loss, 3)).to_have_count(0)
    expect(entry).to_have_attribute("aria-pressed", "false")
    loss.get_by_role("button", name="Full screen").click()
    expect(page.get_by_role("dialog").get_by_role("button", name=re.compile("^second validation"))).to_have_attribute(
        "aria-pressed", "false"
    )
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove second").click()
    expect(page).not_to_have_url(re.compile("hide="))


def test_a_zoomed_axis_fits_what_is_seen_of_all_runs(open_page: Callable[..., Page], served: Served) -> None:
    long = draw_run(served, "long", 40)
    short = draw_run(served, "short", 3, train_loss=900.0, val_loss=900.0)
    page = open_page(f"/training?tab=metrics&runs={long},{short}&zoom=20..40", studio=served)
    ticks = chart(page, "Loss").locator(".recharts-yAxis-tick-labels text")
    expect(ticks.first).to_be_attached()
    assert max(float(text) for text in ticks.all_text_contents()) < 0.2


@pytest.mark.parametrize("width", [1440, 360])
def test_smoothing_is_off_and_says_what_it_does(open_page: Callable[..., Page], served: Served, width: int) -> None:
    job_id = draw_run(served, "smoothed", 6)
    page = open_page(f"/training?tab=metrics&runs={job_id}", width=width, studio=served)
    if width == 360:
        page.get_by_role("button", name="View", exact=True).tap()
        said = page.get_by_role("dialog", name="View")
    else:
        page.get_by_role("button", name="What smoothing does").focus()
        page.keyboard.press("Enter")
        said = page.get_by_role("dialog", name="What smoothing does")
    expect(said).to_contain_text("exponential moving average")
    expect(said).to_contain_text("The measured values stay behind it")
    if width != 360:
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="What smoothing does")).to_be_focused()
    slider = page.get_by_role("slider", name="smoothing")
    expect(slider).to_have_attribute("aria-valuetext", "off")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"smooth=0\.05"))
    expect(page.get_by_test_id("point-count")).to_contain_text("the faint lines are the measured values")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_happened_to_a_run_is_drawn_and_told_on_a_phone(open_page: Callable[..., Page], served: Served, theme: str) -> None:
    container = served.container
    job_id = served.create_job(served.add_dataset(), job_name="eventful", epochs=40)
    claim = served.claim(job_id)
    for epoch in range(1, 5):
        served.record(claim, epoch)
    container.jobs.pause(job_id)
    container.attempts.finish_paused(claim)
    container.jobs.resume(job_id)
    claim = served.claim(job_id)
    served.record(claim, 5, train_loss=None, non_finite={"train_loss": "nan"})
    for epoch in range(6, 9):
        served.record(claim, epoch)
    container.attempts.finish_lost(claim)
    claim = served.claim(job_id)
    for epoch in range(9, 13):
        served.record(claim, epoch)
    page = open_page(f"/training?tab=metrics&runs={job_id}&x=time", width=360, theme=theme, studio=served)
    loss = chart(page, "Loss")
    kinds = ["pause", "resume", "crash", "best"]
    for kind in kinds:
        expect(loss.locator(f'[data-mark="{kind}"]')).not_to_have_count(0)
    signs = boxes(loss.locator("[data-mark]"))
    assert not any(overlap(one, other) for index, one in enumerate(signs) for other in signs[:index]), signs
    expect(loss.get_by_text("✕ nan")).to_be_attached()
    expect(loss).to_contain_text("1 value not finite, marked ✕.")
    told = page.get_by_test_id("marks")
    for words in ("paused after epoch 4", "resumed after epoch 4", "training process lost after epoch", "best epoch 12"):
        expect(told).to_contain_text(words)


def test_a_long_name_is_whole_where_a_job_is_chosen_on_a_phone(open_page: Callable[..., Page], served: Served) -> None:
    draw_run(served, "W" * 255, 1)
    draw_run(served, f"{NAME}2", 1)
    page = open_page("/training?tab=metrics", width=360, studio=served)
    page.get_by_role("combobox", name="Training job").click()
    for option in page.get_by_role("option").all():
        assert option.evaluate("(one) => one.scrollWidth <= one.clientWidth && !one.querySelector('.truncate')")
        (box,) = boxes(option)
        assert box["left"] >= 0
        assert box["right"] <= 360
    page.keyboard.press("Escape")
    choose(page, "Training job", re.compile("seed 2"))
    expect(page.get_by_role("combobox", name="Training job")).to_contain_text("seed 2")
    expect(page.get_by_role("combobox", name="Training job").get_by_title(f"{NAME}2")).to_be_visible()


@pytest.mark.parametrize("width", [1440, 360])
def test_reading_a_value_moves_nothing(open_page: Callable[..., Page], served: Served, width: int) -> None:
    runs = [draw_run(served, f"{NAME}{number}", 30) for number in range(4)]
    page = open_page(f"/training?tab=metrics&runs={','.join(runs)}", width=width, studio=served)
    loss = chart(page, "Loss")
    plot = loss.get_by_role("slider")
    plot.scroll_into_view_if_needed()
    (before,) = boxes(plot)
    for share in (0.02, 0.5, 0.99):
        x, y = before["left"] + before["width"] * share, before["top"] + 60
        if width == 360:
            page.touchscreen.tap(x, y)
        else:
            page.mouse.move(x, y)
        said = loss.get_by_test_id("cursor-x")
        expect(said).to_contain_text(re.compile(r"epoch \d+"))
        (chip,), (card,) = boxes(said), boxes(loss)
        assert card["left"] <= chip["left"]
        assert chip["right"] <= card["right"]
        assert boxes(plot) == [before]


def test_the_window_is_moved_on_the_strip_and_keeps_its_width(open_page: Callable[..., Page], served: Served) -> None:
    job_id = draw_run(served, "moved", 41)
    page = open_page(f"/training?tab=metrics&runs={job_id}&zoom=11..21", studio=served)
    strip = page.get_by_test_id("zoom-strip")
    expect(strip).to_contain_text("Showing epochs 11 to 21.")
    (box,) = boxes(strip.locator("div.cursor-crosshair"))
    middle = box["left"] + box["width"] * 15 / 40
    page.mouse.move(middle, box["top"] + 20)
    page.mouse.down()
    page.mouse.move(middle + box["width"] / 4, box["top"] + 20, steps=4)
    page.mouse.up()
    expect(strip).to_contain_text("Showing epochs 21 to 31.")
    page.mouse.move(middle + box["width"] / 4, box["top"] + 20)
    page.mouse.down()
    page.mouse.move(box["right"], box["top"] + 20, steps=4)
    page.mouse.up()
    expect(strip).to_contain_text("Showing epochs 31 to 41.")


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (360, "light"), (360, "dark")])
def test_axe_finds_nothing_where_runs_are_compared(open_page: Callable[..., Page], served: Served, width: int, theme: str) -> None:
    runs = [draw_run(served, f"{NAME}{number}", 6) for number in range(7)]
    page = open_page(f"/training?tab=metrics&runs={','.join(runs)}&zoom=2..5&smooth=0.5", width=width, theme=theme, studio=served)
    expect(page.get_by_test_id("address-note")).to_be_visible()
    found = violations(page, "compared")
    chart(page, "Loss").get_by_role("button", name="Show as a table").click()
    found += violations(page, "table")
    page.get_by_role("button", name="View" if width == 360 else "What smoothing does").click()
    found += violations(page, "smoothing")
    assert not found, "\n".join(found)


def make_error_run(served: Served, name: str) -> str:
    errors = {"val_error_median_m": 131.0, "val_error_p68_m": 190.0, "val_error_p95_m": 420.0, "val_coverage_68": 0.66}
    accuracy = {"train_accuracy": 0.5, "val_accuracy": 0.4}
    return draw_run(served, name, 9, **errors, **accuracy, learning_rate=1e-3, grad_norm=1.0, samples_per_second=900.0)


@pytest.mark.parametrize("width", [1440, 768, 360])
def test_all_plots_keep_the_same_room_beside_them(open_page: Callable[..., Page], studio: Studio, width: int) -> None:
    """A chart with levels names them on the right; the place under the shared cursor must still be one line through all."""
    page = open_page(f"/training?tab=metrics&runs={studio.finished_job()['id']}", width=width, height=3200, studio=studio)
    plots = page.get_by_role("slider", name=re.compile("cursor"))
    expect(plots).to_have_count(7)
    edges = {(one.evaluate("(one) => one.style.left"), one.evaluate("(one) => one.style.right")) for one in plots.all()}
    assert len(edges) == 1, edges
    assert edges != {("58px", "18px")}, "no chart has levels here, so nothing was tested"
    (strip,) = boxes(page.get_by_test_id("zoom-strip").locator("div.cursor-crosshair"))
    loss = boxes(plots)[0]
    assert abs(strip["left"] - loss["left"]) <= 2
    assert abs(strip["right"] - loss["right"]) <= 2


def test_every_chart_is_printed_and_on_light_ground(open_page: Callable[..., Page], served: Served) -> None:
    page = open_page(f"/training?tab=metrics&runs={make_error_run(served, 'printed')}", theme="dark", studio=served)
    drawn = page.locator("svg.recharts-surface")
    expect(drawn.first).to_be_attached()
    assert drawn.count() < 7, "all are in sight, so nothing was tested"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    # As the browser does it for a sheet: at once, within the event.
    assert (
        page.evaluate("() => { dispatchEvent(new Event('beforeprint')); return document.querySelectorAll('svg.recharts-surface').length }")
        == 7
    )
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    expect(drawn).not_to_have_count(7)
    page.emulate_media(media="print")
    expect(drawn).to_have_count(7)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    scales = drawn.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().width / one.viewBox.baseVal.width)")
    assert max(scales) - min(scales) < 0.01, f"text of several sizes: {scales}"
    expect(page.locator('[data-slot="button"]:visible')).to_have_count(0)
    page.set_viewport_size({"width": 700, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


@pytest.mark.parametrize("width", [1440, 360])
def test_six_compared_runs_take_a_line_each_and_fold_out(open_page: Callable[..., Page], served: Served, width: int) -> None:
    runs = [make_error_run(served, f"{NAME}{number}") for number in range(6)]
    page = open_page(f"/training?tab=metrics&runs={','.join(runs)}", width=width, studio=served)
    lines = page.get_by_role("list", name="Compared runs").get_by_role("listitem")
    expect(lines).to_have_count(6)
    assert all(box["height"] <= 72 for box in boxes(lines)), boxes(lines)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    second = lines.nth(1)
    second.get_by_role("button", name="seed 1").press("Enter")
    expect(second.get_by_text("Architecture")).to_be_visible()
    expect(lines.nth(0).get_by_text("Architecture")).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 768, 360])
def test_an_error_never_covers_the_bar_of_selected_jobs(open_page: Callable[..., Page], served: Served, width: int) -> None:
    for number in range(3):
        served.claim(served.create_job(served_dataset(served), job_name=f"job {number}"))
    page = open_page("/training", width=width, height=740, studio=served)
    watch_of(page).expect("503")
    page.route(
        "**/training/pause/**",
        lambda route: route.fulfill(status=503, json={"code": "unavailable", "detail": "The database is away. " * 9}),
    )
    boxes_to_tick = page.get_by_test_id("job-card").get_by_role("checkbox")
    expect(boxes_to_tick).to_have_count(3)
    for number in range(3):
        boxes_to_tick.nth(number).click()
    bar = page.get_by_role("region", name="Selected jobs")
    bar.get_by_role("button", name=re.compile("Pause")).click()
    told = page.locator("[data-sonner-toast]")
    expect(told.first).to_be_visible()
    settle(page)
    page.wait_for_function("() => document.querySelector('[data-sonner-toast]').dataset.mounted === 'true'")
    for toast in boxes(told):
        assert not overlap(toast, boxes(bar)[0]), (toast, boxes(bar))
