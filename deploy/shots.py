"""The pictures of the Training page, taken from a real run: ``make shots``.

Starts Heimdall in a scratch folder, trains the demo data set, and writes ``docs/training-ui/`` (pictures in both themes and two widths,
a recorded socket log, the export and import with what they said) and ``docs/img/training.png``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.sync.client import connect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.conftest import CHROMIUM_FLAGS  # noqa: E402
from tests.e2e.studio import Studio, badge, card, chart, curve, settle  # noqa: E402

OUT = ROOT / "docs" / "training-ui"
PATIENCE_MS = 60_000
RUNS = {
    "deep sets, quick look": {"epochs": 40, "batch_size": 256, "learning_rate": 3e-3},
    "set transformer, first try": {"epochs": 6, "batch_size": 512, "model_architecture": "set-transformer-m", "learning_rate": 1e-3},
    "learning rate far too high": {"epochs": 20, "batch_size": 256, "learning_rate": 1.0, "optimizer": "sgd", "max_grad_norm": 1e6},
}
LONG = {"epochs": 300, "batch_size": 256, "learning_rate": 2e-3}


def prepare(studio: Studio) -> dict[str, str]:
    """Train what the pictures show: finished runs, a failed one, one paused, one that still runs."""
    jobs = {name: studio.create_job(studio.demo_id, job_name=name, **config) for name, config in RUNS.items()}
    for job_id in jobs.values():
        studio.wait_job(job_id, {"completed", "failed"}, timeout_s=400)
    jobs["paused"] = studio.start_job("deep sets, overnight", **LONG)
    studio.wait_job(jobs["paused"], lambda job: job["current_epoch"] >= 25)
    studio.client.post(f"/training/pause/{jobs['paused']}")
    studio.wait_job(jobs["paused"], {"paused"})
    jobs["running"] = studio.start_job("deep sets, seed 2", **{**LONG, "seed": 2})
    return jobs


def record_log(studio: Studio, path: Path) -> int:
    """Write every frame of one short job's socket, as it came; returns how many."""
    job_id = studio.create_job(studio.demo_id, job_name="recorded", epochs=6, batch_size=128)
    frames = []
    with connect(f"ws://127.0.0.1:{studio.port}/ws/training/{job_id}?since=0") as socket:
        while not (frames and json.loads(frames[-1])["event"] in {"training_completed", "training_failed"}):
            frames.append(str(socket.recv(timeout=120)))
    path.write_text("\n".join(frames) + "\n")
    return len(frames)


