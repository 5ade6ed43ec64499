"""OpenTelemetry: metrics from the statistics, and a span for each operation of a cache that leaves memory.

uninstrument = instrument(cache)                         # or a chain, with all caches on it, those made later included
uninstrument()

Hits in memory make no spans, and cost what they cost without this; metrics count them.
"""

from __future__ import annotations

from ...errors import MissingExtra

try:
    import opentelemetry  # noqa: F401 - asked for once, here
except ImportError:
    raise MissingExtra("tiercache.integrations.opentelemetry", "otel") from None

from .instrumenting import instrument

__all__ = ["instrument"]
