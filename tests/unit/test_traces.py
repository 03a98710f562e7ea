"""Traces go to a real collector's address, by switch; what may carry a secret leaves none; without the switch nothing is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from heimdall.settings import Settings
from heimdall.traces import Tracer, is_untraced, make_tracer_provider
from tests.serving import make_container, serve


class Collector(HTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        assert isinstance(self.server, Collector)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += [(span.name, {item.key: str(item.value) for item in span.attributes}) for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests_arrive_as_spans_without_any_secret(collector: Collector, tmp_path: Path) -> None:
    token = "the-token-of-this-run"
    with serve(make_container(tmp_path, otel_endpoint=collector.url, token=token)) as served:
        headers = {"Authorization": f"Bearer {token}"}
        assert served.client.get("/api/v1/training/jobs", headers=headers).status_code == 200
        served.client.get("/", params={"token": token})
        served.client.get("/api/v1/training/jobs", params={"token": token})
        served.client.get("/health/live")
    names = [name for name, _ in collector.spans]
    assert any("/api/v1/training/jobs" in name for name in names), names
    assert not any("health" in name for name in names)
    assert token not in json.dumps(collector.spans)


def test_a_jobs_attempt_is_a_span_with_its_id(collector: Collector, tmp_path: Path) -> None:
    tracer = Tracer(make_tracer_provider(Settings(data_dir=tmp_path, otel_endpoint=collector.url), "worker"))
    with tracer.span("job attempt", {"heimdall.job_id": "j-1", "heimdall.attempt": 2}):
        pass
    tracer.close()
    [(name, attributes)] = collector.spans
    assert (name, "j-1" in attributes["heimdall.job_id"]) == ("job attempt", True)


def test_without_the_switch_there_is_no_provider(tmp_path: Path) -> None:
    assert make_tracer_provider(Settings(data_dir=tmp_path), "api") is None
    with Tracer(None).span("anything"):
        pass


@pytest.mark.parametrize(
    ("path", "query", "is_left_out"),
    [
        ("/api/v1/x", b"", False),
        ("/ws/training", b"since=1", False),
        ("/api/v1/x", b"Token=a", True),
        ("/", b"", True),
        ("/auth/callback", b"code=x", True),
    ],
)
def test_what_may_carry_a_secret_is_left_out(path: str, query: bytes, is_left_out: bool) -> None:
    assert is_untraced({"path": path, "query_string": query}) is is_left_out
