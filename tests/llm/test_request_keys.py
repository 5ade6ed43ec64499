"""Which fields of a request count in its key, and what a key shows."""

from __future__ import annotations

from typing import Any

import pytest

from tiercache.errors import ConfigurationError, UncacheableValue
from tiercache.keys import check_key
from tiercache.llm import (
    CHAT_KEY_PREFIX,
    COMPLETION_KEY_PREFIX,
    EMBEDDING_KEY_PREFIX,
    chat_key,
    completion_key,
    embedding_key,
    message_key,
    response_key,
)
from tiercache.llm.fields import DENIED
from tiercache.llm.keys import request_key
from tiercache.llm.kinds import KINDS, Kind

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.2}
MARK = {"type": "ephemeral"}


def with_path(path: str, value: Any) -> Any:
    """A dict that has a value at the path: `a[].b` -> {"a": [{"b": value}]}."""
    for step in reversed(path.split(".")):
        name = step.rstrip("[]")
        inner = value
        for _ in range(step.count("[]")):
            inner = [inner]
        value = {name: inner}
    return value


def test_a_key_is_the_kinds_prefix_the_model_and_a_digest():
    assert chat_key(CHAT).startswith(f"{CHAT_KEY_PREFIX}:gpt-4o:")
    assert CHAT_KEY_PREFIX == "chat"
    assert completion_key({"model": "m", "prompt": "p"}).startswith(f"{COMPLETION_KEY_PREFIX}:m:")
    assert embedding_key({"model": "m", "input": "p"}).startswith(f"{EMBEDDING_KEY_PREFIX}:m:")
    assert response_key({"model": "m", "input": "p"}).startswith("response:m:")
    assert message_key({"model": "m", "messages": []}).startswith("message:m:")
    assert len(chat_key(CHAT).rpartition(":")[2]) == 64


def test_the_same_request_of_two_kinds_has_two_digests():
    assert len({request_key(kind, CHAT).rpartition(":")[2] for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind in KINDS for path in DENIED[kind] if "[]" not in path]
)
@pytest.mark.parametrize("value", ["x", None, {"a": [1]}, True], ids=str)
def test_a_field_that_is_known_not_to_change_the_answer_does_not_count(kind: Kind, path: str, value: Any):
    assert request_key(kind, CHAT | with_path(path, value)) == request_key(kind, CHAT)


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind in KINDS for path in DENIED[kind] if "[]" in path])
def test_a_mark_inside_does_not_count_where_the_provider_reads_one(kind: Kind, path: str):
    parent, _, name = path.rpartition(".")
    without, marked = with_path(f"{parent}.text", "Hi"), with_path(f"{parent}.text", "Hi")
    node: Any = marked
    for step in parent.split("."):
        node = node[step.rstrip("[]")]
        for _ in range(step.count("[]")):
            node = node[0]
    node[name] = MARK
    assert request_key(kind, marked) == request_key(kind, without)
    node[f"{name}_"] = MARK
    assert request_key(kind, marked) != request_key(kind, without)


