"""What an answer cost: its tokens in every provider's form, and money at list prices, offline."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tiercache.llm.costs import attributes_of
from tiercache.llm.prices import Price, usd_of
from tiercache.llm.usage import Usage, usage_of

CHAT = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
RESPONSE = {"input_tokens": 1000, "output_tokens": 100, "input_tokens_details": {"cached_tokens": 400}}
MESSAGE = {
    "input_tokens": 500,
    "cache_read_input_tokens": 400,
    "cache_creation_input_tokens": 100,
    "output_tokens": 100,
}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (CHAT, Usage(1000, 100, 400)),
        (RESPONSE, Usage(1000, 100, 400)),
        (MESSAGE, Usage(1000, 100, 400, 100)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ({"prompt_tokens": None, "completion_tokens": "x", "input_tokens": -1}, Usage()),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(3)),
        ({"prompt_tokens": 2**70, "completion_tokens": 5}, Usage(0, 5)),
    ],
)
def test_usage_is_read_in_every_form(stated: dict[str, Any], expected: Usage) -> None:
    assert usage_of({"usage": stated}) == expected


@pytest.mark.parametrize("answer", [{}, {"usage": None}, {"usage": 3}])
def test_an_answer_without_usage_has_none(answer: dict[str, Any]) -> None:
    assert usage_of(answer) is None


def test_money_is_that_of_the_list() -> None:
    from genai_prices import Usage as Counted
    from genai_prices import calc_price

    expected = calc_price(Counted(input_tokens=1000, output_tokens=100, cache_read_tokens=400), model_ref="gpt-4o")
    assert usd_of("gpt-4o", Usage(1000, 100, 400)) == pytest.approx(float(expected.total_price))


def test_what_the_provider_had_in_its_own_cache_costs_less() -> None:
    dear, cheap = usd_of("gpt-4o", Usage(1000, 100)), usd_of("gpt-4o", Usage(1000, 100, 400))
    assert dear is not None
    assert cheap is not None
    assert cheap < dear


def test_embeddings_have_a_price_without_being_told_their_provider() -> None:
    assert usd_of("text-embedding-3-small", Usage(1_000_000)) == pytest.approx(0.02)


def test_the_address_tells_the_provider() -> None:
    url = "https://api.anthropic.com/v1/messages?beta=true"
    assert usd_of("claude-sonnet-4-5", Usage(1000, 100), url=url) == pytest.approx(0.0045)


def test_behind_an_address_of_ones_own_a_call_is_worth_what_the_maker_takes() -> None:
    assert usd_of("gpt-4o", Usage(1000, 100), url="http://127.0.0.1:4000/v1/chat/completions") == pytest.approx(0.0035)


def test_an_unknown_model_has_no_price() -> None:
    assert usd_of("my-model-of-yesterday", Usage(1000, 100)) is None


def test_prices_of_ones_own_go_before_the_list() -> None:
    own = {"gpt-4o": Price(1.0, 2.0)}
    assert usd_of("gpt-4o", Usage(1_000_000, 500_000), own=own) == pytest.approx(2.0)


def test_without_the_list_there_is_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiercache.llm import prices

    prices._found.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    assert usd_of("gpt-4o", Usage(1000, 100)) is None
    prices._found.cache_clear()


def test_attributes_hold_what_is_known() -> None:
    answer = {"model": "gpt-4o-2024-08-06", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}
    attributes = attributes_of("my-deployment", answer, seconds=1.25, provider="azure")
    assert attributes == {
        "provider": "azure",
        "seconds": 1.25,
        "input_tokens": 1000,
        "output_tokens": 100,
        "usd": pytest.approx(0.0035),
    }
    assert attributes_of("m", {}) == {}
