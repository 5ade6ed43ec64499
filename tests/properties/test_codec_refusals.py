"""Values without an exact form are refused, with the path to them and with what to do."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import sys
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from tests.properties.values import WRAPS, Answer, Role, nested
from tiercache import codec
from tiercache.errors import UncacheableValue
from tiercache.extensions import MAX_DEPTH


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Float(float):
    pass


class Items(list):
    pass


class Mapping(dict):
    pass


Point = collections.namedtuple("Point", "x y")
BERLIN = ZoneInfo("Europe/Berlin")
NAMED = dt.timezone(dt.timedelta(hours=1), "CET")

REFUSED = {
    "an object": object(),
    "a class": int,
    "a function": len,
    "a generator": iter([1]),
    "a range": range(3),
    "a memoryview": memoryview(b"a"),
    "an Enum": Colour.RED,
    "an IntEnum": Level.LOW,
    "a StrEnum": Role.USER,
    "a str subclass": Text("a"),
    "an int subclass": Number(1),
    "a float subclass": Float(1),
    "a list subclass": Items([1]),
    "a dict subclass": Mapping(a=1),
    "a named tuple": Point(1, 2),
    "an OrderedDict": collections.OrderedDict(a=1),
    "a defaultdict": collections.defaultdict(list),
    "a deque": collections.deque([1]),
    "a numpy int": np.int64(1),
    "a numpy float": np.float64(1),
    "a numpy bool": np.bool_(True),
    "a numpy str": np.str_("a"),
    "an array of objects": np.array([1, "a"], dtype=object),
    "a structured array": np.zeros(2, dtype=[("a", "i4"), ("b", "f4")]),
    "an array of raw bytes": np.zeros(2, dtype="V3"),
    "an array of long doubles": np.zeros(2, dtype=np.longdouble),
    "an array of nothing": np.zeros(3, dtype=[("a", "<U0")])["a"],
    "an array of variable strings": np.array(["a"], dtype=np.dtypes.StringDType()),
    "an array of 33 dimensions": np.zeros((1,) * 33),
    "a masked array": np.ma.masked_array([1, 2], [True, False]),
    "a record array": np.rec.array([(1,)], dtype=[("a", "i4")]),
    "a datetime in a zone with rules": dt.datetime(2024, 7, 1, tzinfo=BERLIN),
    "a datetime in a zone with a name": dt.datetime(2024, 7, 1, tzinfo=NAMED),
    "a datetime in a zone a microsecond off": dt.datetime(2024, 7, 1, tzinfo=dt.timezone(dt.timedelta(microseconds=1))),
    "a datetime in the fold": dt.datetime(2024, 10, 27, 2, 30, fold=1),
    "a time in a zone with rules": dt.time(1, tzinfo=BERLIN),
    "a time in the fold": dt.time(1, fold=1),
    "a lone surrogate": "\ud800",
    "a surrogate pair": "\ud83d\ude00",
    "a msgpack extension": msgspec.msgpack.Ext(1, b"\x90"),
    "raw msgpack": msgspec.Raw(b"\x01"),
    "a model": Answer("yes"),
    "an exception": ValueError("x"),
}
SKIP_LONG_DOUBLE = np.dtype(np.longdouble).itemsize == 8


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda v: [1, v], "$[1]"),
        (lambda v: (1, [v]), "$[1][0]"),
        (lambda v: {"choices": [{"text": v}]}, "$.choices[0].text"),
        (lambda v: {"a secret": v}, "$[…]"),
        (lambda v: {7: {"inner": v}}, "$[…].inner"),
        (lambda v: {(1, 2): (v,)}, "$[…][0]"),
    ],
    ids=["list", "tuple", "dict", "dict of sentences", "dict of ints", "dict of tuples"],
)
def test_what_has_no_exact_form_is_refused_with_its_path(name: str, wrap: Any, path: str):
    if name == "an array of long doubles" and SKIP_LONG_DOUBLE:
        pytest.skip("a long double is a double here")
    with pytest.raises(UncacheableValue) as caught:
        codec.encode(wrap(REFUSED[name]))
    assert f" at {path} is a" in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "a model"])
def test_what_has_no_exact_form_is_refused_alone(name: str):
    if name == "an array of long doubles" and SKIP_LONG_DOUBLE:
        pytest.skip("a long double is a double here")
    with pytest.raises(UncacheableValue, match="cannot be cached"):
        codec.encode(REFUSED[name])


def test_the_keys_of_a_dict_are_values_too():
    for key in (Colour.RED, Point(1, 2), Text("a"), np.int64(1), "\ud800", (1, frozenset({Level.LOW}))):
        with pytest.raises(UncacheableValue, match=r"\$\[…\]"):
            codec.encode({key: 1})


def test_no_message_shows_a_value_or_a_key_that_may_be_data():
    with pytest.raises(UncacheableValue) as caught:
        codec.encode({"SECRET key": {"S" * 40: [Text("SECRET")]}})
    assert "SECRET" not in str(caught.value)
    assert "SSS" not in str(caught.value)


def test_the_message_says_what_to_do():
    for value, advice in [
        (np.int64(1), ".item()"),
        (Role.USER, ".value"),
        (REFUSED["a datetime in a zone with rules"], ".astimezone"),
    ]:
        with pytest.raises(UncacheableValue) as caught:
            codec.encode([value])
        assert advice in str(caught.value)


@pytest.mark.parametrize("wrap", WRAPS)
def test_one_level_more_than_a_hundred_is_refused(wrap: str):
    with pytest.raises(UncacheableValue, match="100 levels"):
        codec.encode(nested(MAX_DEPTH + 1, WRAPS[wrap]))


def test_a_value_that_holds_itself_is_refused():
    items: list[Any] = []
    items.extend([items, items])
    fields: dict[str, Any] = {}
    fields["self"] = {"again": fields}
    for value in (items, fields):
        with pytest.raises(UncacheableValue, match="100 levels"):
            codec.encode(value)


def test_a_caller_deep_in_its_own_stack_is_told_so():
    value = nested(MAX_DEPTH)

    def deep(levels: int) -> Any:
        return codec.encode(value) if not levels else deep(levels - 1)

    with pytest.raises(UncacheableValue, match="exhaust the stack"):
        deep(sys.getrecursionlimit() - _stack_depth() - 100)


def _stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
