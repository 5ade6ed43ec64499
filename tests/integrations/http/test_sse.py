"""Streams of events, judged: where they end, and what must not be stored, however their bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider.answers import Answer
from tests.provider.scripts import Script
from tests.provider.streams import frames
from tiercache.integrations.http.sse import Judge, Verdict
from tiercache.llm.kinds import Kind
from tiercache.llm.policy import StorePolicy

KINDS: list[Kind] = ["chat", "completion", "response", "message"]
POLICY = StorePolicy()


def stream(kind: str, body: dict[str, Any] | None = None, **script: Any) -> bytes:
    """A stream of the fake provider's, whole."""
    return b"".join(frames(Answer(kind, body or {"model": "m"}, "m", 1, Script(**script))))


def judged(kind: Kind, chunks: Iterable[bytes], policy: Any = POLICY) -> tuple[bool, Verdict]:
    """Whether the stream came to its end, and the verdict."""
    judge = Judge(kind, policy)
    for chunk in chunks:
        judge.feed(chunk)
    return judge.finish(), judge.verdict()


def events(*data: Any) -> bytes:
    """Events of JSON, or of the text itself."""
    return b"".join(
        b"data: " + (one.encode() if isinstance(one, str) else json.dumps(one).encode()) + b"\n\n" for one in data
    )


def chat(*deltas: dict[str, Any], finish: str | None = "stop", **more: Any) -> list[dict[str, Any]]:
    """The chunks of a chat completion with these deltas."""
    pieces: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    pieces.append({"index": 0, "delta": {}, "finish_reason": finish, **more})
    return [{"id": "x", "model": "m", "choices": [piece]} for piece in pieces]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_stream_may_be_stored(kind: Kind) -> None:
    ended, verdict = judged(kind, [stream(kind)])
    assert ended
    assert verdict.reason is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{"crlf": True}, {"comments": True}, {"crlf": True, "comments": True}])
def test_line_ends_and_comments_make_no_difference(kind: Kind, how: dict[str, Any]) -> None:
    assert judged(kind, [stream(kind, **how)]) == judged(kind, [stream(kind)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_and_lone_carriage_returns_are_taken(kind: Kind) -> None:
    odd = b"\xef\xbb\xbf" + stream(kind).replace(b"\n", b"\r")
    assert judged(kind, [bytes([byte]) for byte in odd]) == judged(kind, [stream(kind)])


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_several_lines_is_one_text(kind: Kind) -> None:
    split = stream(kind).replace(b'data: {"', b'data: {\ndata:"')
    assert judged(kind, [split]) == judged(kind, [stream(kind)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"error": True}, "error"),
        ({"error": True, "then_end": True}, "error"),
        ({"no_end": True}, "incomplete"),
        ({"malformed": True}, "malformed"),
        ({"finish": "length"}, "truncated"),
        ({"finish": "content_filter"}, "filtered"),
        ({"empty": True}, "empty"),
    ],
)
def test_what_must_not_be_stored_is_told_by_name(kind: Kind, how: dict[str, Any], reason: str) -> None:
    assert judged(kind, [stream(kind, **how)])[1].reason == reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_that_takes_truncated_answers_takes_truncated_streams(kind: Kind) -> None:
    ended, verdict = judged(kind, [stream(kind, finish="length")], StorePolicy(truncated=True))
    assert ended
    assert verdict.reason is None


def test_a_failed_response_is_an_error() -> None:
    assert judged("response", [stream("response", finish="failed")])[1].reason == "error"


def test_any_choice_counts() -> None:
    good = {"index": 0, "delta": {"content": "good"}, "finish_reason": "stop"}
    cut = {"index": 1, "delta": {"content": "cut"}, "finish_reason": "length"}
    assert judged("chat", [events({"choices": [good, cut]}, "[DONE]")])[1].reason == "truncated"


def test_a_choice_without_a_finish_reason_is_incomplete() -> None:
    assert judged("chat", [events(*chat({"content": "x"}, finish=None), "[DONE]")])[1].reason == "incomplete"


def test_an_error_within_a_choice_is_an_error() -> None:
    failed = chat({"content": "x"}, error={"code": 502, "message": "upstream"})
    assert judged("chat", [events(*failed, "[DONE]")])[1].reason == "error"


