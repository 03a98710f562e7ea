"""How each product is served and what its own page asks for: a chart's data, the whole history, the list of runs."""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.installing import FOLDER, torch_site
from bench.peers.logger import PROJECT, SERIES

ROOT: Final = Path(__file__).parents[2]
LAST: Final = SERIES[-1]


@dataclass(frozen=True)
class Call:
    """One request of a page."""

    path: str
    body: Any = None
    content_type: str = "application/json"

    def encode(self) -> bytes | None:
        """Return the body as bytes."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body).encode()


class Product:
    """What the measuring needs to know of one product."""

    name: str
    ready_path: str
    note = ""

    def binary(self, name: str) -> str:
        """Return a program of the product's environment."""
        return str(FOLDER / self.name / "bin" / name)

    def environment(self, folder: Path, port: int) -> dict[str, str]:
        """Return the environment of server and logger: nothing leaves this machine, nothing asks a question."""
        quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "HF_HUB_OFFLINE": "1"}
        own = {"HOME": str(folder), "TRACKIO_DIR": str(folder / "trackio"), "GRADIO_SERVER_PORT": str(port), "BROWSER": "true"}
        search = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}" if self.name == "heimdall" else "", "BENCH_TORCH_SITE": torch_site()}
        return {**os.environ, **quiet, **own, **search, "PYTHONWARNINGS": "ignore", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def prepare(self, folder: Path) -> list[list[str]]:
        """Return commands to run once in a new folder."""
        return []

    def command(self, folder: Path, port: int) -> list[str]:
        """Return the command of the server."""
        raise NotImplementedError

    def last_epoch(self, run: str) -> Call:
        """Return the cheapest call that shows the newest epoch."""
        raise NotImplementedError

    def read_epoch(self, answer: bytes) -> int:
        """Take the newest epoch out of that answer; 0 where there is none yet."""
        raise NotImplementedError

    def history(self, run: str, num_epochs: int) -> list[Call]:
        """Return the calls for every value of the five series."""
        raise NotImplementedError

    def view(self, run: str, num_epochs: int) -> list[Call]:
        """Return the calls by which the page draws the five series."""
        raise NotImplementedError

    def jobs(self) -> list[Call]:
        """Return the calls of the list's first page."""
        raise NotImplementedError


class Heimdall(Product):
    """Ours."""

    name = "heimdall"
    ready_path = "/api/v1/health/ready"

    def environment(self, folder: Path, port: int) -> dict[str, str]:
        own = {"HEIMDALL_DATA_DIR": str(folder), "HEIMDALL_PORT": str(port), "HEIMDALL_LOG_LEVEL": "error", "HEIMDALL_LEASE_S": "600"}
        return {**super().environment(folder, port), **own}

    def command(self, folder: Path, port: int) -> list[str]:
        return [sys.executable, "-m", "heimdall.api"]

    def last_epoch(self, run: str) -> Call:
        return Call(f"/api/v1/training/jobs/{run}")

    def read_epoch(self, answer: bytes) -> int:
        return int(json.loads(answer)["current_epoch"])

    def history(self, run: str, num_epochs: int) -> list[Call]:
        return [Call(f"/api/v1/training/jobs/{run}/metrics?series={','.join(SERIES)}")]

    def view(self, run: str, num_epochs: int) -> list[Call]:
        return [Call(f"/api/v1/training/jobs/{run}/metrics?max_points=800&series={','.join(SERIES)}")]

    def jobs(self) -> list[Call]:
        return [Call("/api/v1/training/jobs")]


class Mlflow(Product):
    """The server over the SQLite file into which the client writes."""

    name = "mlflow"
    ready_path = "/health"
    note = "written to SQLite directly, one batch an epoch, and the call waits for it; 320 points a chart"

    def command(self, folder: Path, port: int) -> list[str]:
        store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts")]
        return [self.binary("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), *store]

    def last_epoch(self, run: str) -> Call:
        return Call(f"/api/2.0/mlflow/runs/get?run_id={run}")

    def read_epoch(self, answer: bytes) -> int:
        metrics = json.loads(answer).get("run", {}).get("data", {}).get("metrics", [])
        return max((int(metric["step"]) for metric in metrics if metric["key"] == LAST), default=0)

    def history(self, run: str, num_epochs: int) -> list[Call]:
        return [Call(f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key={name}") for name in SERIES]

    def view(self, run: str, num_epochs: int) -> list[Call]:
        base = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?max_results=320"
        return [Call(f"{base}&run_ids={run}&metric_key={name}") for name in SERIES]

    def jobs(self) -> list[Call]:
        order = {"max_results": 100, "order_by": ["attributes.start_time DESC"]}
        return [Call("/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": ["0"], "run_view_type": "ACTIVE_ONLY", "filter": "", **order})]


class Tensorboard(Product):
    """The fast loader, with the page's own sampling of 1 000 points."""

    name = "tensorboard"
    ready_path = "/data/environment"
    note = "flushed each epoch where paced; reads files again every 5 s; its list is every run"

    def prepare(self, folder: Path) -> list[list[str]]:
        (folder / "logs").mkdir(exist_ok=True)
        return []

    def command(self, folder: Path, port: int) -> list[str]:
        samples = ["--samples_per_plugin", "scalars=1000000"] if (folder / "keep-all").exists() else []
        return [self.binary("tensorboard"), "--logdir", str(folder / "logs"), "--host", "127.0.0.1", "--port", str(port), *samples]

    def last_epoch(self, run: str) -> Call:
        return Call(f"/data/plugin/scalars/scalars?run={run}&tag={LAST}")

    def read_epoch(self, answer: bytes) -> int:
        rows = json.loads(answer)
        return int(rows[-1][1]) if rows else 0

    def history(self, run: str, num_epochs: int) -> list[Call]:
        return [Call(f"/data/plugin/scalars/scalars?run={run}&tag={name}") for name in SERIES]

    view = history

    def jobs(self) -> list[Call]:
        return [Call("/data/runs"), Call("/data/plugin/timeseries/tags")]


class Aim(Product):
    """A local repository and its page's server."""

    name = "aim"
    ready_path = "/api/projects/"
    note = "200 points a chart"

    def prepare(self, folder: Path) -> list[list[str]]:
        return [[self.binary("aim"), "init", "--repo", str(folder)]]

    def command(self, folder: Path, port: int) -> list[str]:
        return [self.binary("aim"), "up", "--host", "127.0.0.1", "--port", str(port), "--repo", str(folder), "-y"]

    def last_epoch(self, run: str) -> Call:
        return Call(f"/api/runs/{run}/metric/get-batch/", [{"name": LAST, "context": {}}])

    def read_epoch(self, answer: bytes) -> int:
        rows = json.loads(answer)
        return int(max(rows[0]["iters"], default=0)) if rows else 0

    def history(self, run: str, num_epochs: int) -> list[Call]:
        query = urllib.parse.quote(f'run.hash == "{run}"')
        return [Call(f"/api/runs/search/metric/?q={query}&p={num_epochs}&report_progress=false")]

    def view(self, run: str, num_epochs: int) -> list[Call]:
        return [Call(f"/api/runs/{run}/metric/get-batch/", [{"name": name, "context": {}} for name in SERIES])]

    def jobs(self) -> list[Call]:
        return [Call("/api/runs/search/run/?limit=45&exclude_params=false&exclude_traces=false&report_progress=true&q=")]


class Trackio(Product):
    """Its own page's server."""

    name = "trackio"
    ready_path = "/version"
    note = "a queue in memory: up to half a second is lost with the process; its list is every run"

    def command(self, folder: Path, port: int) -> list[str]:
        return [self.binary("trackio"), "show", "--project", PROJECT, "--host", "127.0.0.1"]

    def last_epoch(self, run: str) -> Call:
        return Call("/api/get_run_summary", {"project": PROJECT, "run": run})

    def read_epoch(self, answer: bytes) -> int:
        return int(json.loads(answer)["data"]["last_step"] or 0)

    def history(self, run: str, num_epochs: int) -> list[Call]:
        return [Call("/api/get_metric_values", {"project": PROJECT, "run": run, "metric_name": name}) for name in SERIES]

    def view(self, run: str, num_epochs: int) -> list[Call]:
        return [Call("/api/get_logs_batch", {"project": PROJECT, "runs": [{"run": run}], "max_points": 3000, "scalar_only": True})]

    def jobs(self) -> list[Call]:
        return [Call("/api/get_runs_for_project", {"project": PROJECT}), Call("/api/get_run_configs", {"project": PROJECT})]


PRODUCTS: Final[dict[str, Product]] = {product.name: product for product in (Heimdall(), Mlflow(), Tensorboard(), Aim(), Trackio())}
