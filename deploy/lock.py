"""Write the lock files from what is installed in this environment: exact versions, no addresses.

``requirements.lock`` holds what the program needs (the ``dependencies`` of pyproject.toml and
theirs), ``requirements-dev.lock`` what tests and checks need on top. Run after an upgrade:
``.venv/bin/python deploy/lock.py``.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def collect(requirements: list[str]) -> dict[str, str]:
    """Return name to version of everything the requirements need here, extras included."""
    found: dict[str, str] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        distribution = metadata.distribution(requirement.name)
        name = distribution.metadata["Name"].lower().replace("_", "-")
        is_known = name in found
        found[name] = distribution.version.split("+")[0]
        for text in distribution.requires or []:
            child = Requirement(text)
            wanted = not child.marker or any(child.marker.evaluate({"extra": extra}) for extra in extras)
            if wanted and (not is_known or requirement.extras):
                child.marker = None
                if child.name.lower().replace("_", "-") not in found or child.extras:
                    waiting.append(child)
    return found


def main() -> None:
    """Write both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = collect(project["dependencies"])
    dev = {k: v for k, v in collect(project["optional-dependencies"]["dev"]).items() if k not in runtime}
    for path, locked in (("requirements.lock", runtime), ("requirements-dev.lock", dev)):
        (ROOT / path).write_text("".join(f"{name}=={version}\n" for name, version in sorted(locked.items())))
    subprocess.run([sys.executable, ROOT / "deploy" / "audit.py", "--write"], check=True)


main()
