"""Answers put together from the events of their streams, as the same requests without streams would get them.

They are judged and counted, never handed out: a client reads the stream itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...llm.kinds import Kind

Object = dict[str, Any]
Assembler = Callable[[Sequence[Object]], Object | None]
_NAMES = ("id", "type", "role", "name", "index", "object", "status")
"""Texts that a later piece repeats; all others go on where the piece before ended."""


def grow(whole: Object, piece: Object) -> None:
    """Add a piece to what came before: texts go on, lists grow by `index`, all else is replaced."""
    for name, value in piece.items():
        held = whole.get(name)
        if isinstance(value, list) and all(isinstance(item, dict) and "index" in item for item in value):
            kept = whole[name] = held if isinstance(held, list) else []
            for item in value:
                grow(_at(kept, item["index"]), item)
        elif isinstance(value, str) and isinstance(held, str):
            whole[name] = value if name in _NAMES else held + value
        elif isinstance(value, dict) and isinstance(held, dict):
            grow(held, value)
        elif isinstance(value, list) and isinstance(held, list):
            held += value
        elif value is not None or held is None:
            whole[name] = value


def _at(items: list[Object], index: Any) -> Object:
    for item in items:
        if item["index"] == index:
            return item
    items.append({"index": index})
    return items[-1]


def chat(chunks: Sequence[Object]) -> Object | None:
    """Assemble a chat completion."""
    choices: dict[Any, Object] = {}
    texts: dict[Any, list[str]] = {}
    for piece in _pieces(chunks):
        index = piece.get("index", 0)
        choice = choices.get(index)
        if choice is None:
            choice = choices[index] = {"index": index, "message": {}, "finish_reason": None}
            texts[index] = []
        delta = piece.get("delta")
        if isinstance(delta, dict):
            text = delta.pop("content", None)
            if isinstance(text, str):
                texts[index].append(text)
            elif text is not None:
                choice["message"]["content"] = text
            if delta:
                grow(choice["message"], delta)
        _take_end(choice, piece)
    for index, parts in texts.items():
        choices[index]["message"].setdefault("content", "".join(parts))
    return _around(chunks, choices.values())


def completion(chunks: Sequence[Object]) -> Object | None:
    """Assemble a (legacy) completion."""
    choices: dict[Any, Object] = {}
    texts: dict[Any, list[str]] = {}
    for piece in _pieces(chunks):
        index = piece.get("index", 0)
        choice = choices.setdefault(index, {"index": index, "finish_reason": None})
        texts.setdefault(index, []).append(piece.get("text") or "")
        _take_end(choice, piece)
    for index, parts in texts.items():
        choices[index]["text"] = "".join(parts)
    return _around(chunks, choices.values())


def message(events: Sequence[Object]) -> Object | None:
    """Assemble an Anthropic message."""
    whole: Object | None = None
    blocks: dict[Any, Object] = {}
    for event in events:
        kind = event.get("type")
        if kind == "message_start":
            whole = dict(event["message"])
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            delta = {name: value for name, value in event["delta"].items() if name != "type"}
            grow(blocks[event["index"]], delta)
        elif kind == "message_delta" and whole is not None:
            whole.update(event["delta"])
            if event.get("usage"):
                whole["usage"] = {**(whole.get("usage") or {}), **event["usage"]}
    if whole is not None:
        whole["content"] = [blocks[index] for index in sorted(blocks)]
    return whole


def response(events: Sequence[Object]) -> Object | None:
    """Return the response that the last event holds."""
    for event in reversed(events):
        if event.get("type") in RESPONSE_ENDS:
            whole: Object = dict(event["response"])
            if not whole.get("output"):  # left out by some who offer this form
                whole["output"] = [each["item"] for each in events if each.get("type") == "response.output_item.done"]
            return whole
    return None


RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
ASSEMBLERS: dict[Kind, Assembler] = {
    "chat": chat,
    "completion": completion,
    "message": message,
    "response": response,
}


def _pieces(chunks: Sequence[Object]) -> Iterable[Object]:
    for chunk in chunks:
        yield from chunk.get("choices") or ()


def _take_end(choice: Object, piece: Object) -> None:
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    if piece.get("error") is not None:
        choice["error"] = piece["error"]


def _around(chunks: Sequence[Object], choices: Iterable[Object]) -> Object:
    whole: Object = {"choices": list(choices)}
    for chunk in chunks:
        for name in ("id", "model", "usage", "service_tier"):
            if chunk.get(name) is not None:
                whole[name] = chunk[name]
    return whole
