"""Headers: which count, which are stripped, which are replayed."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from .scope import is_credential

OURS = "x-tiercache"

_WITHOUT_EFFECT = re.compile(
    r"""
    accept(-.*)? | connection | keep-alive | te | trailer | transfer-encoding | expect | upgrade | priority
    | user-agent | cookie | origin | (http-)?referer | x-title | x-app | from | dnt | date | sec-.* | if-.*
    | via | forwarded | x-forwarded-(for|proto|port|scheme|ssl|server) | x-real-ip | x-request-start | proxy-.*
    | cache-control | pragma | content-(type|length|encoding) | x-tiercache.* | x-stainless-.*
    | (x-)?idempotency-key | (x-)?(ms-)?(client-)?(request|correlation)-id
    | traceparent | tracestate | baggage | sentry-trace | b3 | x-b3-.* | x-datadog-.* | newrelic | uber-trace-id
    | x-amzn-trace-id | x-cloud-trace-context | elastic-apm-traceparent | anthropic-dangerous-direct-browser-access
    """,
    re.VERBOSE,
)

_REPLAYED = ("content-type", "openai-version", "openai-organization", "openai-model", "anthropic-organization-id")
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
_OF_THE_TRANSFER = ("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive", "trailer")
_OF_ONE_CALLER = ("set-cookie", "set-cookie2")

Items = Sequence[tuple[str, str]]
"""Headers as a request has them, names in lower case."""
Pairs = list[list[str]]


def counted(items: Items, ignored: Collection[str] = (), *, host: str = "") -> Pairs:
    """Return the headers of a request that are part of its key: all that are not known to be without effect.

    Args:
        items: the headers.
        ignored: what the caller does not want to count, as `headers.anthropic-version`.
        host: of the URL; a `host` that says no more than this is without effect, another one is another server.
    """
    found = ([name, value] for name, value in items if _counts(name) and (name, value) != ("host", host))
    return in_order(pair for pair in found if f"headers.{pair[0]}" not in ignored)


def in_order(pairs: Iterable[list[str]]) -> Pairs:
    """Return pairs of names and values in the order of the names; of one name the order of the values counts."""
    return sorted(pairs, key=lambda pair: pair[0])


@functools.lru_cache(1024)
def _counts(name: str) -> bool:
    return _WITHOUT_EFFECT.fullmatch(name) is None and not is_credential(name)


def address_us(items: Items) -> bool:
    """Whether any of these headers says something to the cache."""
    return any(name == "cache-control" or name.startswith("x-tiercache-") for name, _ in items)


def stripped(raw: Sequence[tuple[bytes, bytes]], *, with_control: bool) -> list[tuple[bytes, bytes]] | None:
    """Return the headers to forward; None: all of them.

    Args:
        raw: the headers of a request.
        with_control: leave out Cache-Control as well, which is addressed to this cache.
    """
    kept = [
        pair
        for pair in raw
        if not (name := pair[0].lower()).startswith(b"x-tiercache-") and not (with_control and name == b"cache-control")
    ]
    return None if len(kept) == len(raw) else kept


def replayed(headers: Any) -> Pairs:
    """Return what is stored of the headers of a good reply; its request id gets a name that tells it is an old one."""
    had = dict(_as_text(headers))
    kept = [[name, had[name]] for name in _REPLAYED if name in had]
    for name in _REQUEST_IDS:
        if name in had:
            return [*kept, [f"{OURS}-origin-request-id", had[name]]]
    return kept


def shared(headers: Any) -> Pairs:
    """Return the headers of a reply that is handed to all who wait for it and not stored."""
    return [[name, value] for name, value in _as_text(headers) if name not in _OF_THE_TRANSFER + _OF_ONE_CALLER]


def as_bytes(pairs: Iterable[Sequence[str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as they were, from what `replayed` and `shared` made of them."""
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs]


def _as_text(headers: Any) -> Iterable[tuple[str, str]]:
    """Return headers, names in lower case; each byte of a value is one character and becomes that byte again."""
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers.raw]


def status(
    outcome: str, *, key: str | None = None, tier: str | None = None, age: float | None = None
) -> Iterable[tuple[str, str]]:
    """Yield the headers that say what the cache did.

    Args:
        outcome: HIT, MISS, BYPASS, STALE or SHARED.
        key: where the answer is kept; its digest alone is shown.
        tier: the tier that answered.
        age: seconds since the provider answered.
    """
    yield OURS, outcome
    if tier is not None:
        yield f"{OURS}-tier", tier
    if key is not None:
        yield f"{OURS}-key", key.rpartition(":")[2]
    if age is not None:
        yield "age", str(max(0, int(age)))
