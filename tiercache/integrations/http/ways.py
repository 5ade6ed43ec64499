"""Which way a request goes: each is a module with an `answer(exchange, world, request, call, plan)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import embeddings, plain, streams
from .endpoints import Call

Way = Callable[..., Any]


def way_of(call: Call) -> Way:
    """Return what answers a call."""
    if call.stream:
        return streams.answer
    if call.kind == "embedding":
        return embeddings.answer
    return plain.answer
