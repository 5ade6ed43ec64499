"""What may be stored: whole, good answers of all five kinds; each other one is refused, for a reason with a name."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from tests.llm.llm_answers import ANSWERS, answer, without
from tiercache.errors import ConfigurationError
from tiercache.llm import Rules, StorePolicy
from tiercache.llm.kinds import KINDS


def refusal(kind: Any, answer: Any, **allowed: Any) -> str | None:
    return StorePolicy(**allowed).refusal(kind, answer)


def base64_of(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_answer_may_be_stored(kind: Any) -> None:
    assert refusal(kind, ANSWERS[kind]) is None


GOOD = [
    ("chat", answer(choices__0__finish_reason="tool_calls", choices__0__message={"tool_calls": [{"id": "1"}]})),
    ("chat", answer(choices__0__finish_reason="function_call", choices__0__message={"function_call": {"name": "f"}})),
    ("chat", answer(choices__0__message={"content": None, "audio": {"id": "a"}})),
    ("chat", answer(choices__0__finish_reason="STOP")),
    ("chat", answer(error=None)),
    ("chat", answer(choices__0__message__content=[{"type": "text", "text": "a list, as some send it"}])),
    ("completion", answer("completion", choices__0__text="x")),
    ("message", answer("message", stop_reason="stop_sequence")),
    ("message", answer("message", stop_reason="tool_use", content=[{"type": "tool_use", "name": "f"}])),
    ("response", answer("response", output=[{"type": "function_call", "status": "completed"}])),
    ("response", answer("response", output=[{"type": "image_generation_call", "result": "…"}])),
    ("embedding", answer("embedding", data__0__embedding=base64_of(1.0, -2.0))),
    ("embedding", answer("embedding", data__0__index=1, data__1__index=0)),
]
BAD = [
    ("error", "chat", answer(error={"message": "overloaded"})),
    ("error", "chat", {"object": "error", "message": "no such model"}),
    ("error", "chat", answer(choices__0__error={"code": 502})),
    ("error", "chat", answer(choices__0__finish_reason="error")),
    ("truncated", "chat", answer(choices__0__finish_reason="length")),
    ("truncated", "chat", answer(choices__0__finish_reason="MAX_TOKENS")),
    ("filtered", "chat", answer(choices__0__finish_reason="content_filter")),
    ("filtered", "chat", answer(choices__0__message__refusal="I cannot")),
    ("incomplete", "chat", answer(choices__0__finish_reason=None)),
    ("incomplete", "chat", without("chat", "choices__0__finish_reason")),
    ("unknown_end", "chat", answer(choices__0__finish_reason="halted")),
    ("malformed", "chat", answer(choices__0__finish_reason=7)),
    ("malformed", "chat", answer(choices__0="text")),
    ("malformed", "chat", answer(choices="text")),
    ("malformed", "chat", answer(choices__0__message=None)),
    ("malformed", "chat", "text"),
    ("malformed", "chat", None),
    ("empty", "chat", answer(choices=[])),
    ("empty", "chat", without("chat", "choices")),
    ("empty", "chat", answer(choices__0__message__content=None)),
    ("empty", "chat", answer(choices__0__message__content=" \n")),
    ("empty", "chat", answer(choices__0__message={"content": "", "tool_calls": []})),
    ("truncated", "completion", answer("completion", choices__0__finish_reason="length")),
    ("filtered", "completion", answer("completion", choices__0__finish_reason="content_filter")),
    ("empty", "completion", answer("completion", choices__0__text="")),
    ("malformed", "completion", without("completion", "choices__0__text")),
    ("error", "response", answer("response", error={"code": "server_error"})),
    ("error", "response", answer("response", status="failed")),
    ("incomplete", "response", answer("response", status="incomplete")),
    ("truncated", "response", answer("response", incomplete_details={"reason": "max_output_tokens"})),
    ("filtered", "response", answer("response", status="incomplete", incomplete_details={"reason": "content_filter"})),
    ("incomplete", "response", answer("response", incomplete_details={"reason": "max_messages"})),
    ("incomplete", "response", answer("response", status="cancelled")),
    ("incomplete", "response", answer("response", status="in_progress")),
    ("incomplete", "response", answer("response", status="queued")),
    ("incomplete", "response", without("response", "status")),
    ("incomplete", "response", answer("response", output__1__status="incomplete")),
    ("filtered", "response", answer("response", output__1__content=[{"type": "refusal", "refusal": "no"}])),
    ("empty", "response", answer("response", output=[])),
    ("empty", "response", answer("response", output=[{"type": "reasoning", "summary": []}])),
    ("empty", "response", answer("response", output=[{"type": "message", "content": []}])),
    ("error", "message", {"type": "error", "error": {"type": "overloaded_error"}}),
    ("truncated", "message", answer("message", stop_reason="max_tokens")),
    ("truncated", "message", answer("message", stop_reason="model_context_window_exceeded")),
    ("filtered", "message", answer("message", stop_reason="refusal")),
    ("incomplete", "message", answer("message", stop_reason="pause_turn")),
    ("incomplete", "message", answer("message", stop_reason=None)),
    ("unknown_end", "message", answer("message", stop_reason="tired")),
    ("empty", "message", answer("message", content=[])),
    ("empty", "message", answer("message", content=[{"type": "thinking", "thinking": "hm"}])),
    ("empty", "message", answer("message", content=[{"type": "text", "text": ""}])),
    ("malformed", "message", answer("message", content=["text"])),
    ("empty", "embedding", answer("embedding", data=[])),
    ("empty", "embedding", without("embedding", "data")),
    ("empty", "embedding", answer("embedding", data__1__embedding=[])),
    ("empty", "embedding", without("embedding", "data__0__embedding")),
    ("malformed", "embedding", answer("embedding", data__0__embedding=[1.0, float("nan")])),
    ("malformed", "embedding", answer("embedding", data__0__embedding=[float("inf"), float("-inf")])),
    ("malformed", "embedding", answer("embedding", data__0__embedding=base64_of(1.0, float("nan")))),
    ("malformed", "embedding", answer("embedding", data__0__embedding="not base64")),
    ("malformed", "embedding", answer("embedding", data__0__embedding=["1.0"])),
    ("incomplete", "embedding", answer("embedding", data__1__index=0)),
    ("incomplete", "embedding", answer("embedding", data__1__index=2)),
]


@pytest.mark.parametrize(("kind", "good"), GOOD)
def test_what_is_whole_in_another_form_may_be_stored(kind: Any, good: Any) -> None:
    assert refusal(kind, good) is None


@pytest.mark.parametrize(("reason", "kind", "bad"), BAD)
def test_what_is_not_is_refused_by_name(reason: str, kind: Any, bad: Any) -> None:
    assert refusal(kind, bad) == reason


def test_one_bad_choice_of_several_is_enough() -> None:
    two = answer()
    two["choices"].append({**two["choices"][0], "index": 1, "finish_reason": "length"})
    assert refusal("chat", two) == "truncated"


@pytest.mark.parametrize(
    ("allowed", "kind", "tolerated"),
    [
        ({"truncated": True}, "chat", answer(choices__0__finish_reason="length")),
        ({"filtered": True}, "message", answer("message", stop_reason="refusal")),
        ({"empty": True}, "message", answer("message", content=[])),
        ({"complete": ("halted",)}, "chat", answer(choices__0__finish_reason="halted")),
    ],
)
def test_some_of_it_is_stored_by_those_who_say_so(allowed: Any, kind: Any, tolerated: Any) -> None:
    assert refusal(kind, tolerated) is not None
    assert refusal(kind, tolerated, **allowed) is None


def test_what_is_tolerated_hides_no_other_fault() -> None:
    assert refusal("chat", answer(choices__0__finish_reason="length", choices__0__message=None), truncated=True) == (
        "malformed"
    )


@pytest.mark.parametrize("odd", ["\ud800", 2**70, {1: "a"}, b"bytes"])
def test_what_json_cannot_hold_is_measured_all_the_same(odd: Any) -> None:
    assert refusal("chat", answer(choices__0__logprobs=odd)) is None
    assert refusal("chat", answer(choices__0__logprobs=odd), max_bytes=200) == "too_large"


def test_a_large_answer_is_refused() -> None:
    assert refusal("chat", answer(), max_bytes=200) == "too_large"
    assert refusal("chat", answer(), max_bytes="1MiB") is None


def test_a_predicate_has_the_last_word() -> None:
    def is_short(kind: str, answer: Any) -> bool:
        return len(answer["choices"][0]["message"]["content"]) < 10

    assert refusal("chat", answer(), accept=is_short) is None
    assert refusal("chat", answer(choices__0__message__content="at great length"), accept=is_short) == "not_accepted"
    assert refusal("message", answer("message"), accept=is_short) == "policy_error"
    assert refusal("chat", answer(choices=[]), accept=is_short) == "empty"


class Strange:
    """A policy of somebody's own."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def refusal(self, kind: str, answer: Any) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.parametrize(
    ("said", "reason"),
    [(None, None), ("boring", "boring"), (RuntimeError("a defect"), "policy_error"), (True, "policy_error")],
)
def test_a_policy_of_ones_own_decides_and_never_raises(said: Any, reason: str | None) -> None:
    assert Rules(policy=Strange(said)).policy.refusal("chat", answer()) == reason


@pytest.mark.parametrize("policy", [lambda kind, answer: None, Strange, "strict", object()])
def test_what_is_no_policy_is_told_at_once(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match="refusal"):
        Rules(policy=policy)


@pytest.mark.parametrize("options", [{"complete": "halted"}, {"accept": 1}, {"max_bytes": 0}, {"max_bytes": "much"}])
def test_options_that_are_none_are_told_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        StorePolicy(**options)
