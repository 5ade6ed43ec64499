"""Values come back equal and of the same type at every level, and nobody can change one for another."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from tests.properties.values import (
    ARRAYS,
    HASHABLE,
    SAMPLES,
    VALUES,
    WRAPS,
    Answer,
    Role,
    canonical,
    nested,
    there_and_back,
)
from tiercache import codec
from tiercache.extensions import MAX_DEPTH

# The same value, of the same type


@given(VALUES)
def test_a_value_comes_back_equal_and_of_the_same_type_at_every_level(value: Any):
    assert canonical(there_and_back(value)) == canonical(value)


@given(HASHABLE)
def test_a_value_comes_back_from_inside_every_container(value: Any):
    for container in (
        [value],
        (value,),
        {value},
        frozenset({value}),
        {value: 1},
        {"k": value},
        {("k", value): [value]},
    ):
        assert canonical(there_and_back(container)) == canonical(container)


@given(ARRAYS)
def test_an_array_comes_back_alone_and_inside_others(array: np.ndarray):
    for value in (array, [array], {"a": (array, {1: array})}):
        assert canonical(there_and_back(value)) == canonical(value)


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_every_sample_comes_back_as_its_own_type(sample: int):
    value = SAMPLES[sample]
    assert canonical(there_and_back(value, type(value))) == canonical(value)


NUMBERS = {
    f"{value:x}"[:20] if type(value) is int else str(value): value
    for value in (-(2**63) - 1, -(2**63), -1, 0, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**5000, True, 1.0, -0.0, -0j)
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_at_their_limits(name: str):
    back = there_and_back([NUMBERS[name]])[0]
    assert type(back) is type(NUMBERS[name])
    assert back == NUMBERS[name]


def test_a_fortran_ordered_or_sliced_array_comes_back_equal():
    array = np.asfortranarray(np.arange(24).reshape(4, 6))[::2, ::-1]
    assert canonical(there_and_back(array)) == canonical(array)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_hundred_levels_are_stored(wrap: str):
    value = nested(MAX_DEPTH, WRAPS[wrap])
    assert there_and_back(value) == value


def test_a_timezone_keeps_its_offset_to_the_second():
    value = dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=-3601)))
    assert canonical(there_and_back(value)) == canonical(value)


# No in-band markers: nothing that a user stores is taken for something of ours

LOOKALIKES = [
    {"__type__": "tuple", "items": [1, 2]},
    {"$ext": 1, "data": b"\x91\x01"},
    [1, b"\x91\x01"],
    (1, b"\x91\x01"),
    b"\xc7\x02\x01\x91\x01",
    "ndarray;<f4;2",
    ["ndarray;<f4;2", bytes(8)],
    ("<f4", (2,), bytes(8)),
    {"codec": "msgpack", "payload": b"\x01"},
    b"TIER\x01\x00\x00\x00",
    "2024-01-01T00:00:00+00:00",
    {"k": "2024-01-01", "u": "00000000-0000-0000-0000-000000000005", "d": "1.5", "n": "NaN"},
    {1: 2, "1": 2, b"1": 2},
    [True, 1, 1.0, "1"],
]


@pytest.mark.parametrize("value", LOOKALIKES, ids=repr)
def test_a_value_that_looks_like_our_own_forms_comes_back_as_it_was(value: Any):
    assert canonical(there_and_back(value)) == canonical(value)
    assert canonical(there_and_back([value])) == canonical([value])


@given(VALUES)
def test_the_payload_of_a_value_is_itself_a_value(value: Any):
    payload, name = codec.encode(value)
    assert there_and_back(payload) == payload
    assert canonical(there_and_back([name, payload, value])) == canonical([name, payload, value])


# Arrays


def test_an_array_is_a_read_only_view_of_the_payload():
    payload, name = codec.encode(np.arange(100, dtype="<f4").reshape(10, 10))
    array = codec.decode(payload, name)
    assert np.shares_memory(array, np.frombuffer(payload, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.array(1.5), np.array(["a"])], ids=str)
def test_an_array_of_any_shape_and_inside_others_is_read_only(array: np.ndarray):
    assert not there_and_back(array).flags.writeable
    assert not there_and_back({"a": [array]})["a"][0].flags.writeable


# Nobody changes a value for another


def _spoil(value: Any) -> None:
    """Change everything inside that can be changed."""
    if isinstance(value, (list, tuple)):
        for item in value:
            _spoil(item)
    if isinstance(value, dict):
        for item in value.values():
            _spoil(item)
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value.fill(np.zeros((), value.dtype)[()])
    if isinstance(value, (list, bytearray)):
        value.clear()
        value.extend(b"spoiled")
    if isinstance(value, set):
        value.add("spoiled")
    if isinstance(value, dict):
        value["spoiled"] = True


@given(VALUES)
def test_changing_a_value_after_it_was_set_does_not_change_what_is_cached(value: Any):
    before = canonical(value)
    payload, name = codec.encode(value)
    _spoil(value)
    assert canonical(codec.decode(payload, name)) == before


@given(VALUES)
def test_changing_a_value_that_was_read_does_not_change_the_next(value: Any):
    payload, name = codec.encode(value)
    _spoil(codec.decode(payload, name))
    assert canonical(codec.decode(payload, name)) == canonical(value)


def test_a_model_is_read_as_a_copy_of_its_own():
    stored = codec.encode(Answer("yes", raw={"a": [1]}))
    codec.decode(*stored, Answer).raw["a"].append(2)
    codec.decode(*stored)["raw"]["a"].append(3)
    assert codec.decode(*stored, Answer) == Answer("yes", raw={"a": [1]})


def test_a_copy_of_the_samples_is_what_they_are():
    # `canonical` is what these tests trust: it must see what `==` does not.
    for value in SAMPLES:
        assert canonical(copy.deepcopy(value)) == canonical(value)
    for one, other in [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ([1], (1,)),
        ({1}, frozenset({1})),
        (b"", bytearray()),
        ("a", Role.USER),
    ]:
        assert canonical(one) != canonical(other)
    assert canonical({"a": 1, "b": 2}) != canonical({"b": 2, "a": 1})
    assert canonical(np.zeros(2, "<f4")) != canonical(np.zeros(2, "<i4"))
