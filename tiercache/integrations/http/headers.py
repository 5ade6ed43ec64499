"""Headers: which count, which are stripped, which are replayed, and what a caller says in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...llm.control import CacheControl
from ...units import parse_duration

COUNTED = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Request headers that are part of the key."""

_OURS = "x-tiercache"
_REPLAYED = ("content-type", "openai-version", "openai-organization", "openai-model")
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
_OF_THE_TRANSFER = (
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "connection",
    "set-cookie",
    "set-cookie2",
)

Pairs = list[list[str]]


def counted(request: Any) -> list[list[str]]:
    """Return the headers of a request that are part of its key."""
    return [[name, request.headers[name]] for name in COUNTED if name in request.headers]


def stripped(raw: Sequence[tuple[bytes, bytes]], *, with_control: bool) -> list[tuple[bytes, bytes]] | None:
    """Return the headers to forward; None: all of them."""
    kept = [
        pair
        for pair in raw
        if not (name := pair[0].lower()).startswith(b"x-tiercache-") and not (with_control and name == b"cache-control")
    ]
    return None if len(kept) == len(raw) else kept


def control_of(request: Any, under: CacheControl) -> CacheControl:
    """Return what holds for a request: what its headers say, on top of what holds where it is made."""
    headers = request.headers
    said: dict[str, Any] = {}
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.strip().lower().partition("=")
        if name in ("no-cache", "no-store", "only-if-cached") and not value:
            said[name.replace("-", "_")] = True
        elif name == "max-age" and value.isascii() and value.isdigit():
            said["max_age"] = int(value)
    ttl = headers.get("x-tiercache-ttl")
    if ttl is not None:
        try:
            said["ttl"] = parse_duration(float(ttl) if ttl.replace(".", "", 1).isdigit() else ttl, "x-tiercache-ttl")
        except ValueError:
            pass  # as if it were not there: a header is no place to raise from
    return under.under(**said) if said else under


def replayed(headers: Any) -> Pairs:
    """Return what is stored of the headers of a good reply."""
    kept = [[name, headers[name]] for name in _REPLAYED if name in headers]
    for name in _REQUEST_IDS:
        if name in headers:
            return [*kept, [f"{_OURS}-origin-request-id", headers[name]]]
    return kept


def shared(headers: Any) -> Pairs:
    """Return the headers of a reply that is handed to all who wait for it and not stored."""
    return [[name, value] for name, value in headers.multi_items() if name.lower() not in _OF_THE_TRANSFER]


def status(
    outcome: str, *, key: str | None = None, tier: str | None = None, age: float | None = None
) -> Iterable[tuple[str, str]]:
    """Yield the headers that say what the cache did."""
    yield _OURS, outcome
    if tier is not None:
        yield f"{_OURS}-tier", tier
    if key is not None:
        yield f"{_OURS}-key", key.rpartition(":")[2]
    if age is not None:
        yield "age", str(int(age))
