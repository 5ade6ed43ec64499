"""Keys of anything: from parts, a step at a time or at once, from JSON, from content."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from tests.properties.scale import SCALE
from tiercache.errors import ConfigurationError, InvalidKey, UncacheableValue
from tiercache.keys import check_key
from tiercache.llm import CacheKeyBuilder, key_from_content, key_from_json, key_from_parts

PARTS: list[Any] = [
    *("", "a", "b", "ab", "a:b", ":", "s=a", "%", "%3A", "1", "1.0", "None", "n=", "\ud800", "é", "e\u0301", "/", "~"),
    *(None, True, False, 0, 1, -1, 1.0, -0.0, 0.0, float("nan"), float("inf"), 10**99, 10**100, 10**5000, b"", b"a"),
    *([], ["a"], ["a", "b"], {}, {"a": "b"}, [None]),
]


def builder(parts: Any, prefix: str = "chat") -> CacheKeyBuilder:
    made = CacheKeyBuilder(prefix)
    for part in parts:
        made.with_part(part)
    return made


def test_a_key_begins_with_its_prefix_and_ends_with_256_bits():
    key = CacheKeyBuilder("test").with_part("a").with_part("b").add_num(3).build()
    prefix, digest = key.split(":")
    assert prefix == "test"
    assert len(bytes.fromhex(digest)) == 32


def test_an_explicit_key_can_be_read():
    made = CacheKeyBuilder("chat").with_part("gpt-4o").add_optional(None).add_optional("a:b").add_num(3).add_num(0.5)
    assert made.build_explicit() == "chat:s=gpt-4o:n=:s=a%3Ab:i=3:f=0.5"
    assert CacheKeyBuilder("chat").build_explicit() == "chat:"


def test_no_two_sequences_of_parts_make_one_key():
    rng = random.Random("parts")
    sequences = [(), *((part,) for part in PARTS), *itertools.product(PARTS, PARTS)]
    sequences += [tuple(rng.choices(PARTS, k=rng.randrange(3, 6))) for _ in range(2000 * SCALE)]
    distinct = {repr(sequence) for sequence in map(_comparable, sequences)}
    made = [builder(sequence) for sequence in sequences]
    keys = {one.build() for one in made} | {one.build_explicit() for one in made}
    assert len(keys) == 2 * len(distinct)
    assert all(check_key(key) for key in keys)
    assert len({key_from_parts(*sequence) for sequence in sequences}) == len(distinct)


def _comparable(sequence: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((hash(part), "huge") if type(part) is int and part > 10**50 else part for part in sequence)


def test_an_optional_part_holds_its_place():
    def key(first: str | None, second: str | None) -> str:
        return CacheKeyBuilder("chat").add_optional(first).add_optional(second).build()

    assert len({key(None, "a"), key("a", None), key(None, None), key("a", "a"), builder(["a"]).build()}) == 5
    assert key("a", "b") == builder(["a", "b"]).build()


def test_prefixes_have_keys_of_their_own():
    assert builder(["a"]).build().partition(":")[2] != builder(["a"], "completion").build().partition(":")[2]


@pytest.mark.parametrize("prefix", ["", "a:b", "a b", "é", "a/b", None, 3])
def test_a_prefix_that_could_be_taken_for_a_part_is_refused(prefix: Any):
    with pytest.raises(ConfigurationError, match="letters, digits"):
        CacheKeyBuilder(prefix)


@pytest.mark.parametrize("number", ["3", True, None, 3j])
def test_a_number_must_be_one(number: Any):
    with pytest.raises(UncacheableValue, match="takes a number"):
        CacheKeyBuilder("chat").add_num(number)


def test_a_part_without_a_canonical_form_is_refused():
    with pytest.raises(UncacheableValue, match="no canonical form"):
        CacheKeyBuilder("chat").with_part(object())


def test_an_explicit_key_that_is_too_long_is_refused():
    with pytest.raises(InvalidKey):
        CacheKeyBuilder("chat").with_part("é" * 20_000).build_explicit()


def test_a_json_text_and_what_it_says_share_a_key():
    value = {"b": [1, 1.0, None, True, "é", {}], "a": 10**30}
    keys = {key_from_json(value), key_from_json(json.dumps(value)), key_from_json(json.dumps(value, indent=2).encode())}
    keys.add(key_from_json(json.dumps(value, sort_keys=True, ensure_ascii=False)))
    keys.add(key_from_json(json.dumps(value).encode("utf-16")))
    assert len(keys) == 1
    assert keys.pop().startswith("json:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SECRET",
        "{'SECRET': 1}",
        '{"SECRET": 1} x',
        b"\xff",
        '{"SECRET": 1, "SECRET": 2}',
        "NaN",
        "[1e999]",
        "-Infinity",
    ],
)
def test_json_that_readers_take_differently_is_refused(text: Any):
    with pytest.raises(UncacheableValue) as caught:
        key_from_json(text)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 200 + "]" * 200, "1" * 5000], ids=["open", "closed", "digits"])
def test_json_that_asks_too_much_is_refused(text: str):
    with pytest.raises(UncacheableValue):
        key_from_json(text)


def test_content_counts_byte_for_byte():
    contents: list[Any] = ["a", b"a", "", b"", "é", "é".encode(), "e\u0301", "\ud800", b"\xed\xa0\x80"]
    assert len({key_from_content(content) for content in contents}) == len(contents)
    assert key_from_content(bytearray(b"a")) == key_from_content(b"a") == key_from_content(memoryview(b"a"))


@pytest.mark.parametrize("content", [None, 3, ["a"], {"a": 1}])
def test_content_that_is_neither_text_nor_bytes_is_refused(content: Any):
    with pytest.raises(UncacheableValue, match="bytes or a str"):
        key_from_content(content)


def test_keys_of_different_makers_never_meet():
    keys = [key_from_json('"a"'), key_from_content("a"), key_from_parts("a"), builder(["a"]).build()]
    assert len({key.partition(":")[2] for key in keys}) == len(keys)