class Camera:
    """Takes one picture per page state, small enough to keep in the repository."""

    def __init__(self, browser: Browser, studio: Studio) -> None:
        self._browser = browser
        self._studio = studio

    def open(self, path: str, width: int, theme: str) -> Page:
        """Open a page of this width and theme; a phone counts as touched."""
        height = 900 if width > 600 else 780
        context = self._browser.new_context(
            base_url=self._studio.url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            has_touch=width < 600,
            accept_downloads=True,
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(path)
        return page

    def take(self, page: Page, path: Path) -> None:
        """Save what is seen, with nothing in between two states."""
        settle(page)
        page.screenshot(path=path, animations="disabled")


def take_tabs(camera: Camera, jobs: dict[str, str]) -> None:
    """Photograph all three tabs, both themes, 1440 and 360 px."""
    for theme in ("light", "dark"):
        for width in (1440, 360):
            page = camera.open("/training", width, theme)
            expect(badge(card(page, jobs["running"]), "running")).to_be_visible()
            expect(page.get_by_role("img", name="Validation loss over")).to_have_count(page.get_by_test_id("job-card").count() - 1)
            camera.take(page, OUT / f"jobs-{width}-{theme}.png")
            page.goto(f"/training?tab=metrics&runs={jobs['deep sets, quick look']}")
            expect(curve(chart(page, "Loss"), 1)).to_be_attached()
            expect(page.get_by_test_id("freshness")).not_to_have_text("Connecting")
            camera.take(page, OUT / f"metrics-{width}-{theme}.png")
            page.goto("/training?tab=models")
            expect(page.get_by_test_id("model-card").first).to_be_visible()
            camera.take(page, OUT / f"models-{width}-{theme}.png")
            page.context.close()


def take_charts(camera: Camera, jobs: dict[str, str]) -> None:
    """Photograph the three charts of the document alone, and a comparison."""
    page = camera.open(f"/training?tab=metrics&runs={jobs['deep sets, quick look']}", 1440, "light")
    for name, title in {"loss": "Loss", "accuracy": "Accuracy", "learning-rate": "Learning rate"}.items():
        where = chart(page, title)
        where.scroll_into_view_if_needed()
        expect(curve(where, 0)).to_be_attached()
        where.screenshot(path=OUT / f"chart-{name}.png")
    page.goto(f"/training?tab=metrics&runs={jobs['deep sets, quick look']},{jobs['set transformer, first try']},{jobs['running']}")
    expect(curve(chart(page, "Loss"), 3)).to_be_attached()
    camera.take(page, OUT / "metrics-compared.png")
    page.context.close()


def take_detail(camera: Camera, studio: Studio, jobs: dict[str, str]) -> None:
    """Photograph where a model is good and where not."""
    model = studio.model_of(jobs["deep sets, quick look"])
    page = camera.open(f"/training?tab=models&model={model['id']}", 1440, "light")
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("heading", name="Where it is good").evaluate("heading => heading.scrollIntoView()")
    settle(page)
    drawer.screenshot(path=OUT / "model-detail.png", animations="disabled")
    page.context.close()


def walk_export_import(camera: Camera, studio: Studio, jobs: dict[str, str], folder: Path) -> dict[str, Any]:
    """Export a model by its dialog, delete it, import the file by its dialog; returns what was seen."""
    model = studio.model_of(jobs["deep sets, quick look"])
    page = camera.open("/training?tab=models", 1440, "light")
    page.locator(f'[data-model-id="{model["id"]}"]').get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    camera.take(page, OUT / "export.png")
    with page.expect_download() as waiting:
        dialog.get_by_role("button", name="Download").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    expect(dialog).to_have_count(0)
    answer = studio.client.delete(f"/training/models/{model['id']}", params={"confirm_name": model["name"]})
    page.reload()
    page.get_by_role("button", name="Import model").click()
    page.get_by_label("File").set_input_files(path)
    with page.expect_response("**/models/import") as imported:
        page.get_by_role("button", name="Upload").click()
    expect(dialog.get_by_test_id("seal")).to_have_attribute("data-status", "verified")
    camera.take(page, OUT / "import.png")
    told = [json.loads(line) for line in imported.value.text().splitlines()]
    page.context.close()
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "deleted_before_import": answer.status_code == 204,
        "checks_told": [line["check"]["name"] for line in told if "check" in line],
        "import_status": told[-1]["status"],
        "verification": told[-1]["result"]["verification"],
    }


def check_phone(camera: Camera, jobs: dict[str, str]) -> list[dict[str, Any]]:
    """Measure at 360 px what must fit: the page's width and its smallest button."""
    page = camera.open("/training", 360, "light")
    found = []
    for path in ("/training", f"/training?tab=metrics&runs={jobs['deep sets, quick look']}", "/training?tab=models"):
        page.goto(path)
        expect(page.get_by_role("tabpanel").locator("h2").first).to_be_visible()
        measured = page.evaluate(
            """() => ({scroll_width: document.documentElement.scrollWidth, window_width: innerWidth,
                       smallest_button_px: Math.min(...[...document.querySelectorAll('main [data-slot=button]')]
                         .filter(one => one.checkVisibility()).map(one => one.getBoundingClientRect().height))})"""
        )
        found.append({"view": path.split("&")[0], **measured})
    page.context.close()
    return found


def main() -> int:
    """Take every picture anew; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    options = parser.parse_args()
    if options.chromium is None:
        sys.exit("No chromium found: install it, or name it with --chromium.")
    OUT.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder) / "data", {"HEIMDALL_SEED_DEMO": "true"})
        try:
            studio.start()
            studio.wait_demo()
            num_frames = record_log(studio, OUT / "socket-log.jsonl")
            jobs = prepare(studio)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=options.chromium, args=CHROMIUM_FLAGS)
                camera = Camera(browser, studio)
                take_tabs(camera, jobs)
                take_charts(camera, jobs)
                take_detail(camera, studio, jobs)
                results = {
                    "socket_frames": num_frames,
                    "phone": check_phone(camera, jobs),
                    "export_import": walk_export_import(camera, studio, jobs, Path(folder)),
                }
                browser.close()
            (OUT / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        finally:
            studio.kill_everything()
            studio.client.close()
    (ROOT / "docs" / "img").mkdir(exist_ok=True)
    shutil.copy(OUT / "metrics-1440-dark.png", ROOT / "docs" / "img" / "training.png")
    size = sum(path.stat().st_size for path in OUT.glob("*.png"))
    sys.stdout.write(f"{len(list(OUT.glob('*.png')))} pictures, {size / 1e6:.2f} MB, in {OUT.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
