"""Which requests are recognised, and which of these the cache must not answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...llm.kinds import Kind

MAX_BODY = 8 * 2**20
"""Bytes; a larger request body is not parsed, and the request passed by."""

_ENDPOINTS: tuple[tuple[str, Kind, str], ...] = (
    ("/chat/completions", "chat", "messages"),
    ("/completions", "completion", "prompt"),
    ("/responses", "response", "input"),
    ("/messages", "message", "messages"),
    ("/embeddings", "embedding", "input"),
)
_STATEFUL = ("background", "previous_response_id", "conversation", "container", "mcp_servers")
_PLAIN_TOOLS = ("function", "custom")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the cache may answer.

    Attributes:
        kind: what is asked.
        request: its body, as plain data.
        stream: whether an event stream is asked for.
        model: the model, which may stand in the URL (Azure's deployments).
    """

    kind: Kind
    request: Mapping[str, Any]
    stream: bool
    model: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that passes the cache by.

    Attributes:
        reason: why, in a word.
        kind: what is asked, where that is known.
    """

    reason: str
    kind: Kind | None = None


def endpoint(method: str, path: str) -> tuple[Kind, str] | None:
    """Return the kind of a request and the field that it needs; None: it is none of ours."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    for suffix, kind, field in _ENDPOINTS:
        if path.endswith(suffix):
            return kind, field
    return None


def recognise(kind: Kind, field: str, path: str, body: bytes) -> Call | Passed:
    """Return what a request to an endpoint asks for, or why the cache has nothing to do with it."""
    if len(body) > MAX_BODY:
        return Passed("too_large", kind)
    try:
        request = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Passed("malformed", kind)
    if not isinstance(request, dict) or field not in request:
        return Passed("malformed", kind)
    reason = _bypass(request)
    if reason is not None:
        return Passed(reason, kind)
    model = request.get("model")
    deployment = _deployment(path)
    return Call(kind, request, request.get("stream") is True, deployment or (model if isinstance(model, str) else ""))


def _bypass(request: Mapping[str, Any]) -> str | None:
    for name in _STATEFUL:
        if request.get(name):
            return name
    tools = request.get("tools")
    if isinstance(tools, list):
        for tool in tools:
            kind = tool.get("type", "custom") if isinstance(tool, dict) else None
            if kind not in _PLAIN_TOOLS:
                return "hosted_tool"
    return None


def _deployment(path: str) -> str:
    """Return the deployment in an URL of Azure OpenAI, which is what its callers know the model by."""
    _, found, rest = path.partition("/deployments/")
    return rest.split("/", 1)[0] if found else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
