"""The process behind ``heimdall up``: starts server and worker, keeps them running, ends them well.

It imports the standard library alone and sleeps in one ``select``: about 15 MB and no idle CPU.
Run as ``python -m heimdall.cli.supervisor`` with the JSON of :class:`Plan` in the environment: on the command line
it would name the children, and who looks for the server's process would find this one too.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from heimdall.cli.instance import DataFolderLock, claim_port, make_browser_url, probe_ready
from heimdall.cli.processes import ChildProcess, describe_exit
from heimdall.domain.errors import HeimdallError
from heimdall.logs import has_color, render_json, render_line

PLAN_VARIABLE: Final = "HEIMDALL_SUPERVISOR_PLAN"
SEEDED_MARK: Final = "demo-seeded"
_PROBE_S: Final = 0.04
_LONGEST_PROBE_S: Final = 5.0
"""Between two questions to a server that says itself that it is not ready: what it waits for lasts, and it logs each."""
_SLOW_START_S: Final = 15.0
_MAX_EARLY_DEATHS: Final = 5
"""Deaths of the server before it was ready once, after which starting it again helps nobody."""

_API_STOP_S: Final = 5.0
_NUM_OPEN_FILES: Final = 16_384
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Plan:
    """What to run and where; checked by ``heimdall up`` before."""

    host: str
    port: int
    data_dir: str
    api: list[str]
    worker: list[str]
    seed: list[str] = field(default_factory=list)
    open_browser: bool = False
    as_json: bool = False
    log_format: Literal["line", "json"] = "line"
    drain_s: float = 10.0

    def to_json(self) -> str:
        """Return the text that the supervisor is started with."""
        return json.dumps(asdict(self))


class Supervisor:
    """Runs one plan from start to stop.

    Parameters
    ----------
    plan
        What to run.
    port
        The port found free.
    started_at
        Monotonic s when the person asked, for the time that the ready line names.
    """

    def __init__(self, plan: Plan, port: int, *, started_at: float) -> None:
        self._plan = plan
        self._port = port
        self._started_at = started_at
        self._url = make_browser_url(plan.host, port)
        environment = {**os.environ, "HEIMDALL_HOST": plan.host, "HEIMDALL_PORT": str(port), "HEIMDALL_DATA_DIR": plan.data_dir}
        self._environment = environment
        self._api = ChildProcess("api", plan.api, environment)
        self._worker = ChildProcess("worker", plan.worker, environment)
        self._seed: ChildProcess | None = None
        self._is_ready = False
        self._probe_s = _PROBE_S
        self._is_slow_start_said = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self) -> int:
        """Run until a stop signal; returns the exit code."""
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGCHLD, *_STOP_SIGNALS):
            signal.signal(number, lambda *_: None)
        self._say("starting", data=self._plan.data_dir)
        self._api.start()
        self._worker.start()
        while not self._has_stop_signal(self._time_to_next()):
            self._look_after_children()
            if not self._is_ready:
                self._look_for_ready()
            if self._api.num_deaths >= _MAX_EARLY_DEATHS and not self._is_ready:
                self._say("the server does not start: the lines above say why, and 'heimdall doctor' checks this machine", level="error")
                self._stop()
                return 1
        return self._stop()

    def _time_to_next(self) -> float | None:
        starts = [child.start_at for child in (self._api, self._worker) if child.start_at is not None]
        waits = [max(0.0, start_at - time.monotonic()) for start_at in starts]
        if not self._is_ready:
            waits.append(self._probe_s)
        return min(waits, default=None)

    def _has_stop_signal(self, timeout_s: float | None) -> bool:
        """Sleep until a signal or the time-out; True where it was one to stop by."""
        if not select.select([self._wake_read], [], [], timeout_s)[0]:
            return False
        return any(number in _STOP_SIGNALS for number in os.read(self._wake_read, 512))

    def _look_after_children(self) -> None:
        for child in (self._api, self._worker):
            code = child.collect()
            if code is not None:
                wait_s = child.plan_restart()
                self._say(f"{child.name} ended ({describe_exit(code)}), starting it again in {wait_s:g} s", level="warning")
            if child.start_at is not None and time.monotonic() >= child.start_at:
                child.start()
        self._look_after_seed()

    def _look_after_seed(self) -> None:
        if self._seed is None:
            return
        code = self._seed.collect()
        if code is None:
            return
        self._seed = None
        if code == 0:
            (Path(self._plan.data_dir) / SEEDED_MARK).touch()
        else:
            self._say(f"the demo data set was not made ({describe_exit(code)}); the next start tries again", level="warning")

    def _look_for_ready(self) -> None:
        elapsed_s = time.monotonic() - self._started_at
        status = probe_ready(self._plan.host, self._port) if self._api.is_running else None
        self._probe_s = _PROBE_S if status is None else min(2 * self._probe_s, _LONGEST_PROBE_S)
        if status == 200:
            self._is_ready = True
            self._say("ready", url=self._url, seconds=round(elapsed_s, 2))
            self._greet()
            self._start_seed()
        elif elapsed_s > _SLOW_START_S and not self._is_slow_start_said:
            self._is_slow_start_said = True
            what = "no answer yet" if status is None else f"answers {status}: see {self._url}/health/ready"
            self._say(f"still waiting for the server ({what})", level="warning")

    def _greet(self) -> None:
        token = os.environ.get("HEIMDALL_TOKEN")
        address = f"{self._url}/?token={quote(token, safe='')}" if token else self._url
        if self._plan.as_json:
            print(json.dumps({"url": self._url, "pid": os.getpid(), "data_dir": self._plan.data_dir}), flush=True)  # noqa: T201
        else:
            print(f"\n  Heimdall is ready: {address}\n  Ctrl-C stops it.\n", flush=True)  # noqa: T201
        has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if self._plan.open_browser and has_screen:
            quiet = subprocess.DEVNULL
            subprocess.Popen(
                [sys.executable, "-m", "webbrowser", "-t", address], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
            )

    def _start_seed(self) -> None:
        if self._plan.seed and not (Path(self._plan.data_dir) / SEEDED_MARK).exists():
            self._seed = ChildProcess("seed", self._plan.seed, self._environment)
            self._seed.start()

    def _stop(self) -> int:
        """Worker first, so that its last events still find the server; then the server."""
        self._say("stopping, a second Ctrl-C ends at once")
        steps = (([self._worker, *([self._seed] if self._seed else [])], self._plan.drain_s), ([self._api], _API_STOP_S))
        for children, limit_s in steps:
            for child in children:
                child.ask_to_stop()
            if self._wait_for_end(children, limit_s):
                for child in (self._worker, self._api, *([self._seed] if self._seed else [])):
                    child.signal_group(signal.SIGKILL)
                self._say("ended at once", level="warning")
                return 130
        self._say("stopped")
        return 0

    def _wait_for_end(self, children: list[ChildProcess], limit_s: float) -> bool:
        """Wait for all to end, killing what outlives the limit; True where a second stop signal came."""
        deadline = time.monotonic() + limit_s
        while True:
            for child in children:
                child.collect()
            running = [child for child in children if child.is_running]
            if not running:
                return False
            if time.monotonic() >= deadline:
                for child in running:
                    self._say(f"{child.name} did not stop within {limit_s:g} s and was ended", level="warning")
                    child.signal_group(signal.SIGKILL)
                deadline = float("inf")
            if self._has_stop_signal(min(1.0, max(0.0, deadline - time.monotonic()))):
                return True

    def _say(self, event: str, *, level: str = "info", **fields: object) -> None:
        now = datetime.now(UTC)
        if self._plan.log_format == "json":
            text = render_json(now, "heimdall", event, fields, level=level)
        else:
            text = render_line(now, "heimdall", event, fields, level=level, has_color=has_color(sys.stderr))
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _raise_open_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NUM_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _NUM_OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    """Run the plan of the environment."""
    started_at = time.monotonic()
    plan = Plan(**json.loads(os.environ.pop(PLAN_VARIABLE)))
    try:
        lock = DataFolderLock(Path(plan.data_dir))
        port = claim_port(plan.host, plan.port)
    except HeimdallError as error:
        body = {"code": error.code, "detail": error.detail, "field": error.field}
        print(json.dumps(body, ensure_ascii=False) if plan.as_json else error.detail, file=sys.stderr)  # noqa: T201
        return 1
    lock.write_holder(make_browser_url(plan.host, port))
    _raise_open_file_limit()
    code = Supervisor(plan, port, started_at=started_at).run()
    lock.release()
    return code


if __name__ == "__main__":
    sys.exit(main())
