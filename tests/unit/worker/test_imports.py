"""An idle worker stays small: what only a child needs is never imported by the parent."""

import subprocess
import sys

HEAVY = ("torch", "numpy", "scipy", "onnx", "onnxruntime", "pyarrow")
PROGRAM = f"""
import sys, tempfile
from pathlib import Path
from heimdall.bootstrap import build_container
from heimdall.queue.celery_app import make_celery
from heimdall.settings import Settings
import heimdall.worker.main, heimdall.worker.tasks, heimdall.worker.spare, heimdall.worker.sweeping
with tempfile.TemporaryDirectory() as name:
    container = build_container(Settings(data_dir=Path(name)))
    container.store.migrate()
    container.sweeper.sweep()
    container.queue.enqueue_job("nobody", needs_gpu=False)
    container.close()
print(",".join(module for module in {HEAVY!r} if module in sys.modules))
"""


def test_the_parent_imports_nothing_that_only_a_child_needs() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""
