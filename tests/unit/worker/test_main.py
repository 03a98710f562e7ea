import os
import subprocess
import sys
from pathlib import Path


def test_a_database_that_is_away_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "HEIMDALL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    ended = subprocess.run([sys.executable, "-m", "heimdall.worker.main"], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "worker not started" in ended.stderr
    assert "The database does not answer." in ended.stderr
    assert "Traceback" not in ended.stderr
