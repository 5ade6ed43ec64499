"""How requests become entries: lives, tags, samples, tenants and users."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.llm_answers import chat_request
from tiercache.errors import ConfigurationError, UncacheableValue
from tiercache.llm import CacheControl, Rules, cache_control
from tiercache.llm.control import current
from tiercache.llm.sampling import is_sampled
from tiercache.options import OWN

TTL = {"ttl": {"chat": "1h", "embedding": None}}


def ttl_of(rules: Rules, kind: Any, model: str, **said: Any) -> Any:
    return rules.plan(kind, {"model": model}, control=CacheControl.of(**said)).options["ttl"]


def test_a_life_goes_by_the_call_then_the_model_then_the_kind_then_the_cache() -> None:
    rules = Rules(**TTL, model_ttl={"gpt-4o": 10, "gpt-4*": 20, "gpt-4o-m*": "30s", "o3": None})
    assert ttl_of(rules, "chat", "gpt-3.5") == 3600
    assert ttl_of(rules, "embedding", "gpt-3.5") is None
    assert ttl_of(rules, "message", "claude") is OWN
    assert ttl_of(rules, "chat", "gpt-4o") == 10
    assert ttl_of(rules, "chat", "gpt-4.1") == 20
    assert ttl_of(rules, "chat", "gpt-4o-mini") == 30
    assert ttl_of(rules, "chat", "o3") is None
    assert ttl_of(rules, "chat", "gpt-4o", ttl="5s") == 5
    assert ttl_of(rules, "chat", "gpt-4o", ttl=None) is None


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": {"chats": 1}},
        {"ttl": {"chat": "soon"}},
        {"model_ttl": {"gpt-4o": -1}},
        {"samples": 0},
        {"samples": True},
        {"samples": 1001},
        {"ignored": "metadata"},
        {"model_ttl": "1h"},
        {"prices": {"gpt-4o": 2.5}},
        {"prices": [("gpt-4o", 2.5)]},
    ],
)
def test_rules_that_are_none_are_told_at_once(options: Any) -> None:
    with pytest.raises(ConfigurationError):
        Rules(**options)


@pytest.mark.parametrize(
    ("kind", "fields", "sampled"),
    [
        ("chat", {}, True),
        ("chat", {"temperature": None}, True),
        ("chat", {"temperature": 0.7}, True),
        ("chat", {"temperature": 0}, False),
        ("chat", {"temperature": 0.0, "n": 3}, False),
        ("chat", {"temperature": False}, True),
        ("chat", {"temperature": 1, "seed": 7}, False),
        ("response", {"model": "o3", "reasoning": {"effort": "low"}}, True),
        ("message", {"max_tokens": 5}, True),
        ("completion", {"temperature": 0}, False),
        ("embedding", {}, False),
    ],
)
def test_a_request_is_sampled_unless_it_says_otherwise(kind: Any, fields: Any, sampled: bool) -> None:
    assert is_sampled(kind, fields) is sampled


def test_sampled_requests_pass_by_where_they_are_not_to_be_cached() -> None:
    rules = Rules(cache_sampled=False)
    assert rules.plan("chat", chat_request(temperature=1)).bypasses
    assert not rules.plan("chat", chat_request(temperature=0)).bypasses


def test_samples_have_keys_of_their_own_and_the_first_that_of_a_single_answer() -> None:
    request = chat_request(temperature=1)
    three, one = Rules(samples=3), Rules()
    keys = three.keys("chat", request)
    assert len(set(keys)) == 3
    assert one.keys("chat", request) == keys[:1]
    assert one.plan("chat", request).key == keys[0]
    assert {three.plan("chat", request).key for _ in range(100)} == set(keys)
    assert three.plan("chat", chat_request(temperature=0)).key not in keys
    more = CacheControl.of(samples=5)
    assert {one.plan("chat", request, control=more).key for _ in range(200)} == set(
        one.keys("chat", request, control=more)
    )


def test_a_request_that_is_not_sampled_has_one_answer_whatever_the_number_of_samples() -> None:
    assert len(Rules(samples=3).keys("chat", chat_request(temperature=0))) == 1


def test_users_are_apart_where_they_shall_be() -> None:
    ann, bob = chat_request(user="ann"), chat_request(user="bob")
    shared, apart = Rules(), Rules(user_specific=True)
    assert shared.plan("chat", ann).key == shared.plan("chat", bob).key
    assert apart.plan("chat", ann).key != apart.plan("chat", bob).key
    assert apart.plan("chat", ann, user="bob").key == apart.plan("chat", bob).key
    assert apart.plan("chat", chat_request(), user="bob").key == apart.plan("chat", bob).key


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("chat", {"user": "ann"}),
        ("response", {"safety_identifier": "ann"}),
        ("message", {"metadata": {"user_id": "ann"}}),
    ],
)
def test_whoever_a_request_names_is_its_user(kind: Any, named: Any) -> None:
    rules = Rules(user_specific=True)
    assert rules.plan(kind, {"model": "m", **named}).key == rules.plan(kind, {"model": "m"}, user="ann").key


def test_neither_users_nor_tenants_stand_in_an_entry_in_clear() -> None:
    plan = Rules(user_specific=True).plan("chat", chat_request(), user="ann@example.com", scope="acme")
    shown = repr((plan.key, plan.options, plan.scope))
    assert "ann" not in shown
    assert "acme" not in shown


def test_an_entry_of_another_tenant_or_kind_is_not_admitted() -> None:
    rules = Rules()
    plan = rules.plan("chat", chat_request(), scope="acme")
    assert plan.admits(plan.options["attributes"])
    for other in (rules.plan("chat", chat_request(), scope="evil"), rules.plan("chat", chat_request())):
        assert not plan.admits(other.options["attributes"])
        assert not other.admits(plan.options["attributes"])
    assert not plan.admits({**plan.options["attributes"], "kind": "message"})


def test_tags_of_the_library_are_no_tags_of_a_callers() -> None:
    with pytest.raises(ConfigurationError, match="_llm:"):
        CacheControl.of(tags=["_llm:model:gpt-4o"])
    plan = Rules().plan("chat", chat_request(), control=CacheControl.of(tags=["doc:7"]))
    assert plan.options["tags"] == ("_llm:kind:chat", "_llm:model:gpt-4o-mini", "doc:7")


@pytest.mark.parametrize("model", ["m" * 5000, "\ud800", None, 7])
def test_no_name_of_a_model_is_in_the_way(model: Any) -> None:
    try:
        plan = Rules().plan("chat", chat_request(model=model))
    except UncacheableValue:
        return
    assert all(len(tag) < 300 and tag.encode() for tag in plan.options["tags"])
    assert len(str(plan.options["attributes"]["model"]).encode()) < 300


def test_what_a_call_says_goes_before_the_block_and_that_before_the_one_around_it() -> None:
    with cache_control(max_age="1h", tags=["a"], no_store=True):
        with cache_control(max_age=60, tags=["b", "a"]) as inner:
            said = current().under(max_age=5, tags=["c"], no_store=False)
            assert (inner.max_age, inner.no_store, inner.tags) == (60, True, ("a", "b"))
            assert (said.max_age, said.no_store, said.tags) == (5, False, ("a", "b", "c"))
        assert current().max_age == 3600
    assert current() == CacheControl()


def test_a_block_ends_with_an_error_too() -> None:
    with pytest.raises(RuntimeError), cache_control(no_cache=True):
        raise RuntimeError
    assert current() == CacheControl()


@pytest.mark.parametrize(
    "said", [{"max_age": -1}, {"ttl": 0}, {"samples": 0}, {"no_cache": "yes"}, {"tags": "one"}, {"no_store": 1}]
)
def test_what_a_call_says_must_have_a_meaning(said: Any) -> None:
    with pytest.raises(ConfigurationError), cache_control(**said):
        pass


def test_a_word_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(TypeError, match=r"max_ages.*max_age"), cache_control(max_ages=3):
        pass
