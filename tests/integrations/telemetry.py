"""What tests of OpenTelemetry see: finished spans by name, their tree, and the points of metrics."""

from __future__ import annotations

import inspect
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tiercache import Cache, TierChain
from tiercache.integrations.opentelemetry import instrument


class _Begun(SpanProcessor):
    """Notes which spans have begun."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._names.append(span.name)


class Telemetry:
    """Providers of its own, so that tests do not share the global ones."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.begun: list[str] = []
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracers.add_span_processor(_Begun(self.begun))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("tests")

    def instrument(self, subject: Cache | TierChain, **options: Any) -> Any:
        return instrument(subject, tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def forget(self) -> None:
        self._exporter.clear()

    @property
    def spans(self) -> list[ReadableSpan]:
        """All but those about marks of invalidations, in the order of their beginnings."""
        return [span for span in self.all if not (span.attributes or {}).get("tiercache.internal")]

    @property
    def all(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def tiers_asked(self) -> list[tuple[Any, Any]]:
        """The tier and what came of it, of each read of a tier."""
        return [
            (about["tiercache.tier"], about.get("error.type") or about["tiercache.outcome"])
            for span in self.spans
            if (about := span.attributes or {}) and span.name.startswith("tiercache.tier.get")
        ]

    def points(self) -> dict[tuple[str, tuple[tuple[str, Any], ...]], Any]:
        """The value, or the count, of each point by the metric's name and the sorted attributes."""
        data = self._reader.get_metrics_data()
        return {
            (metric.name, tuple(sorted((point.attributes or {}).items()))): getattr(point, "value", None)
            if hasattr(point, "value")
            else point.count  # type: ignore[union-attr]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    def everything(self) -> list[str]:
        """All that would be exported, as text."""
        data = self._reader.get_metrics_data()
        return [span.to_json() for span in self._exporter.get_finished_spans()] + [data.to_json() if data else ""]


def events(span: ReadableSpan, name: str = "tiercache.passed_over") -> list[dict[str, Any]]:
    return [dict(event.attributes or {}) for event in span.events if event.name == name]


async def call(face: str, cache: Any, operation: str, *args: Any, **options: Any) -> Any:
    """Call an operation, or await its twin."""
    if face == "sync":
        return getattr(cache, operation)(*args, **options)
    result = getattr(cache, f"a{operation}")(*args, **options)
    return await result if inspect.isawaitable(result) else result
