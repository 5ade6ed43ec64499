"""Why answers must not be stored, kind by kind: what the five forms of answers say of their own completeness."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from .endings import ending, is_error
from .kinds import Kind

Complete = Collection[str]
Reasons = Iterator[str]


def reasons(kind: Kind, answer: Any, complete: Complete = ()) -> Reasons:
    """Yield each reason that speaks against storing an answer; none: it is complete.

    Args:
        kind: what was asked.
        answer: the answer as plain data, as JSON gives it.
        complete: names of endings that mean a complete answer, in addition to those that are known.
    """
    if not isinstance(answer, Mapping):
        yield "malformed"
        return
    if is_error(answer):
        yield "error"
        return
    yield from _OF[kind](answer, complete)


def _chat(answer: Mapping[str, Any], complete: Complete) -> Reasons:
    for choice in _items(answer, "choices"):
        if choice is None:
            yield "malformed"
        elif is_error(choice):
            yield "error"
        else:
            yield from _found(ending(choice.get("finish_reason"), complete))
            yield from _of_message(choice.get("message"))
    yield from _unless_listed(answer, "choices")


def _of_message(message: Any) -> Reasons:
    if not isinstance(message, Mapping):
        yield "malformed"
        return
    content = message.get("content")
    if message.get("refusal") or _holds(content, "refusal"):
        yield "filtered"
    others = ("tool_calls", "function_call", "audio", "images")
    if _is_blank(content) and not any(message.get(name) for name in others):
        yield "empty"


def _completion(answer: Mapping[str, Any], complete: Complete) -> Reasons:
    for choice in _items(answer, "choices"):
        if choice is None or not isinstance(choice.get("text"), str):
            yield "malformed"
            continue
        yield from _found(ending(choice.get("finish_reason"), complete))
        if _is_blank(choice["text"]):
            yield "empty"
    yield from _unless_listed(answer, "choices")


def _response(answer: Mapping[str, Any], complete: Complete) -> Reasons:
    details = answer.get("incomplete_details")
    status = ending(answer.get("status"), complete)
    if details is not None or status == "incomplete":
        cause = ending(details.get("reason")) if isinstance(details, Mapping) else None
        yield cause if cause in ("truncated", "filtered") else "incomplete"
    else:
        yield from _found(status)
    kept = False
    for item in _items(answer, "output"):
        if item is None:
            yield "malformed"
            continue
        if item.get("status") is not None:
            yield from _found(ending(item["status"], complete))
        if item.get("type") != "message":
            kept = kept or item.get("type") != "reasoning"
            continue
        if _holds(item.get("content"), "refusal"):
            yield "filtered"
        kept = kept or not _is_blank(item.get("content"))
    yield from _unless_listed(answer, "output", kept)


def _message(answer: Mapping[str, Any], complete: Complete) -> Reasons:
    yield from _found(ending(answer.get("stop_reason"), complete))
    blocks = list(_items(answer, "content"))
    if None in blocks:
        yield "malformed"
    thinking = ("thinking", "redacted_thinking")
    kept = not _is_blank([block for block in blocks if block is not None and block.get("type") not in thinking])
    yield from _unless_listed(answer, "content", kept)


def _embedding(answer: Mapping[str, Any], complete: Complete) -> Reasons:
    indices: list[Any] = []
    for item in _items(answer, "data"):
        if item is None:
            yield "malformed"
            continue
        indices.append(item.get("index", len(indices)))
        yield from _found(_of_vector(item.get("embedding")))
    if sorted(indices, key=repr) != sorted(range(len(indices)), key=repr):
        yield "incomplete"  # vectors are missing, or stand there twice
    yield from _unless_listed(answer, "data")


def _of_vector(vector: Any) -> str | None:
    """Return what is wrong with a vector: a list of numbers, or float32 in base64."""
    if vector is None or vector == "" or vector == []:
        return "empty"
    try:
        if isinstance(vector, str):
            vector = array("f", base64.b64decode(vector, validate=True))
        return None if math.isfinite(sum(vector)) else "malformed"  # a number that is not finite makes the sum so
    except (TypeError, ValueError, OverflowError):  # binascii.Error is a ValueError
        return "malformed"


_OF: dict[Kind, Callable[[Mapping[str, Any], Complete], Reasons]] = {
    "chat": _chat,
    "completion": _completion,
    "response": _response,
    "message": _message,
    "embedding": _embedding,
}


def _items(answer: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any] | None]:
    """Yield what an answer lists, None in place of what is no object."""
    listed = answer.get(name)
    if isinstance(listed, list):
        for item in listed:
            yield item if isinstance(item, Mapping) else None


def _unless_listed(answer: Mapping[str, Any], name: str, kept: bool = True) -> Reasons:
    """Say what is wrong with a list as a whole; `kept`: whether something in it is of use."""
    listed = answer.get(name)
    if listed is not None and not isinstance(listed, list):
        yield "malformed"
    elif not listed or not kept:
        yield "empty"


def _found(reason: str | None) -> Reasons:
    if reason is not None:
        yield reason


def _holds(content: Any, type: str) -> bool:
    """Whether a part of some content is of a type."""
    return isinstance(content, list) and any(isinstance(part, Mapping) and part.get("type") == type for part in content)


def _is_blank(content: Any) -> bool:
    """Whether there is nothing to read in a text, or in parts of which all are texts."""
    if content is None or isinstance(content, str):
        return not (content or "").strip()
    if not isinstance(content, list):
        return False
    return all(isinstance(part, Mapping) and "text" in part and _is_blank(part["text"]) for part in content)
