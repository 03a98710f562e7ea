"""What each figure must reach: one line a row of the table in docs/figures.md, found in what the scripts print.

The targets are those that the project set itself when it began, beside the best of the peers and the limit of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Figure = Mapping[str, Any]
"""One JSON line of a script: ``figure`` (its title), ``rows`` of named numbers, ``machine``."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    what
        In words.
    script
        The file in ``bench/`` that measures it.
    figure, row
        How the title of its figure begins, and how the row in it begins.
    unit
        Written after the number.
    most, most_p95
        The target of the median and of the 95th percentile; ``least`` where more is better.
    column
        The number of the row that counts.
    scale
        What the number is multiplied by to have the unit.
    """

    what: str
    script: str
    figure: str
    row: str
    unit: str
    most: float | None = None
    most_p95: float | None = None
    least: float | None = None
    column: str = "median"
    scale: float = 1.0


_EXACT: Final = 1 + 1e-9
"""Two shares of 0.25 % are a little more than 0.5 %, by arithmetic in binary."""


@dataclass(frozen=True)
class Measured:
    """What a run found for a row."""

    value: float
    p95: float | None
    """The bad end: the 95th percentile, or the least where more is better."""

    def meets(self, row: Row) -> bool:
        """Say whether every target of the row is reached."""
        return (
            (row.most is None or self.value <= row.most * _EXACT)
            and (row.least is None or self.value >= row.least)
            and (row.most_p95 is None or (self.p95 is not None and self.p95 <= row.most_p95))
        )


ROWS: Final = (
    Row("*this machine*: bare Starlette, launch to first answer", "machine", "the machine", "bare Starlette", "s"),
    Row("*this machine*: 100 000 rows of five numbers, SQLite to JSON", "machine", "the machine", "rows from SQLite", "s"),
    Row("*this machine*: the same in memory, 1 000 buckets to JSON", "machine", "the machine", "buckets", "ms"),
    Row("*this machine*: a million additions in Python", "machine", "the machine", "a million", "ms"),
    Row("*this machine*: a durable SQLite transaction of one row", "epochs", "logging", "bare commit", "ms"),
    Row("API alone, launch to ready", "startup", "start and stop", "API alone: ready_s", "s", most=0.8),
    Row("*of that*: the libraries imported, nothing else", "startup", "start and stop", "libraries alone, s", "s"),
    Row("API alone, resident memory", "startup", "start and stop", "API alone: rss_mb", "MB", most=100),
    Row("`heimdall up`, API and worker ready to work", "startup", "start and stop", "later start: worker_s", "s", most=1.5),
    Row("first start, ready", "startup", "start and stop", "first start: ready_s", "s", most=1.5),
    Row("memory at rest, API + worker + supervisor, resident", "startup", "at rest", "all", "MB", most=200, column="rss_mb"),
    Row("processor at rest, API + worker, share of one core", "startup", "at rest", "api + worker", "%", most=0.5, column="cpu_percent"),
    Row(
        "pause, click to `training_paused` at a socket, checkpoint written",
        "control_latency",
        "click to effect",
        "pause",
        "ms",
        most_p95=250,
    ),
    Row("cancel, click to `training_cancelled` at a socket", "control_latency", "click to effect", "cancel", "ms", most_p95=250),
    Row("click to worker thread, a message through the broker", "dispatch", "click to worker", "folder", "ms", most_p95=50),
    Row("an epoch in the training thread, back to back", "epochs", "logging", "10000 epochs reported", "ms"),
    Row("the same, 1 000 epochs a second, the slowest of 5 000", "epochs", "logging", "5000 reported", "ms", most=5, column="max"),
    Row("an epoch until it is on disk, a transaction each", "epochs", "logging", "epochs alone, durable", "ms", most=0.5),
    Row("tick, offered by the training thread after each step", "epochs", "logging", "tick, offered", "ms", most=0.015),
    Row("tick, said by the side thread, at most four a second", "epochs", "logging", "tick, said", "ms", most=0.015),
    Row("10 000 epochs logged and readable", "epochs", "logging", "10000 epochs reported", "s", most=1.0, column="total_s"),
    Row("8 jobs x 10 epochs/s: an epoch in the training thread", "load", "8 jobs", "write", "ms", most_p95=1),
    Row("the same: a chart read meanwhile", "load", "8 jobs", "read", "ms", most_p95=10),
    Row("the same: until an epoch is on disk", "load", "8 jobs", "durable", "ms"),
    Row("the same: the server's processor in 30 s", "load", "8 jobs", "server, s", "s", most=4),
    Row(
        "the same: a ninth job killed with -9 in the middle, epochs said and lost",
        "load",
        "8 jobs",
        "killed with -9 in the middle: epochs said and lost",
        "",
        most=0,
    ),
    Row("100 jobs x 1 epoch/s, spread over the second: an epoch in the training thread", "load", "100 jobs", "write", "ms", most_p95=1),
    Row("the same: a chart read meanwhile", "load", "100 jobs", "read", "ms", most_p95=10),
    Row("the same: until an epoch is on disk", "load", "100 jobs", "durable", "ms"),
    Row("the same: the server's processor in 30 s", "load", "100 jobs", "server, s", "s", most=4),
    Row("log call to socket, 1 client, 50 events/s", "socket_latency", "commit to socket", "1 client,", "ms", most=15, most_p95=30),
    Row("the same, 1 000 clients, 10 events/s", "socket_latency", "commit to socket", "1000 clients, 10", "ms", most_p95=60),
    Row("the same, 5 000 clients, 2 events/s", "socket_latency", "commit to socket", "5000 clients, 2", "ms", most_p95=250),
    Row(
        "fan-out to 1 000 clients on the same cores, saturated",
        "socket_latency",
        "commit to socket",
        "1000 clients, deliveries",
        "/s",
        least=30_000,
    ),
    Row("chart view, 5 series, 800 points, of 1 000 epochs", "reads", "reads", "view, 5 series, 1000 ", "ms", most=10, most_p95=25),
    Row("the same of 100 000 epochs", "reads", "reads", "view, 5 series, 100000 ", "ms", most=10, most_p95=25),
    Row("its size, gzip", "reads", "reads", "view, 5 series, 100000 ", "kB", most=60, column="kB"),
    Row("full history, 100 000 epochs x 5 series, JSON", "reads", "reads", "history, 5 series", "s", most=0.35, scale=1e-3),
    Row("first page of 10 000 jobs", "reads", "reads", "first page", "ms", most=10, most_p95=30),
    Row("its size, gzip", "reads", "reads", "first page", "kB", most=50, column="kB"),
    Row("log call to changed page (DOM)", "page", "the Training page", "commit to DOM", "ms", most=60, most_p95=150),
    Row("first contentful paint, software rendering", "page", "the Training page", "first contentful paint", "ms", most=1000),
    Row("JS of the first view, gzip", "page", "the Training page", "JS of the first view", "kB", most=350),
    Row("500 jobs, 20 running: scroll, a frame", "page", "the Training page", "500 jobs, scroll", "ms", most_p95=50),
    Row("the same: typing, a frame", "page", "the Training page", "500 jobs, typing", "ms", most_p95=50),
    Row("the same: key or click to next paint", "page", "the Training page", "500 jobs, key", "ms", most_p95=100),
    Row("run of 100 000 epochs, click to drawn lines", "page_curves", "the Metrics tab", "99", "ms", most=1000),
    Row("live append at 10 epochs/s, three charts, a frame", "page_curves", "the Metrics tab", "live append", "ms", most_p95=20),
    Row("its window dragged and zoomed, a frame", "page_curves", "the Metrics tab", "window moved", "ms", most_p95=33.4),
    Row(
        "our training loop's steps against a hand-written one's, 30 pairs",
        "training_overhead",
        "training loop",
        "ratio",
        "",
        least=0.99,
    ),
    Row(
        "waiting for data, share of an epoch of 5 000 examples",
        "training_profile",
        "one epoch",
        "steps: wait for data",
        "%",
        most=2,
        column="wall_percent",
    ),
    Row(
        "checkpoints at their default distance, share of the training thread",
        "training_profile",
        "one epoch",
        "checkpoint",
        "%",
        most=1,
        column="wall_percent",
    ),
    Row("simulated IQ captures, one core", "simulation_rate", "simulated in a second", "captures, 7", "/s", least=300),
    Row("the same with all features measured", "simulation_rate", "simulated in a second", "captures simulated and measured", "/s"),
    Row(
        "simulated feature examples with bounds, one core",
        "simulation_rate",
        "simulated in a second",
        "feature examples",
        "/s",
        least=5_000,
    ),
    Row("terrain paths, one core", "simulation_rate", "simulated in a second", "terrain paths", "/s", least=3_000),
    Row("geodetic conversions, one core", "simulation_rate", "simulated in a second", "conversions", "/s", least=1_000_000),
    Row("stored synthetic examples, one core", "synthetic_rate", "synthetic examples", "simulate and store", "/s", least=5_000),
    Row("ONNX, one example, with pre- and post-processing, `deepsets-s`", "inference", "one example", "deepsets-s", "ms", most=1),
    Row("the same, the slowest network without samples, its search for the place included", "inference", "one example", "slowest", "ms"),
    Row("bundle of a 1 GB network, memory above idle, import", "bundle_memory", "bundle of", "import", "MB", most=100, column="extra_mb"),
)


@dataclass(frozen=True)
class Limit:
    """What the machine itself takes for the same work, on which a row's target was reckoned.

    Parameters
    ----------
    of, raw
        ``what`` of the row that has the target, and of the row of the machine's own time.
    then
        The machine's own time where and when the target was set, in the unit of both rows.
    """

    of: str
    raw: str
    then: float


LIMITS: Final = (
    Limit("API alone, launch to ready", "*this machine*: bare Starlette, launch to first answer", 0.31),
    Limit("an epoch until it is on disk, a transaction each", "*this machine*: a durable SQLite transaction of one row", 0.16),
    Limit("the same of 100 000 epochs", "*this machine*: the same in memory, 1 000 buckets to JSON", 1.8),
    Limit("full history, 100 000 epochs x 5 series, JSON", "*this machine*: 100 000 rows of five numbers, SQLite to JSON", 0.18),
)


def find(row: Row, figures: Iterable[Figure]) -> Measured | None:
    """Return what was measured for a row, or None."""
    for figure in figures:
        if not figure["figure"].startswith(row.figure):
            continue
        for name, numbers in figure["rows"].items():
            if name.startswith(row.row) and row.column in numbers:
                p95 = numbers.get("p95" if row.least is None else "min") if row.column == "median" else None
                return Measured(row.scale * numbers[row.column], None if p95 is None else row.scale * p95)
    return None
