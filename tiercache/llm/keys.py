"""Keys of requests: every field counts unless it is known not to change the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..keys import digest
from .kinds import PREFIXES, Kind

FORMAT = 1
"""Part of every digest: a change of how keys are made is a new number, and old entries become misses."""


def request_key(
    kind: Kind,
    request: Mapping[str, Any],
    *,
    user: str | None = None,
    scope: str | None = None,
    parts: Sequence[Any] = (),
    ignored: Sequence[str] = (),
) -> str:
    """Return the key of a request: `{prefix}:{model}:{digest}`.

    Args:
        kind: what is asked.
        request: plain data.
        user: keeps the answers of users apart.
        scope: keeps tenants apart.
        parts: more plain data that the answer depends on (an URL, headers, the number of a sample).
        ignored: paths of fields to leave out, in addition to those known not to change the answer.
    """
    model = request.get("model")
    name = model if isinstance(model, str) else ""
    return f"{PREFIXES[kind]}:{name}:{digest(FORMAT, kind, user, scope, list(parts), dict(request))}"


def chat_key(request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None) -> str:
    """Return the key of a chat request: `chat:{model}:{digest}`."""
    return request_key("chat", request, user=user, scope=tenant)
