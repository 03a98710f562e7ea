from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from heimdall.logs import configure_logging, render_json, render_line

JOB_ID = "12345678-1234-1234-1234-123456789abc"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    import structlog

    structlog.reset_defaults()


def configure(log_format: str = "line", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(SimpleNamespace(log_format=log_format, log_level=level), "worker", stream=stream)
    return stream


@pytest.mark.usefixtures("restored_logging")
def test_structlog_and_logging_write_the_same_line() -> None:
    import structlog

    stream = configure()
    structlog.get_logger().info("job_started", job_id=JOB_ID, attempt=1)
    logging.getLogger("heimdall.worker").info("job_started", extra={"job_id": JOB_ID, "attempt": 1})
    first, second = (line.partition(" ")[2] for line in stream.getvalue().splitlines())
    assert first == second == "worker    job started  job=12345678… attempt=1"


@pytest.mark.usefixtures("restored_logging")
def test_json_line_keeps_whole_values() -> None:
    import structlog

    stream = configure("json")
    structlog.get_logger().warning("lease_lost", job_id=JOB_ID)
    event = json.loads(stream.getvalue())
    assert (event["event"], event["level"], event["component"], event["job_id"]) == ("lease_lost", "warning", "worker", JOB_ID)
    assert event["timestamp"].endswith("Z")


@pytest.mark.usefixtures("restored_logging")
def test_less_important_events_and_library_chatter_are_not_shown() -> None:
    import structlog

    stream = configure()
    structlog.get_logger().debug("looked")
    logging.getLogger("celery.worker").info("received")
    logging.getLogger("celery.worker").warning("broker went away")
    assert [line.partition("worker    ")[2] for line in stream.getvalue().splitlines()] == ["warning: broker went away"]


@pytest.mark.usefixtures("restored_logging")
def test_traceback_stands_below_its_line_or_inside_the_object() -> None:
    import structlog

    for log_format in ("line", "json"):
        stream = configure(log_format)
        try:
            raise ValueError("boom")
        except ValueError:
            structlog.get_logger().exception("job_broke", job_id=JOB_ID)
        text = stream.getvalue()
        assert "ValueError: boom" in (json.loads(text)["traceback"] if log_format == "json" else text.splitlines()[-1])


@pytest.mark.usefixtures("restored_logging")
def test_warnings_and_percent_signs_are_taken_as_they_are() -> None:
    stream = configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", UserWarning, stacklevel=1)
    logging.getLogger("heimdall").info("50% done")
    assert "old thing" in stream.getvalue()
    assert "50% done" in stream.getvalue()


def test_line_break_in_a_value_cannot_forge_a_line() -> None:
    line = render_line(datetime.now(UTC), "api", "model imported", {"name": "a\n12:00:00 worker job failed"})
    assert "\n" not in line


def test_log_set_up_loads_no_rich() -> None:
    code = (
        "import sys; from types import SimpleNamespace as N; from heimdall.logs import configure_logging; "
        "configure_logging(N(log_format='line', log_level='info'), 'api'); import structlog; print('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_long_name_is_cut_in_a_line_and_whole_in_json() -> None:
    fields = {"job_name": "L" * 255, "data": "/" + "d" * 200}
    line = render_line(datetime(2026, 1, 2, tzinfo=UTC), "worker", "job_started", fields)
    assert "L" * 47 + "…" in line
    assert "L" * 48 not in line
    assert "d" * 200 in line
    assert "L" * 255 in render_json(datetime(2026, 1, 2, tzinfo=UTC), "worker", "job_started", fields)
