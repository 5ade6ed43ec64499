"""Events that differ in the text they add, and in nothing else, merged into one before any of them is parsed.

A stream of hundreds of chunks is the same envelope over and over. Where one event is taken apart with a parser, the
others that have its very bytes around their texts say the same with their texts joined.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from ...llm.kinds import Kind
from .assembled import REPEATED, Chunk

_FIELDS = re.compile(rb"(?:event: [\w.]+\n)?data: ").match
_TEXT = re.compile(rb'"(?:content|text|thinking)"\s*:\s*"').search
_PADDING = re.compile(rb'"(?:obfuscation|p)"\s*:\s*"([A-Za-z0-9]*)"').search
"""What providers add so that the length of a chunk does not tell that of its text."""
_odd = re.compile(rb'["\\]').search
_PLAIN = bytes(byte for byte in range(0x20, 0x100) if byte not in b'"\\')
"""Bytes that may stand in a JSON string as they are, as long as they are UTF-8."""
_MANY = 4096
"""Bytes; it is of no use to look at less."""
_chunk_in = msgspec.json.Decoder(Chunk).decode
_object_in = msgspec.json.Decoder(dict[str, Any]).decode


class Envelope(NamedTuple):
    """What alike events have around their texts, and around what pads them."""

    fields: bytes
    """Up to the data: an event's name, if it has one, and `data: `."""
    head: bytes
    """Of the data, before the text."""
    between: bytes
    """What is between text and padding; empty: there is no padding."""
    tail: bytes


def merged(kind: Kind, stream: bytes) -> bytes:
    """Return a stream, or a part of one, that says the same in fewer events."""
    envelope = _envelope(kind, stream)
    if envelope is None:
        return stream
    joint = b"\n\n" + envelope.fields
    first, *events, last = stream.split(joint)
    try:
        return joint.join([first, *_fewer(events, envelope), last])
    except ValueError:
        return stream


def _fewer(events: list[bytes], envelope: Envelope) -> list[bytes]:
    """Return what stands between joints, with the events of the envelope in a row as one."""
    _, head, between, tail = envelope
    start, end = len(head), -len(tail)
    fewer: list[bytes] = []
    run: list[bytes] = []
    for event in events:
        if event.startswith(head) and event.endswith(tail):
            text = event[start:end]
            if between:
                text, found, padding = text.partition(between)
                alike = found and (not padding or padding.isalnum())
            else:
                alike = len(event) >= start - end
            if alike and _odd(text) is None:
                run.append(text)
                continue
        if run:
            fewer.append(_one(run, envelope))
            run = []
        fewer.append(event)
    return [*fewer, _one(run, envelope)] if run else fewer


def _one(texts: list[bytes], envelope: Envelope) -> bytes:
    """Return the event that adds these texts. Raises ValueError: one of them may not stand in an event by itself."""
    b"\n".join(texts).decode()
    text = b"".join(texts)
    if text.translate(None, _PLAIN):
        raise ValueError("characters that JSON does not allow")
    return envelope.head + text + envelope.between + envelope.tail


def _envelope(kind: Kind, stream: bytes) -> Envelope | None:
    """Return the envelope of most events, if it may be said once for all of them."""
    if len(stream) < _MANY or kind not in _IS_TEXT:
        return None
    for part in (2, 4, 3):  # one of them may have an escape in its text
        start = stream.rfind(b"\n\n", 0, len(stream) - len(stream) // part) + 2
        end = stream.find(b"\n\n", start)
        if start >= 2 and end >= 0:
            envelope = _parted(stream[start:end])
            if envelope is not None and _may_be_said_once(kind, envelope):
                return envelope
    return None


def _parted(event: bytes) -> Envelope | None:
    fields = _FIELDS(event)
    text = _TEXT(event)
    if fields is None or text is None or text.start() < fields.end() or len(event[fields.end() :].splitlines()) != 1:
        return None
    rest = event[event.find(b'"', text.end()) :]
    padding = _PADDING(rest)
    start, end = (0, 0) if padding is None else padding.span(1)
    return Envelope(fields[0], event[fields.end() : text.end()], rest[:start], rest[end:])


def _may_be_said_once(kind: Kind, envelope: Envelope) -> bool:
    """Whether what is put between the parts of the envelope is a text that the event adds, and all that it adds."""
    adds, (_, head, between, tail) = _IS_TEXT[kind], envelope
    padding = b"Pad0" if between else b""
    try:
        tried = ((b"", b""), (b"x", padding))
        return all(adds(head + text + between + pad + tail, text.decode()) for text, pad in tried)
    except (msgspec.DecodeError, ValueError, RecursionError, TypeError, AttributeError, KeyError):
        return False


def _chat_adds(event: bytes, text: str) -> bool:
    (piece,) = _chunk_in(event).choices or []
    delta = dict(piece.delta or {})
    return delta.pop("content") == text and all(
        name in REPEATED or value is None or value == "" for name, value in delta.items()
    )


def _completion_adds(event: bytes, text: str) -> bool:
    (piece,) = _chunk_in(event).choices or []
    return piece.text == text


def _message_adds(event: bytes, text: str) -> bool:
    said = _object_in(event)
    delta = dict(said["delta"])
    return said["type"] == "content_block_delta" and delta.pop("type", None) is not None and [*delta.values()] == [text]


_IS_TEXT = {"chat": _chat_adds, "completion": _completion_adds, "message": _message_adds}