def test_a_stream_without_any_content_is_empty() -> None:
    assert judged("chat", [events(*chat({"role": "assistant", "content": ""}), "[DONE]")])[1].reason == "empty"


def test_a_call_of_a_tool_is_put_together() -> None:
    def call(arguments: str, **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more}}]}

    pieces = chat(call("", name="find"), call('{"q"'), call(": 1}"), finish="tool_calls")
    _, verdict = judged("chat", [events(*pieces, "[DONE]")])
    assert verdict.reason is None
    assert verdict.answer is not None
    message = verdict.answer["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "find", "arguments": '{"q": 1}'}


@pytest.mark.parametrize("kind", KINDS)
def test_the_usage_is_that_of_the_answer_without_a_stream(kind: Kind) -> None:
    body = {"model": "m", "stream_options": {"include_usage": True}}
    _, verdict = judged(kind, [stream(kind, body)])
    whole: Any = Answer(kind, body, "m", 1, Script()).document()
    assert verdict.answer is not None
    assert verdict.answer["usage"] == whole["usage"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_looks_like_the_end_is_none(kind: Kind) -> None:
    sly = "data: [DONE]\n\nevent: message_stop response.completed"
    ended, verdict = judged(kind, [stream(kind, content=sly, no_end=True)])
    assert not ended
    assert verdict.reason == "incomplete"
    assert judged(kind, [stream(kind, content=sly)])[1].reason is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_is_seen_at_its_last_byte_and_not_before(kind: Kind) -> None:
    whole = stream(kind)
    judge = Judge(kind, POLICY)
    seen = [judge.feed(bytes([byte])) for byte in whole]
    assert seen == [False] * (len(whole) - 1) + [True]


def test_what_follows_the_end_does_not_count() -> None:
    behind = events({"error": {"message": "too late"}})
    assert judged("chat", [stream("chat") + behind])[1].reason is None
    assert judged("chat", [stream("chat"), behind])[1].reason is None


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_last_line_of_a_chat_needs_no_empty_line(ending: bytes) -> None:
    ended, verdict = judged("chat", [stream("chat").rstrip(b"\n") + ending])
    assert ended
    assert verdict.reason is None


@pytest.mark.parametrize("data", ["1", "[]", "null", '"text"', "{}, {}", '{"choices": 3}', '{"choices": [3]}', "\xff"])
def test_events_of_another_shape_are_malformed(data: str) -> None:
    assert judged("chat", [events(*chat({"content": "x"}), data, "[DONE]")])[1].reason == "malformed"


@st.composite
def cut(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """The same bytes in other chunks, empty ones among them."""
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return [whole[start:end] for start, end in zip([0, *places], [*places, len(whole)], strict=True)]


SCRIPTS: Sequence[dict[str, Any]] = [
    {},
    {"crlf": True, "comments": True},
    {"error": True, "then_end": True},
    {"no_end": True},
    {"finish": "length"},
    {"content": "[DONE] message_stop response.completed"},
]


@given(data=st.data(), kind=st.sampled_from(KINDS), script=st.sampled_from(SCRIPTS))
def test_any_chunks_of_the_same_bytes_are_judged_alike(data: st.DataObject, kind: Kind, script: dict[str, Any]) -> None:
    whole = stream(kind, **script)
    assert judged(kind, data.draw(cut(whole))) == judged(kind, [whole])


@given(data=st.data(), kind=st.sampled_from(KINDS), crlf=st.booleans())
def test_a_stream_cut_anywhere_is_never_stored_unless_its_end_is_in(
    data: st.DataObject, kind: Kind, crlf: bool
) -> None:
    whole = stream(kind, crlf=crlf)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    ended, verdict = judged(kind, data.draw(cut(part)))
    marked = kind in ("chat", "completion") and part.rstrip(b"\r\n").endswith(b"data: [DONE]")
    complete = marked or (crlf and len(part) == len(whole) - 1)  # the last LF of a CRLF says nothing
    assert ended == complete
    assert (verdict.reason is None) == complete


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from(KINDS))
def test_no_bytes_make_it_raise(chunks: list[bytes], kind: Kind) -> None:
    ended, verdict = judged(kind, chunks)
    assert ended or verdict.reason is not None
