"""Run every benchmark of this folder that needs no data of the user, one after the other, and print their tables.

Run: ``make bench`` (or ``.venv/bin/python bench/run_all.py [name ...]``). Results are printed, never asserted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SKIPPED = {
    *("run_all", "reporting", "serving", "plotting", "heap"),
    *("physics_tables", "powder_folds", "powder_reference", "locards_folds"),
    *("synthetic_rows", "ablations", "capture_rows"),
    *("beside_peers", "training_frameworks", "soak", "commit_lock"),
}
"""The POWDER and LocaRDS scripts need the measured data (docs/results.md), the tables of physics a terrain file (docs/discussions);
networks on simulated sets take an hour (``make bench-physics``). Those beside peers need a package index (``make bench-peers``); a soak
takes half an hour, ``commit_lock`` needs PostgreSQL."""


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in SKIPPED)
    failed = [name for name in names if subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=HERE.parent, check=False).returncode]
    if failed:
        print(f"could not be measured: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
