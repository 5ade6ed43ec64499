"""What a caller says about one request, in its headers: Cache-Control and `x-tiercache-…`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import ConfigurationError
from ...llm.control import CacheControl


def control_of(headers: Any, under: CacheControl) -> CacheControl:
    """Return what holds for a request: what its headers say, on top of what holds where it is made.

    What a header says that cannot be understood is ignored: the caller's own client would not have minded.
    """
    for name, value in _said(headers):
        try:
            under = under.under(**{name: value})
        except ConfigurationError:
            continue
    return under


def _said(headers: Any) -> Iterator[tuple[str, Any]]:
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.strip().lower().partition("=")
        if name in ("no-cache", "no-store", "only-if-cached") and not value:
            yield name.replace("-", "_"), True
        elif name == "max-age":
            value = value.strip('"')
            yield "max_age", 0 if value == "0" else value
    if "x-tiercache-ttl" in headers:
        yield "ttl", headers["x-tiercache-ttl"]
    if "x-tiercache-tags" in headers:
        yield "tags", [tag for tag in map(str.strip, headers["x-tiercache-tags"].split(",")) if tag]
    samples = headers.get("x-tiercache-samples", "")
    if samples.isascii() and samples.isdigit():
        yield "samples", int(samples[:9])
