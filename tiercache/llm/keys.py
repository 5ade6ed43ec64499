"""Keys: of requests, where every field counts unless it is known not to change the answer, and of other things.

A key of a request is `{prefix}:{model}:{digest}`. The model stands there for the eye and for listings; the digest
covers it, too, so that it may be shortened. Neither what was asked nor for whom can be read from a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UncacheableValue
from .fields import tree
from .kinds import PREFIXES, Kind
from .packing import FORMAT, digest
from .requests import plain
from .strict_json import parsed

__all__ = [
    "FORMAT",
    "chat_key",
    "completion_key",
    "embedding_key",
    "key_from_content",
    "key_from_json",
    "key_from_parts",
    "message_key",
    "request_key",
    "response_key",
]

MODEL_LENGTH = 200
"""Characters of a model's name that stand in a key."""


def request_key(
    kind: Kind,
    request: Mapping[str, Any],
    *,
    user: str | None = None,
    scope: str | None = None,
    parts: Sequence[Any] = (),
    ignored: Sequence[str] = (),
) -> str:
    """Return the key of a request: `{prefix}:{model}:{digest}`, the same in every process, platform and release.

    The order of a dict's keys does not count, that of a list does. A field that is None and one that is not there
    differ: what a server makes of a null is the server's own. Texts count as they are, without Unicode normalisation.

    Args:
        kind: what is asked.
        request: what is sent: plain data and objects of the SDKs (see `requests.plain`).
        user: keeps the answers of users apart.
        scope: keeps tenants apart; not the same as a user of that name.
        parts: more plain data that the answer depends on (an URL, headers, the number of a sample).
        ignored: paths of fields to leave out, in addition to those known not to change the answer
            (`fields.DENIED`): `seed`, `extra.trace_id`, `messages[].name`.

    Raises:
        UncacheableValue: no key can be made of something in the request; the message names its path. (A TypeError.)
        ConfigurationError: `ignored` has something that is no path, or that is the question itself.
    """
    fields = plain(request, tree(kind, ignored))
    if type(fields) is not dict:
        raise UncacheableValue(f"a request must be a dict of its fields, not a {type(request).__name__}")
    material = (_text(user, "user"), _text(scope, "tenant"), plain(list(parts)) if parts else [], fields)
    return f"{PREFIXES[kind]}:{_label(fields.get('model'))}:{digest(kind, *material)}"


def chat_key(
    request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None, ignored: Sequence[str] = ()
) -> str:
    """Return the key of a chat completion, `chat:{model}:{digest}`; see `request_key`."""
    return request_key("chat", request, user=user, scope=tenant, ignored=ignored)


def completion_key(
    request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None, ignored: Sequence[str] = ()
) -> str:
    """Return the key of a (legacy) completion, `completion:{model}:{digest}`; see `request_key`."""
    return request_key("completion", request, user=user, scope=tenant, ignored=ignored)


def embedding_key(
    request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None, ignored: Sequence[str] = ()
) -> str:
    """Return the key of a whole embeddings request, `embed:{model}:{digest}`; see `request_key`.

    In which encoding the vectors are sent does not count. `EmbeddingCache` keeps single inputs, under other keys.
    """
    return request_key("embedding", request, user=user, scope=tenant, ignored=ignored)


def response_key(
    request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None, ignored: Sequence[str] = ()
) -> str:
    """Return the key of a request to OpenAI's Responses, `response:{model}:{digest}`; see `request_key`."""
    return request_key("response", request, user=user, scope=tenant, ignored=ignored)


def message_key(
    request: Mapping[str, Any], user: str | None = None, *, tenant: str | None = None, ignored: Sequence[str] = ()
) -> str:
    """Return the key of a request to Anthropic's Messages, `message:{model}:{digest}`; see `request_key`."""
    return request_key("message", request, user=user, scope=tenant, ignored=ignored)


def key_from_json(value: Any) -> str:
    """Return the key of a JSON value, `json:{digest}`; of a text and of what it parses to it is the same.

    Args:
        value: JSON as str or bytes, or the value itself as plain data.

    Raises:
        UncacheableValue: the text is not JSON, names a field twice, or holds a number that no float can hold; or no
            key can be made of the value.
    """
    return f"json:{digest('json', plain(parsed(value) if isinstance(value, (str, bytes, bytearray)) else value))}"


def key_from_content(content: bytes | str) -> str:
    """Return the key of a content, `content:{digest}`; a text and its bytes differ."""
    if not isinstance(content, (str, bytes, bytearray, memoryview)):
        raise UncacheableValue(f"content must be bytes or a str, not a {type(content).__name__}; see key_from_json")
    return f"content:{digest('content', plain(content))}"


def key_from_parts(*parts: Any) -> str:
    """Return the key of a sequence of plain parts, `parts:{digest}`; no two sequences share one.

    Raises:
        UncacheableValue: no key can be made of a part.
    """
    return f"parts:{digest('parts', plain(parts))}"


def _label(model: Any) -> str:
    """Return the name of a model as it stands in a key: as it is, unless it is long or no valid Unicode."""
    return model[:MODEL_LENGTH].encode("utf-8", "replace").decode() if isinstance(model, str) else ""


def _text(value: Any, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise UncacheableValue(f"{name} must be a str or None, not a {type(value).__name__}")
    return str.__str__(value)