@pytest.mark.parametrize("name", ["user", "metadata", "cache_control", "store", "service_tier", "encoding_format"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_name_deeper_in_a_request_counts(kind: Kind, name: str):
    places = [
        "tools[].function.parameters.properties",
        "tools[].input_schema.properties",
        "messages[].content[].input",
        "messages[].content[].source",
        "messages[]",
        "response_format.json_schema.schema.properties",
        "prompt.variables",
        "logit_bias",
        "x",
        "x.metadata",
    ]
    for place in places:
        assert request_key(kind, with_path(f"{place}.{name}", "a")) != request_key(
            kind, with_path(f"{place}.{name}", "b")
        )


def test_a_dict_in_the_place_of_a_list_is_no_list():
    marked = {"messages": {"[]": {"content": {"[]": {"cache_control": 1}}}}}
    assert message_key(marked) != message_key({"messages": {"[]": {"content": {"[]": {"cache_control": 2}}}}})
    assert message_key({"tools": {"cache_control": 1}}) != message_key({"tools": {"cache_control": 2}})


@pytest.mark.parametrize(
    "name", ["seed", "n", "stream", "logprobs", "a_field_of_tomorrow", "temperature", "dimensions"]
)
def test_every_other_field_counts_also_unknown_ones_and_null(name: str):
    keys = {chat_key({"model": "m", **given}) for given in ({}, {name: None}, {name: 1}, {name: 1.0}, {name: "1"})}
    assert len(keys) == 5


def test_only_the_obfuscation_of_the_stream_options_is_left_out():
    plain = chat_key({**CHAT, "stream": True})
    assert chat_key({**CHAT, "stream": True, "stream_options": {"include_obfuscation": False}}) == plain
    usage = chat_key({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert usage != plain
    both = {"include_usage": True, "include_obfuscation": True}
    assert chat_key({**CHAT, "stream": True, "stream_options": both}) == usage


def test_how_vectors_are_encoded_does_not_count_and_how_many_numbers_they_have_does():
    asked = {"model": "m", "input": ["a"]}
    assert embedding_key({**asked, "encoding_format": "base64", "user": "u"}) == embedding_key(asked)
    assert embedding_key({**asked, "dimensions": 256}) != embedding_key(asked)
    assert embedding_key({**asked, "input": "a"}) != embedding_key(asked)


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, "1", b"1", [1], {"1": 1}, None),
        (0, 0.0, -0.0, False, "", b"", [], {}, None, float("nan"), float("inf"), -float("inf")),
        (2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 10**5000, float(2**64)),
        ("\ud800", "\udfff", "?", "\ufffd", b"\xed\xa0\x80", "\\ud800", "\ud83d\ude42"[:1], "🙂"),
        ("é", "e\u0301", "É", "é ", "\u00e9\u0000"),
        ({1: "a"}, {"1": "a"}, {1.0: "a"}, {b"1": "a"}, {None: "a"}, {"a": 1}, [[1, "a"]]),
        (["a", "b"], ["b", "a"], ["ab"], ["a", ["b"]], [["a"], "b"], ["a,b"], [["a", "b"]]),
    ],
    ids=["types", "empties", "integers", "surrogates", "Unicode", "names", "lists"],
)
def test_what_reads_alike_is_told_apart(values: tuple[Any, ...]):
    assert len({chat_key({"model": "m", "x": value}) for value in values}) == len(values)
    assert len({chat_key({"model": "m", "x": [value, value]}) for value in values}) == len(values)


def test_the_same_nan_or_huge_number_has_one_key():
    for value in (float("nan"), 10**5000, "\ud800", {1: 1, "\udc00": 2}):
        assert chat_key({"x": value}) == chat_key({"x": value})
    assert chat_key({"x": {2: 1, 1: 2, "a": 3}}) == chat_key({"x": {"a": 3, 1: 2, 2: 1}})


@pytest.mark.parametrize("model", ["m" * 100_000, "é" * 50_000, "\ud800", "a:b:c", "", "\0\n", "😀" * 300, None, 3, {}])
def test_any_model_makes_a_key_that_can_be_stored(model: Any):
    key = check_key(chat_key({"model": model}))
    assert len(key.encode()) < 1000
    assert key != chat_key({"model": f"{model}x"})


def test_models_that_are_shortened_alike_have_two_keys():
    assert chat_key({"model": "m" * 300}) != chat_key({"model": "m" * 301})
    assert chat_key({"model": "\ud800"}) != chat_key({"model": "\ud801"})
    assert chat_key({"model": None}) != chat_key({}) != chat_key({"model": ""})


def test_a_key_shows_neither_prompt_nor_user_nor_tenant():
    key = chat_key({"model": "m", "messages": [{"role": "user", "content": "SECRET"}]}, "SECRET-user", tenant="SECRET")
    assert "SECRET" not in key
    assert "role" not in key


def test_users_and_tenants_have_keys_of_their_own():
    scopes: list[dict[str, Any]] = [{}, {"user": "a"}, {"tenant": "a"}, {"user": "a", "tenant": "a"}]
    scopes += [{"user": ""}, {"tenant": ""}, {"user": "a", "tenant": ""}, {"user": "None"}, {"user": "\ud800"}]
    assert len({chat_key(CHAT, **scope) for scope in scopes}) == len(scopes)
    assert chat_key({**CHAT, "user": "a"}) == chat_key(CHAT) != chat_key(CHAT, "a")


@pytest.mark.parametrize("scope", [{"user": 1}, {"tenant": b"a"}, {"user": ["a"]}])
def test_a_user_or_tenant_that_is_no_text_is_refused(scope: dict[str, Any]):
    with pytest.raises(UncacheableValue, match="must be a str or None"):
        chat_key(CHAT, **scope)


def test_further_parts_count_and_are_not_taken_for_fields():
    assert request_key("chat", CHAT, parts=["v1"]) != request_key("chat", CHAT) != request_key("chat", {**CHAT, "p": 1})
    assert request_key("chat", CHAT, parts=["a", "b"]) != request_key("chat", CHAT, parts=["ab"])
    assert request_key("chat", CHAT, parts=["a"]) != request_key("chat", CHAT, user="a")


# Paths of the caller's own


def test_a_path_of_the_callers_own_is_left_out():
    traced = {**CHAT, "extra": {"trace": 1, "kept": 2}}
    assert chat_key(traced, ignored=["extra.trace"]) == chat_key({**CHAT, "extra": {"kept": 2}})
    assert chat_key(traced, ignored=["extra"]) == chat_key(CHAT)
    assert chat_key(traced, ignored=["trace"]) == chat_key(traced)
    named = {"model": "m", "messages": [{"content": "a", "name": "x"}, {"content": "b", "name": "y"}]}
    bare = {"model": "m", "messages": [{"content": "a"}, {"content": "b"}]}
    assert chat_key(named, ignored=["messages[].name"]) == chat_key(bare)
    assert chat_key(named, ignored=["messages.name"]) == chat_key(named)


def test_what_stands_at_an_ignored_path_need_not_be_data():
    assert chat_key({**CHAT, "timeout": object()}, ignored=["timeout"]) == chat_key(CHAT)


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "[]", "a[]", "a[0]", "a[].", "a]b", "messages[]", 1, None]
)
def test_something_that_is_no_path_is_refused(path: Any):
    with pytest.raises(ConfigurationError, match="path"):
        chat_key(CHAT, ignored=[path])


@pytest.mark.parametrize(
    "path", ["model", "messages", "messages[].content", "input", "prompt", "system", "instructions"]
)
def test_the_question_itself_cannot_be_ignored(path: str):
    with pytest.raises(ConfigurationError, match="must count"):
        chat_key(CHAT, ignored=[path])


def test_one_path_in_place_of_a_list_is_refused():
    with pytest.raises(ConfigurationError, match=r"write \[path\]"):
        chat_key(CHAT, ignored="seed")


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigurationError, match="no kind of request"):
        request_key("chats", CHAT)  # type: ignore[arg-type]
