"""Embeddings an item at a time: vectors bit for bit in both encodings, usage shared out, answers that fit."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tiercache.llm import vectors
from tiercache.llm.items import Batch, in_common, inputs_of
from tiercache.llm.keys import request_key
from tiercache.llm.parts import Part, Unfit, put_together, taken_apart
from tiercache.llm.shares import added_up, shared_out

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38)


def packed(numbers: Any) -> str:
    return base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()


def bits(numbers: Any) -> list[bytes]:
    return [struct.pack("<d", number) for number in numbers]


def again(written: Any) -> vectors.Vector:
    """The vector as it comes back from an entry."""
    vector = vectors.read(written)
    assert vector is not None
    stored = np.frombuffer(vector.array.tobytes(), vector.array.dtype)
    restored = vectors.of_array(stored, vector.writing)
    assert restored is not None
    return restored


def batch_of(**request: Any) -> Batch:
    inputs = inputs_of(request)
    assert isinstance(inputs, list)
    return Batch(request, inputs, request_key("embedding", in_common(request)))


def answer_to(batch: Batch, *, usage: Any = None, **more: Any) -> dict[str, Any]:
    rows = [
        {"object": "embedding", "index": index, "embedding": [float(index), 0.5]} for index in range(len(batch.keys))
    ]
    usage = {"prompt_tokens": 7, "total_tokens": 7} if usage is None else usage
    return {"object": "list", "data": rows, "model": "m-1", "usage": usage, **more}


def replayed(batch: Batch, answer: Any) -> dict[str, Any]:
    parts = taken_apart(answer, batch, batch.keys, {})
    said = next(iter(parts.values())).attributes["answer"]
    return put_together([parts[key] for key in batch.keys], parts.values(), batch.encoding, str(said))


@given(st.lists(FLOAT32, min_size=1))
def test_base64_comes_back_bit_for_bit(numbers: list[float]) -> None:
    text = packed(numbers)
    assert again(text).written("base64") == text
    assert again(text).array.dtype == np.float32


@given(st.lists(FLOAT32, min_size=1))
def test_numbers_that_are_float32_come_back_and_take_4_bytes(numbers: list[float]) -> None:
    assert bits(again(numbers).written("float")) == bits(numbers)
    assert again(numbers).array.dtype == np.float32


@given(st.lists(FLOAT32.filter(lambda number: number == 0 or 1e-13 < abs(number) < 1e20), min_size=1))
def test_shortest_texts_of_float32_come_back_and_take_4_bytes(numbers: list[float]) -> None:
    written = [float(str(np.float32(number))) for number in numbers]
    assert bits(again(written).written("float")) == bits(written)
    assert again(written).array.dtype == np.float32
    assert again(written).written("base64") == packed(numbers)


@given(st.lists(FLOAT64, min_size=1))
def test_all_other_numbers_come_back_as_well(numbers: list[float]) -> None:
    assert bits(again(numbers).written("float")) == bits(numbers)
    assert again(numbers).written("base64") == packed(numbers)


def test_numbers_without_a_point_are_numbers() -> None:
    assert again([0, 1, -1, 0.5]).written("float") == [0, 1, -1, 0.5]


@pytest.mark.parametrize(
    "written",
    [
        *([], "", None, [1.0, None], [True], ["1"], [[1.0]], {"a": 1}),
        *([math.nan], [math.inf], [1e39], [2**60], [10**400]),
        *("AAAA", "not base64!", packed([1.0])[:-1], packed([math.nan]), packed([math.inf])),
    ],
)
def test_what_is_no_vector_is_none(written: Any) -> None:
    assert vectors.read(written) is None


@given(
    st.integers(0, 2**40),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=50),
)
def test_shares_of_tokens_are_whole_and_add_up(tokens: int, weights: list[int]) -> None:
    shares = shared_out(tokens, weights)
    assert sum(shares) == tokens
    assert all(type(share) is int and share >= 0 for share in shares)
    assert all(abs(share - tokens * weight / sum(weights)) <= 1 for share, weight in zip(shares, weights, strict=True))


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 7, "total_tokens": 7},
        {"total_tokens": 1},
        {"prompt_tokens": 9, "total_tokens": 9, "prompt_tokens_details": None, "cost": 1.2e-05, "tier": "a"},
        {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "text": None}},
    ],
)
def test_the_same_batch_has_the_same_usage(usage: Any) -> None:
    shares = shared_out(usage, [3, 1, 4, 1, 5])
    assert added_up((share, 1) for share in shares) == usage


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"input": "a", "encoding_format": "int8"}, "other_encoding"),
        ({"input": "a", "output_dtype": "int8"}, "other_numbers"),
        ({"input": "a", "embedding_type": "binary"}, "other_numbers"),
        ({"input": ["a"], "late_chunking": True}, "in_context"),
        ({"input": [{"text": "a"}]}, "other_input"),
        ({"input": ["a", [1]]}, "other_input"),
        ({"input": [1, True]}, "other_input"),
        ({"input": [1.5]}, "other_input"),
        ({"input": None}, "other_input"),
        ({}, "other_input"),
        ({"input": ""}, "empty_input"),
        ({"input": []}, "empty_input"),
        ({"input": ["a", ""]}, "empty_input"),
    ],
)
def test_what_cannot_be_taken_apart_says_why(request_: dict[str, Any], reason: str) -> None:
    assert inputs_of(request_) == reason


def test_empty_token_arrays_are_not_taken_apart() -> None:
    assert isinstance(inputs_of({"input": [[]]}), str)
    assert isinstance(inputs_of({"input": [[1], []]}), str)


@pytest.mark.parametrize(
    ("given_", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]])],
)
def test_the_four_forms_of_an_input(given_: Any, inputs: list[Any]) -> None:
    assert inputs_of({"input": given_}) == inputs


def test_the_key_of_an_item_is_that_of_all_that_changes_its_vector() -> None:
    base: dict[str, Any] = {"model": "m", "input": "a"}
    key = batch_of(**base).keys[0]
    same = [{"input": ["b", "a"]}, {"encoding_format": "base64"}, {"encoding_format": "float"}, {"user": "u"}]
    other: list[dict[str, Any]] = [{"model": "n"}, {"dimensions": 2}, {"x": 1}, {"input": "b"}, {"input": [97]}]
    assert all(key in batch_of(**{**base, **change}).keys for change in same)
    assert all(key not in batch_of(**{**base, **change}).keys for change in other)


def test_the_keys_of_items_stay_as_they_are() -> None:
    keys = batch_of(model="m", input=["a", "b"]).keys + batch_of(model="m", input=[1, 2], dimensions=8).keys
    assert [key[:24] for key in keys] == GOLDEN


GOLDEN = [
    "embed:m:a17dde497483c9a0",
    "embed:m:31c3377cdd775fec",
    "embed:m:f01a5b2c658190cd",
]


def test_the_reduced_request_asks_for_the_missing_in_order() -> None:
    batch = batch_of(model="m", input=["a", "b", "a", "c"], user="u")
    assert batch.reduced([batch.keys[3], batch.keys[1]]) == {"model": "m", "input": ["c", "b"], "user": "u"}
    assert not batch.is_whole(list(batch.items))
    assert batch_of(model="m", input=["a", "b"]).is_whole(["1", "2"])


def test_an_answer_is_replayed_as_it_was() -> None:
    batch = batch_of(model="m", input=["a", "b", "c"])
    answer = answer_to(batch, id="embd-1", created=5)
    answer["data"][1]["truncated"] = True
    assert replayed(batch, json.loads(json.dumps(answer))) == answer


def test_the_order_of_the_answer_does_not_matter() -> None:
    batch = batch_of(model="m", input=["a", "b", "c"])
    answer = answer_to(batch)
    shuffled = answer | {"data": answer["data"][::-1]}
    assert replayed(batch, shuffled) == answer


def test_duplicates_are_told_twice_and_counted_once() -> None:
    batch = batch_of(model="m", input=["a", "b", "a"])
    parts = taken_apart(answer_to(batch_of(model="m", input=["a", "b"])), batch, list(batch.items), {})
    answer = put_together([parts[key] for key in batch.keys], parts.values(), "float", "{}")
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert answer["data"][0]["embedding"] == answer["data"][2]["embedding"]
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_shares_of_what_a_call_cost_add_up() -> None:
    batch = batch_of(model="m", input=["a", "bcd", "e"])
    whole = {"provider": "openai", "input_tokens": 10, "output_tokens": 0, "usd": 0.5, "seconds": 3.0}
    parts = taken_apart(answer_to(batch), batch, batch.keys, whole, type="t").values()
    assert [part.attributes["input_tokens"] for part in parts] == [2, 6, 2]
    assert [part.attributes["seconds"] for part in parts] == [1.0, 1.0, 1.0]
    assert sum(float(part.attributes["calls"] or 0) for part in parts) == pytest.approx(1)
    assert sum(float(part.attributes["usd"] or 0) for part in parts) == pytest.approx(0.5)
    assert {part.attributes["provider"] for part in parts} == {"openai"}
    assert {part.attributes["type"] for part in parts} == {"t"}


def without(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: None,
        lambda answer: [answer],
        lambda answer: without(answer, "data"),
        lambda answer: answer | {"data": "x"},
        lambda answer: answer | {"data": answer["data"][:2]},
        lambda answer: answer | {"data": [*answer["data"], answer["data"][0]]},
        lambda answer: answer | {"data": [answer["data"][0]] * 3},
        lambda answer: answer | {"data": [row | {"index": row["index"] + 1} for row in answer["data"]]},
        lambda answer: answer | {"data": [without(row, "index") for row in answer["data"]]},
        lambda answer: answer | {"data": [row | {"index": str(row["index"])} for row in answer["data"]]},
        lambda answer: answer | {"data": [row | {"embedding": [1.0] * (row["index"] + 1)} for row in answer["data"]]},
        lambda answer: answer | {"data": [row | {"embedding": None} for row in answer["data"]]},
        lambda answer: answer | {"data": [None] * 3},
    ],
)
def test_an_answer_that_does_not_fit_is_not_taken_apart(spoil: Any) -> None:
    batch = batch_of(model="m", input=["a", "b", "c"])
    with pytest.raises(Unfit):
        taken_apart(spoil(answer_to(batch)), batch, batch.keys, {})


def test_an_entry_of_something_else_is_no_part() -> None:
    assert Part.of(np.ones(2, "f4"), {}) is None
    assert Part.of([1.0], {"answer": "{}"}) is None
    assert Part.of(np.ones((2, 2), "f4"), {"answer": "{}"}) is None
    assert Part.of(np.ones(2, "i4"), {"answer": "{}"}) is None
