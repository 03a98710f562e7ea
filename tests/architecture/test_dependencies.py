"""The list of what Heimdall stands on is the lock files' own."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_stands_in_the_list_with_its_version() -> None:
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
    rows = {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in page.splitlines() if line.startswith("| ")}
    locked = {tuple(line.split("==")) for line in (ROOT / "requirements.lock").read_text().split()}
    packages = json.loads((ROOT / "frontend" / "package-lock.json").read_text())["packages"]
    locked |= {
        (path.rpartition("node_modules/")[2], about["version"])
        for path, about in packages.items()
        if path and not about.get("dev") and not about.get("optional")
    }
    assert locked - rows == set(), "run: python deploy/lock.py"
