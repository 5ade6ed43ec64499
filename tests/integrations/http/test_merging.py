"""Alike events of a stream, merged before they are parsed: judged as if each had been parsed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercache.integrations.http import merging, sse
from tiercache.integrations.http.sse import Judge, Verdict
from tiercache.llm.kinds import Kind
from tiercache.llm.policy import StorePolicy

KINDS: list[Kind] = ["chat", "completion", "message"]
WORDS = ("word ", "", "dé", "語", '"', "\\", "\n", "\x01", "[DONE]", "data: ", "\ud83d", "\udc00", '"},"x":{"')
LONG = ["some words "] * 60


def body(kind: Kind, texts: Sequence[str], *, padded: bool = False, ascii: bool = True) -> bytes:
    """A whole stream that says these texts, one an event."""
    made = [_event(kind, text, "ab0"[: number % 4], padded, ascii) for number, text in enumerate(texts)]
    return b"".join([*_before(kind), *made, *_after(kind)])


def _event(kind: Kind, text: str, padding: str, padded: bool, ascii: bool) -> bytes:
    more: dict[str, Any] = {"obfuscation": padding} if padded else {}
    if kind == "message":
        delta = {"type": "text_delta", "text": text}
        return _written({"type": "content_block_delta", "index": 0, "delta": delta, **more}, ascii, named=True)
    adds: dict[str, Any] = {"delta": {"content": text}} if kind == "chat" else {"text": text}
    return _written({"model": "m", "choices": [{"index": 0, **adds, "finish_reason": None}], **more}, ascii)


def _before(kind: Kind) -> list[bytes]:
    if kind != "message":
        return []
    start = {"type": "message_start", "message": {"id": "x", "model": "m", "usage": {"input_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [_written(start, True, named=True), _written(block, True, named=True)]


def _after(kind: Kind) -> list[bytes]:
    if kind == "message":
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
        return [_written(delta, True, named=True), _written({"type": "message_stop"}, True, named=True)]
    adds: dict[str, Any] = {"delta": {}} if kind == "chat" else {"text": ""}
    return [_written({"choices": [{"index": 0, **adds, "finish_reason": "stop"}]}, True), b"data: [DONE]\n\n"]


def _written(event: dict[str, Any], ascii: bool, *, named: bool = False) -> bytes:
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    return (f"event: {event['type']}\n".encode() if named else b"") + b"data: " + data + b"\n\n"


def judged(kind: Kind, whole: bytes) -> tuple[bool, Verdict]:
    """Whether a stream came to its end, and the verdict."""
    judge = Judge(kind, StorePolicy())
    judge.feed(whole)
    return judge.finish(), judge.verdict()


def judged_one_by_one(kind: Kind, whole: bytes) -> tuple[bool, Verdict]:
    """`judged`, with each event parsed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "merged", lambda _, stream: stream)
        return judged(kind, whole)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_events_that_differ_in_their_text_become_one(kind: Kind, padded: bool) -> None:
    padded = padded and kind != "message"
    whole = body(kind, LONG, padded=padded)
    assert merging.merged(kind, whole).count(b"data: ") < whole.count(b"data: ") / 4
    ended, verdict = judged(kind, whole)
    assert ended
    assert verdict.reason is None
    assert json.dumps(verdict.answer).count("some words") == len(LONG)


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.sampled_from(WORDS), st.integers(1, 40)), max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_the_verdict_is_that_of_all_events(kind: Kind, runs: list[tuple[str, int]], padded: bool, ascii: bool) -> None:
    texts = LONG + [word for word, times in runs for _ in range(times)] + LONG
    whole = body(kind, texts, padded=padded, ascii=ascii)
    assert judged(kind, whole) == judged_one_by_one(kind, whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "odd",
    [
        b'{"error": {"message": "no"}}',
        b"{",
        b'"',
        b"\xff",
        b'{"type": "error"}',
        b'{"choices": [{"index": 0, "delta": {"content": "more"}, "text": "more", "finish_reason": "length"}]}',
    ],
)
def test_an_event_of_another_kind_among_them_counts(kind: Kind, odd: bytes) -> None:
    joint = body(kind, ["some words "])
    event = _event(kind, "some words ", "", False, True)
    assert event in joint
    whole = body(kind, LONG * 2)
    half = whole.index(event, len(whole) // 2)
    whole = whole[:half] + b"data: " + odd + b"\n\n" + whole[half:]
    assert judged(kind, whole) == judged_one_by_one(kind, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_utf_8_only_when_they_are_joined_are_malformed(kind: Kind) -> None:
    whole = body(kind, [*LONG, "AAA", "BBB", *LONG]).replace(b"AAA", b"\xe8\xaa").replace(b"BBB", b"\x9e")
    assert judged(kind, whole)[1].reason == judged_one_by_one(kind, whole)[1].reason == "malformed"


@given(st.data(), st.sampled_from(KINDS), st.booleans())
def test_any_byte_that_is_changed_counts(data: st.DataObject, kind: Kind, padded: bool) -> None:
    whole = bytearray(body(kind, LONG, padded=padded))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from(b'"\\\n\r{}[]: ,0a\xff\x01'))
    assert judged(kind, bytes(whole)) == judged_one_by_one(kind, bytes(whole))
