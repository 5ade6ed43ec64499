"""Keys and their object names: injective, reversible, safe as paths; digests that tell everything apart."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.properties.scale import SCALE
from tests.properties.values import nested
from tiercache.errors import ConfigurationError, InvalidKey, UncacheableValue
from tiercache.keys import (
    MAX_KEY_BYTES,
    check_key,
    check_namespace,
    digest,
    digest_after,
    is_cut,
    key_of,
    listing_prefix,
    object_name,
)

# Lengths around the limits of a segment (200), a cut name (800) and a whole one (900), of characters that
# take 1, 3 and 12 bytes in a name.
ADVERSARIAL = [
    *(
        "a",
        "A",
        ".",
        "..",
        "...",
        "a.",
        ".a",
        "/",
        "//",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        "~",
        "~~",
        "a~b",
    ),
    *(
        "a~/b",
        "~/",
        "/~",
        "%",
        "%%",
        "%2F",
        "%2f",
        "%7E",
        "%252F",
        "a%",
        "\\",
        "\0",
        "\n",
        " ",
        "a ",
        "+",
        "a+b",
        "a b",
    ),
    *("é", "e\u0301", "😀", "漢", "\u202e", "\ufeff", "con", "NUL", "a:b", "ns:key", "ns:", ":", "?", "#", "*", "&=,@"),
    *("ns:a", "ns:a.b", "ns:.", "ns:..", "_meta/x", "_meta", "\x7f", "\x80", "\U0010ffff"),
    *(
        letter * length
        for letter in "a./~é"
        for length in (66, 67, 199, 200, 201, 299, 300, 301, 400, 899, 900, 901, 2000)
    ),
    *(
        "a" * length + tail
        for length in (198, 199, 200, 599, 799, 800, 899, 900)
        for tail in (".", "..", "~", "/", "é", "b")
    ),
    *("." + "a" * length for length in (197, 198, 199, 896, 897, 898, 899)),
    *("😀" * length for length in (16, 17, 66, 67, 74, 75, 76, 100)),
]
CHARACTERS = st.sampled_from([*"ab.~/%:2EF7 \0", "é", "😀", "..", "~/"])
PIECES = st.lists(CHARACTERS, min_size=1, max_size=30).map("".join)
KEYS = st.one_of(
    PIECES,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    st.tuples(PIECES, st.integers(1, 40), PIECES).map(lambda parts: parts[0] * parts[1] + parts[2]),
    st.tuples(st.sampled_from("a.~é"), st.integers(180, 1000), PIECES).map(
        lambda parts: parts[0] * parts[1] + parts[2]
    ),
    st.sampled_from(ADVERSARIAL),
)

# Object names


@given(KEYS)
def test_a_name_is_safe_in_every_store(key: str):
    name = object_name(key)
    assert name.isascii()
    assert name.isprintable()
    assert " " not in name
    assert 0 < len(name) <= 910
    for segment in name.split("/"):
        assert 0 < len(segment) <= 255
        assert not segment.startswith(".")


@given(KEYS)
def test_a_name_is_turned_back_into_its_key_unless_it_was_cut(key: str):
    name = object_name(key)
    assert key_of(name) == (None if is_cut(name) else key)


@given(KEYS)
def test_only_long_names_are_cut(key: str):
    name = object_name(key)
    if len(key) > 900:
        assert is_cut(name)
    if len(key.encode()) <= 300:
        assert not is_cut(name)


@given(KEYS, KEYS)
def test_different_keys_have_different_names(one: str, other: str):
    assert (object_name(one) == object_name(other)) == (one == other)


@given(KEYS)
def test_a_key_that_looks_like_the_name_of_another_has_a_name_of_its_own(key: str):
    name, prefix = object_name(key), listing_prefix(key)
    names = {
        other: object_name(other)
        for other in {key, name, prefix, key + "~", key + "/", key + ".", key.upper(), "." + key}
        if other
    }
    assert len(set(names.values())) == len(names)


def test_no_two_of_many_awkward_keys_share_a_name():
    rng = random.Random("awkward keys")
    pieces = [*ADVERSARIAL, *(object_name(key) for key in ADVERSARIAL)]
    keys = set(pieces)
    while len(keys) < 20_000 * SCALE:
        keys.add("".join(rng.choices(pieces, k=rng.randrange(1, 4)))[: rng.randrange(1, 1200)])
    assert len({object_name(key) for key in keys}) == len(keys)


def test_long_keys_that_differ_only_at_their_end_have_different_names():
    names = {object_name("a" * 5000 + tail) for tail in ("", "b", "c", "~", "/")}
    assert len(names) == 5
    assert len({name[:-32] for name in names}) == 1


@given(KEYS, st.data())
def test_the_name_of_a_prefix_is_a_prefix_of_the_names(key: str, data: st.DataObject):
    prefix = key[: data.draw(st.integers(0, len(key)))]
    assert object_name(key).startswith(listing_prefix(prefix))


@given(KEYS, KEYS)
def test_the_name_of_any_beginning_is_a_prefix_of_what_follows_it(prefix: str, rest: str):
    assert object_name(prefix + rest).startswith(listing_prefix(prefix))


@pytest.mark.parametrize("letter", ["a", ".", "~", "é"])
def test_the_name_of_every_prefix_of_a_long_key_is_a_prefix_of_its_name(letter: str):
    key = letter * 1000
    for size in (*range(1, 320), 799, 800, 801, 899, 900, 901, 1000):
        prefix = listing_prefix(key[:size])
        assert object_name(key).startswith(prefix)
        assert object_name(key[:size]).startswith(prefix)


def test_no_prefix_lists_everything():
    assert listing_prefix("") == ""


@given(KEYS, KEYS)
def test_a_prefix_that_is_not_cut_lists_only_what_starts_with_it(prefix: str, key: str):
    start = listing_prefix(prefix)
    if key_of(start) == prefix and not is_cut(object_name(key)) and len(start) < 200:
        assert object_name(key).startswith(start) == key.startswith(prefix)


@given(st.text(max_size=1200) | KEYS.map(object_name).map(lambda name: name[1:]) | KEYS)
@example("\ud800")
@example("%ff")
@example("%2f")
@example("a~/b")
@example("~/")
@example("a//b")
@example("")
def test_any_name_is_ours_or_has_no_key(name: str):
    key = key_of(name)
    assert key is None or object_name(key) == name


def test_names_are_pinned():
    assert object_name("search:What is a cache?/v1") == "search:What%20is%20a%20cache%3F%2Fv1"
    assert object_name(".hidden~é") == "%2Ehidden%7E%C3%A9"
    assert object_name("a" * 250) == "a" * 200 + "~/" + "a" * 50
    assert object_name("a" * 901) == "~/".join(["a" * 200] * 4) + "~470698962b459ab5bff1797959698127"


# Keys


@pytest.mark.parametrize(
    "key", ["a", " ", "\0", "é", "a/b", "~", "a" * MAX_KEY_BYTES, "é" * (MAX_KEY_BYTES // 2)], ids=len
)
def test_a_key_may_hold_any_text_up_to_64_kib(key: str):
    assert check_key(key) is key


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        ("\ud800", "surrogate"),
        ("a" * (MAX_KEY_BYTES + 1), "65,537"),
        ("é" * (MAX_KEY_BYTES // 2 + 1), "65,538"),
        ("SECRET\udfff", "surrogate"),
    ],
    ids=["empty", "surrogate", "long", "long in UTF-8", "surrogate at the end"],
)
def test_what_cannot_be_a_key_is_refused_with_the_reason_but_not_the_key(key: str, why: str):
    with pytest.raises(InvalidKey, match=why) as caught:
        check_key(key)
    assert isinstance(caught.value, ValueError)
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", [None, 1, b"key", ["key"], ("a", "b"), object()], ids=lambda key: type(key).__name__)
def test_what_is_no_text_is_a_type_error(key: Any):
    with pytest.raises(TypeError, match="a key must be a str"):
        check_key(key)


@pytest.mark.parametrize("namespace", ["a", "A-1_b.c", "0", ".", "..", "x" * 100])
def test_a_namespace_is_letters_digits_and_three_signs(namespace: str):
    assert check_namespace(namespace) == namespace


@pytest.mark.parametrize(
    "namespace", ["", ":", "a:b", "a/b", "a b", "é", "a\n", "a~", "٣", None, 1, b"a", ["a"]], ids=repr
)
def test_anything_else_is_no_namespace(namespace: Any):
    with pytest.raises(ConfigurationError, match="must consist of"):
        check_namespace(namespace)


# Digests

PINNED = {
    "nothing": ((), "ca3d38df243d9c41deddfda4d205e20b113b8b01fa0d063fdb9e35c7665868ef"),
    "text": (("a",), "09920d7378fee6dd2c058aa3df50584d9073cb4349a4aeceb0f656d745f0d187"),
    "parts": (("ab", "c", None), "1d42dc96e784919f497cc940357f08aa612ecaa4f181c82f5301b8a6eb48e094"),
    "numbers": (
        (0, 1, -1, 2**100, 1.5, -0.0, float("inf"), float("nan"), True, False),
        "b93f8a07e72c089ee42b381f17642be9a78e9ff6c1f8b9f339e7e9a539f675d4",
    ),
    "bytes and unicode": (
        (b"\x00\xff", "é漢😀", "\ud800"),
        "f259764ee22849ea86762a70842ba0bb09749157ab38106b4626321c7bdb629c",
    ),
    "a request": (
        ({"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 1, "stop": None, "shape": (1, (2.0,))},),
        "67d0903bdf61d67d0d034f92e00dd9bf9b59e0de00e570cbc32249298bebccb1",
    ),
    "keys of all kinds": (
        ({"a": 1, 1: "a", None: 0, (1, 2): [], b"a": {}, 1.5: True},),
        "e6ea48e65496a36047b3306aac0fa2ee7a61a6aa39b0e946f689816fbc6185a9",
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_a_digest_is_the_same_in_every_release(name: str):
    parts, pinned = PINNED[name]
    assert digest(*parts) == pinned


def test_what_a_digest_is_made_of_can_be_written_by_hand():
    def made_of(text: bytes) -> str:
        return blake2b(text, digest_size=32, person=b"tiercache.key.1").hexdigest()

    assert digest() == made_of(b"")
    assert digest("ab", None) == made_of(b"s2:abn0:")
    assert digest(("a", -255)) == made_of(b"t10:s1:ai3:-ff")
    assert digest({"b": True, "a": 1.5}) == made_of(b"d36:s1:af20:0x1.8000000000000p+0s1:bb1:1")


def test_a_digest_is_the_same_in_every_process():
    code = "from tiercache.keys import digest; print(digest({'a': 1, 'b': {'c': [1.5, b'x'], 'd': 'é'}}))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{digest({'b': {'d': 'é', 'c': [1.5, b'x']}, 'a': 1})}\n".encode()}


def test_the_order_in_which_a_dict_was_filled_does_not_matter():
    rng = random.Random("orders")
    items = [("a", 1), ("b", [1]), (1, "x"), (None, None), (("t", 1), {"z": 1, "y": 2}), (b"a", 1.5), (2.5, True)]
    digests = set()
    for _ in range(100):
        rng.shuffle(items)
        digests.add(digest(dict(items)))
    assert len(digests) == 1


DIFFERENT = [
    [(1,), (True,), (1.0,), ("1",), (b"1",), ([1],), ((1,),), ({1: 1},), ((1, 1),), (1, 1)],
    [(0,), (False,), (0.0,), (-0.0,), (None,), ("",), (b"",), ([],), ((),), ({},), ()],
    [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), (["ab", "c"],), (("a", "bc"),), ("abc", "")],
    [("s1:a",), ("s", "1:a"), ("a", "s1:a"), ("as1:a",), (b"s1:a",)],
    [([[], []],), ([[[]]],), ([], []), ([[]],), ([()],), (((),),), ([{}],)],
    [({"a": 1, "b": 2},), ({"a": 2, "b": 1},), ({"a": {"b": 1}},), ({"a": 1}, {"b": 2}), ([("a", 1), ("b", 2)],)],
    [("é",), ("e\u0301",), ("é".encode(),), ("\ud83d\ude00",), ("😀",), ("\ud83d",)],
    [(float("inf"),), (-float("inf"),), (float("nan"),), ("inf",), (1e308 * 10, 0)],
    [(16,), ("10",), (10,), (-16,), (2**64,), (2**64 + 1,), (float(2**64),)],
]


@pytest.mark.parametrize("group", DIFFERENT, ids=lambda group: repr(group[0]))
def test_parts_that_look_alike_have_different_digests(group: list[tuple[Any, ...]]):
    assert len({digest(*parts) for parts in group}) == len(group)


def test_20_000_pairs_that_differ_little_have_different_digests():
    rng = random.Random("pairs")
    seen: dict[str, str] = {}
    pairs = 0
    while pairs < 20_000 * SCALE:
        one = _structure(rng, 4)
        other = _neighbour(rng, one)
        names = [_spelled(value) for value in (one, other)]
        digests = [digest(value) for value in (one, other)]
        assert (digests[0] == digests[1]) == (names[0] == names[1])
        for name, value in zip(names, digests, strict=True):
            assert seen.setdefault(value, name) == name
        pairs += names[0] != names[1]


_SCALARS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    10,
    1.0,
    0.0,
    -0.0,
    "",
    "0",
    "1",
    "a",
    "ab",
    "b",
    "s1:a",
    "l0:",
    b"",
    b"a",
    b"1",
    2**70,
]


def _structure(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(6) if depth else 0
    if kind < 2:
        return rng.choice(_SCALARS)
    items = [_structure(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 2:
        return items
    if kind == 3:
        return tuple(items)
    return {rng.choice(_SCALARS): item for item in items}


def _neighbour(rng: random.Random, value: Any) -> Any:
    """A value that differs in one small way, or (a dict filled in another order) in none."""
    if isinstance(value, (list, tuple)):
        items = list(value)
        change = rng.randrange(6)
        if change == 0:
            return tuple(items) if isinstance(value, list) else items
        if change == 1:
            items.insert(rng.randrange(len(items) + 1), rng.choice(_SCALARS))
        elif change == 2 and len(items) > 1:  # the same leaves, bracketed in another way
            at = rng.randrange(len(items) - 1)
            items[at : at + 2] = [items[at : at + 2]]
        elif items:
            at = rng.randrange(len(items))
            items[at] = _neighbour(rng, items[at])
        return type(value)(items)
    if isinstance(value, dict) and value:
        if rng.random() < 0.3:
            return dict(reversed(value.items()))
        key = rng.choice(list(value))
        return {**value, key: _neighbour(rng, value[key])}
    return rng.choice([[value], (value,), str(value), {"": value}, rng.choice(_SCALARS)])


def _spelled(value: Any) -> str:
    """All that a digest must tell apart, written out."""
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_spelled(key)}: {_spelled(item)}" for key, item in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(_spelled, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return repr(value)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "part", [object(), {1}, Text("a"), bytearray(b"a"), 1j, [object()], {"a": {1}}, {frozenset(): 1}]
)
def test_key_material_of_other_types_is_refused(part: Any):
    with pytest.raises(UncacheableValue, match="key material must be made of"):
        digest("a", part)


@given(st.lists(st.text() | st.integers() | st.binary(), max_size=4), st.lists(st.text() | st.none()))
def test_a_digest_in_two_steps_is_the_digest(parts: list[Any], last: list[Any]):
    finish = digest_after(*parts)
    assert finish(last) == digest(*parts, last) == finish(last)


def test_key_material_that_is_too_deep_is_refused():
    assert digest(nested(100)) != digest(nested(99))
    endless: list[Any] = []
    endless.extend([endless, endless])
    for value in (nested(101), endless):
        with pytest.raises(UncacheableValue, match="100 levels"):
            digest(value)
