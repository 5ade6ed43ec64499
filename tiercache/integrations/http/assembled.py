"""Answers put together from the events of their streams, as the same requests without streams would get them.

They are judged and counted, never handed out: a client reads the stream itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ...llm.kinds import Kind

Object = dict[str, Any]
Assembler = Callable[[Sequence[Any]], Object | None]
REPEATED = ("id", "type", "role", "name", "index", "object", "status")
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
            whole[name] = value if name in REPEATED else held + value
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


class Piece(msgspec.Struct, gc=False):
    """What a chunk adds to one choice."""

    index: int = 0
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk of a chat, or of a (legacy) completion: of its fields those that are looked at."""

    choices: list[Piece] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    model: Any = None
    type: Any = None
    object: Any = None


def chat(chunks: Sequence[Chunk]) -> Object | None:
    """Assemble a chat completion."""
    choices: dict[int, Object] = {}
    texts: dict[int, list[str]] = {}
    for piece in _pieces(chunks):
        index, delta = piece.index, piece.delta
        if index not in choices:
            choices[index] = {"index": index, "message": {}, "finish_reason": None}
            texts[index] = []
        if delta:
            text = delta.pop("content", None)
            if isinstance(text, str):
                texts[index].append(text)
            elif text is not None:
                choices[index]["message"]["content"] = text
            if delta:
                grow(choices[index]["message"], delta)
        if piece.finish_reason is not None or piece.error is not None:
            _take_end(choices[index], piece)
    for index, parts in texts.items():
        choices[index]["message"].setdefault("content", "".join(parts))
    return _around(chunks, choices.values())


def completion(chunks: Sequence[Chunk]) -> Object | None:
    """Assemble a (legacy) completion."""
    choices: dict[int, Object] = {}
    texts: dict[int, list[str]] = {}
    for piece in _pieces(chunks):
        choice = choices.setdefault(piece.index, {"index": piece.index, "finish_reason": None})
        texts.setdefault(piece.index, []).append(piece.text or "")
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


def is_error(event: Any) -> bool:
    """Whether an event says that the provider failed."""
    if isinstance(event, Chunk):
        return bool(event.error) or event.type == "error" or event.object == "error"
    return bool(event.get("error")) or event.get("type") == "error" or event.get("object") == "error"


RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
ASSEMBLERS: dict[Kind, Assembler] = {
    "chat": chat,
    "completion": completion,
    "message": message,
    "response": response,
}
_chunks_in = msgspec.json.Decoder(list[Chunk]).decode
_events_in = msgspec.json.Decoder(list[dict[str, Any]]).decode


def read(kind: Kind, data: Sequence[bytes]) -> list[Any] | None:
    """Return the events of which this is the data, for the assembler; None: it is not JSON, or of another shape."""
    decode = _chunks_in if kind in ("chat", "completion") else _events_in
    try:
        events: list[Any] = decode(b"[" + b",".join(data) + b"]")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return events if len(events) == len(data) else None


def _pieces(chunks: Sequence[Chunk]) -> Iterable[Piece]:
    for chunk in chunks:
        if chunk.choices:
            yield from chunk.choices


def _take_end(choice: Object, piece: Piece) -> None:
    if piece.finish_reason is not None:
        choice["finish_reason"] = piece.finish_reason
    if piece.error is not None:
        choice["error"] = piece.error


def _around(chunks: Sequence[Chunk], choices: Iterable[Object]) -> Object:
    whole: Object = {"choices": list(choices)}
    for chunk in chunks:
        if chunk.usage is not None:
            whole["usage"] = chunk.usage
        if chunk.model is not None:
            whole["model"] = chunk.model
    return whole
