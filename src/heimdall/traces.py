"""OpenTelemetry traces, by switch: without ``HEIMDALL_OTEL_ENDPOINT`` nothing of the library's is loaded by us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from heimdall.settings import Settings

_TRACED: Final = ("/api/", "/ws/")
_SECRET_WORDS: Final = (b"token", b"code=")


def make_tracer_provider(settings: Settings, component: str) -> TracerProvider | None:
    """Return where this process's spans go, None where traces are off.

    Raises
    ------
    InvalidInputError
        They are on, and the extra ``otel`` is not installed.
    """
    if settings.otel_endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        detail = "HEIMDALL_OTEL_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'heimdall[otel]', or unset it."
        raise InvalidInputError(detail, field="otel_endpoint") from error
    import heimdall

    names = {"service.name": "heimdall", "service.version": heimdall.__version__, "heimdall.component": component}
    provider = TracerProvider(resource=Resource.create(names))
    address = settings.otel_endpoint.rstrip("/")
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{address}/v1/traces", timeout=5)))
    return provider


def is_untraced(scope: Any) -> bool:  # noqa: ANN401
    """Return whether a request leaves no span: what is no API, and whatever may carry a secret in its address."""
    query: bytes = scope.get("query_string", b"").lower()
    return not scope.get("path", "").startswith(_TRACED) or any(word in query for word in _SECRET_WORDS)


def read_trace_id() -> str | None:
    """Return the id of the trace that this request belongs to, as a log names it. Only where traces are on."""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


class Tracer:
    """Spans of work that no request carries."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str | int] | None = None) -> Iterator[None]:
        """Measure what runs inside; costs nothing where traces are off."""
        if self._provider is None:
            yield
            return
        with self._provider.get_tracer("heimdall").start_as_current_span(name, attributes=attributes):
            yield

    def close(self) -> None:
        """Send what waits."""
        if self._provider is not None:
            self._provider.shutdown()
