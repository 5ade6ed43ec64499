"""Whatever a provider answers, its caller gets it, and later ones get the same or ask anew."""

from __future__ import annotations

import copy
from typing import Any

import openai.types.chat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.llm.llm_answers import ANSWERS
from tiercache.llm import LLMCache, StorePolicy
from tiercache.llm.kinds import KINDS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where something stands in an answer."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for step, item in inner for each in paths(item, (*path, step)))]


@st.composite
def broken(draw: st.DrawFn, kind: Any) -> Any:
    """Draw an answer of which one part is something else."""
    answer = copy.deepcopy(ANSWERS[kind])
    *way, last = draw(st.sampled_from(paths(answer)[1:]))
    place: Any = answer
    for step in way:
        place = place[step]
    place[last] = draw(JSON)
    return answer


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "embedding"])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_an_answer_with_anything_in_it_is_no_obstacle(kind: Any, data: st.DataObject) -> None:
    answer = data.draw(broken(kind))
    llm, request = LLMCache.memory_only(), {"model": "m", "temperature": 0}
    ask = getattr(llm, kind)
    assert ask(request, lambda: answer) is answer
    again = ask(request, lambda: answer)
    assert repr(again) == repr(answer)  # NaN equals nothing, itself included
    assert StorePolicy(truncated=True).refusal(kind, answer) in (None, *REASONS)


@settings(max_examples=50, deadline=None)
@given(answer=broken("chat"))
def test_so_is_an_object_of_an_sdk(answer: dict[str, Any]) -> None:
    try:
        made = openai.types.chat.ChatCompletion.construct(**answer)
    except Exception:  # the SDK itself would not return it
        return
    llm, request = LLMCache.memory_only(), {"model": "m", "temperature": 0}
    assert llm.chat(request, lambda: made) is made
    again = llm.chat(request, lambda: made)
    assert type(again) is type(made)
    assert repr(again) == repr(made)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(answer=JSON)
def test_no_answer_makes_the_policy_raise(kind: Any, answer: Any) -> None:
    assert StorePolicy().refusal(kind, answer) in REASONS


REASONS = ("malformed", "error", "incomplete", "unknown_end", "truncated", "filtered", "empty", "too_large")
