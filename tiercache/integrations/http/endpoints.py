"""Which requests are recognised: by method, path and shape, under any host and base path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ...errors import UncacheableValue
from ...llm.kinds import Kind
from ...llm.stateful import outer_state
from ...llm.strict_json import parsed

MAX_BODY = 8 * 2**20
"""Bytes; a larger request is not parsed, and passes the cache by."""

_ENDPOINTS: tuple[tuple[str, Kind, str], ...] = (
    ("/chat/completions", "chat", "messages"),
    ("/completions", "completion", "prompt"),
    ("/responses", "response", "input"),
    ("/messages", "message", "messages"),
    ("/embeddings", "embedding", "input"),
)


_UNREAD = ("too_large", "not_json", "malformed", "streamed")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an URL is for.

    Attributes:
        kind: what is asked there.
        field: what a request has to have.
    """

    kind: Kind
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request that the cache may answer.

    Attributes:
        kind: what is asked.
        request: its body, as plain data, and always with a `model`, if any is named: Azure's stands in the URL.
        stream: whether an event stream is asked for.
        model: the model.
        url: whom it goes to, without what is secret.
    """

    kind: Kind
    request: Mapping[str, Any]
    stream: bool
    model: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that passes the cache by.

    Attributes:
        reason: why, in a word.
        kind: what is asked, by its URL.
    """

    reason: str
    kind: Kind

    @property
    def unread(self) -> bool:
        """Whether it is not known to be a request to a model at all: it is left as it is."""
        return self.reason in _UNREAD


def endpoint(method: str, path: str) -> Endpoint | None:
    """Return what a request is for; None: nothing of ours, such as the messages of a thread."""
    if method != "POST":
        return None
    path = path.rstrip("/")
    for suffix, kind, field in _ENDPOINTS:
        if path.endswith(suffix):
            return None if "/threads/" in path else Endpoint(kind, field)
    return None


def recognise(at: Endpoint, url: Any, headers: Any, body: bytes, *, stateful: bool = False) -> Call | Passed:
    """Return what a request to an endpoint asks for, or why the cache has nothing to do with it.

    Args:
        at: the endpoint.
        url, headers, body: the request's.
        stateful: whether requests are answered that depend on more than what they say.
    """
    if len(body) > MAX_BODY:
        return Passed("too_large", at.kind)
    media, _, _ = headers.get("content-type", "").partition(";")
    if media.strip().lower() != "application/json" or "content-encoding" in headers:
        return Passed("not_json", at.kind)
    try:
        request = parsed(body.decode())
    except (UnicodeDecodeError, UncacheableValue):
        return Passed("malformed", at.kind)
    if not isinstance(request, dict):
        return Passed("malformed", at.kind)
    reason = None if stateful else outer_state(request)
    if reason is None and at.field not in request:
        reason = "malformed"
    if reason is not None:
        return Passed(reason, at.kind)
    deployment = _deployment(url.path)
    if deployment and "model" not in request:
        request["model"] = deployment
    model = request.get("model")
    name = deployment or (model if isinstance(model, str) else "")
    return Call(at.kind, request, request.get("stream") is True, name, f"{url.scheme}://{url.host}{url.path}")


def _deployment(path: str) -> str:
    """Return the deployment in an URL of Azure OpenAI, which is what its callers know the model by."""
    _, found, rest = path.partition("/deployments/")
    return unquote(rest.split("/", 1)[0]) if found else ""
