"""Payloads that are no value of their codec, or not of the type asked for, are corrupt: never another exception."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.values import MODELS, SAMPLES, Answer, there_and_back
from tiercache import arrays, codec
from tiercache.errors import CorruptEntry, MissingExtra, UnknownFormat

PAYLOADS = [codec.encode(value) for value in SAMPLES]
CODECS = sorted({name for _, name in PAYLOADS} | {"ndarray;<U1;2", "ndarray;|b1;", "ndarray;<M8[ns];1"})
TYPES = [
    None,
    int,
    str,
    bytes,
    list,
    dict,
    tuple,
    np.ndarray,
    dt.datetime,
    Decimal,
    UUID,
    list[int],
    dict[str, Answer],
    *MODELS,
]


def value_or_corrupt(payload: bytes, name: str, type: Any = None) -> str:
    try:
        codec.decode(payload, name, type)
    except CorruptEntry:
        return "corrupt"
    return "value"


@pytest.mark.parametrize("name", CODECS)
def test_a_payload_under_the_name_of_another_codec_is_corrupt_or_a_value(name: str):
    for payload, _ in PAYLOADS:
        for type in TYPES:
            value_or_corrupt(payload, name, type)


@given(st.binary(max_size=200), st.sampled_from(CODECS), st.sampled_from([None, Answer, dict, str]))
def test_any_bytes_under_any_codec_are_corrupt_or_a_value(payload: bytes, name: str, type: Any):
    value_or_corrupt(payload, name, type)


def ext(code: int, data: bytes) -> bytes:
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data


pack = msgspec.msgpack.encode
HOSTILE = {
    "a tuple of nothing": ext(1, b""),
    "a tuple that is a number": ext(1, pack(5)),
    "a tuple and bytes after it": ext(1, pack([1]) + b"\x01"),
    "a set of lists": ext(2, pack([[1]])),
    "a set of dicts": ext(2, pack([{"a": 1}])),
    "a set that is nil": ext(2, pack(None)),
    "a frozenset of sets": ext(3, b"\x91" + ext(2, pack([1]))),
    "a map of an odd count": ext(4, pack([1, 2, 3])),
    "a map with a list for a key": ext(4, pack([[1], 2])),
    "a map whose key is a bytearray": ext(4, b"\x92" + ext(13, b"a") + b"\x01"),
    "a map whose key is a signalling NaN": ext(4, b"\x92" + ext(10, b"sNaN") + b"\x01"),
    "an int that is no number": ext(5, b"xyz"),
    "an int of no bytes": ext(5, b""),
    "an int that is no UTF-8": ext(5, b"\xff"),
    "a datetime that never was": ext(6, b"2024-02-30T00:00:00"),
    "a datetime of no bytes": ext(6, b""),
    "a date that is text": ext(7, b"today"),
    "a time of 25 hours": ext(8, b"25:00:00"),
    "a timedelta of text": ext(9, pack(["1", 2, 3])),
    "a timedelta beyond all days": ext(9, pack([10**12, 0, 0])),
    "a timedelta of NaN": ext(9, pack([float("nan"), 0, 0])),
    "a timedelta of infinity": ext(9, pack([float("inf"), 0, 0])),
    "a timedelta of eight parts": ext(9, pack([0] * 8)),
    "a Decimal that is text": ext(10, b"one"),
    "a Decimal of no bytes": ext(10, b""),
    "a UUID of 15 bytes": ext(11, bytes(15)),
    "a UUID of 17 bytes": ext(11, bytes(17)),
    "a UUID of no bytes": ext(11, b""),
    "a complex of text": ext(12, pack(["a", "b"])),
    "a complex of three": ext(12, pack([1, 2, 3])),
    "a complex of maps": ext(12, pack([{}, {}])),
    "an array without its dtype": ext(14, pack([b"1234"])),
    "an array of another length": ext(14, pack(["ndarray;<f4;3", bytes(8)])),
    "an array of another codec": ext(14, pack(["msgpack", b"\x01"])),
    "an array of objects": ext(14, pack(["ndarray;|O;1", bytes(8)])),
    "a thousand tuples deep": b"",
    "a hundred thousand arrays deep": b"\x91" * 100_000 + b"\xc0",
    "a million arrays deep": b"\x91" * 1_000_000,
    "a hundred thousand maps deep": b"\x81\xa1a" * 100_000 + b"\xc0",
    "a billion items": b"\xdd\x3b\x9a\xca\x00",
    "a billion pairs": b"\xdf\x3b\x9a\xca\x00\xa1a",
    "four gigabytes": b"\xc6\xff\xff\xff\xff",
    "an extension of four gigabytes": b"\xc9\xff\xff\xff\xff\x01",
    "a reserved byte": b"\xc1",
    "two values": b"\x01\x02",
    "nothing": b"",
    "a text that is no UTF-8": b"\xa2\xff\xff",
    "a timestamp beyond all years": b"\xc7\x0c\xff" + b"\x00" * 4 + b"\x7f" + b"\xff" * 7,
}
_tuples = b"\x01"
for _ in range(1000):
    _tuples = ext(1, b"\x91" + _tuples)
HOSTILE["a thousand tuples deep"] = _tuples


@pytest.mark.parametrize("name", HOSTILE)
def test_msgpack_that_we_never_write_is_corrupt(name: str):
    with pytest.raises(CorruptEntry) as caught:
        codec.decode(HOSTILE[name], "msgpack")
    assert caught.type is CorruptEntry


@pytest.mark.parametrize("code", [0, 15, 16, 127, 128, 254])
def test_an_extension_of_a_later_release_is_an_unknown_format(code: int):
    with pytest.raises(UnknownFormat):
        codec.decode(ext(code, b"data"), "msgpack")


@pytest.mark.parametrize("name", ["pickle", "", "MSGPACK", "msgpack;", "ndarray", "x" * 10_000])
def test_a_codec_of_a_later_release_is_an_unknown_format(name: str):
    with pytest.raises(UnknownFormat) as caught:
        codec.decode(b"data", name)
    assert len(str(caught.value)) < 200


# What stands for dtype and shape.
NEVER_WRITTEN = [
    ";",
    "<f4",
    "<f4;;",
    "<f4;1;",
    "O;1",
    "|O;1",
    "<f4,<f4;0",
    "(1,;0",
    "(2,)<f4;0",
    "|V8;0",
    "<f16;0",
    "=f4;0",
    "f4;0",
    "a4;0",
    "|S0;1000000000000",
    "<U0;9",
    "<U999999999;0",
    "<M8[foo];0",
    "<M8[99s;0",
    "T;0",
    "<f4;-1",
    "<f4;-1,-1",
    "<f4;0x0",
    "<f4;٠",
    "<f4;0.0",
    "<f4;0_0",
    "<f4;,0",
    "<f4;0,",
    "<f4;0,9999999999999999999",
    "<f4;0,4611686018427387904",
]
NEVER_WRITTEN += ["<f4;0" + ",1" * 32, "<f4;" + "0" * 10_000, "<f4;0" + " " * 1_000_000]
NEVER_WRITTEN += ["<f4; 0", "<f4\n;0", "<f4;0\n", "\0;0"]


@pytest.mark.parametrize("name", NEVER_WRITTEN, ids=lambda name: repr(name[:40]))
def test_an_array_that_we_never_write_is_corrupt(name: str):
    with pytest.raises(CorruptEntry) as caught:
        codec.decode(b"", f"ndarray;{name}")
    assert caught.type is CorruptEntry


def test_an_array_of_another_length_is_corrupt():
    payload, name = codec.encode(np.arange(6, dtype="<i4"))
    for other in (payload[:-1], payload + b"\0", b"", payload * 2):
        with pytest.raises(CorruptEntry):
            codec.decode(other, name)


MISFITS = [
    ("aGVsbG8=", bytes),
    ("12", int),
    ("1.5", Decimal),
    ("2024-01-01", dt.date),
    ("1", UUID),
    (b"text", str),
    (1, bool),
    (1.5, int),
    (None, str),
    ({"a": 1}, list),
    ([1], dict),
    (["aGVsbG8="], list[bytes]),
    ({"text": 5}, Answer),
    (np.zeros(1), list),
]


@pytest.mark.parametrize(("value", "type"), MISFITS, ids=repr)
def test_a_value_is_never_read_as_another_type(value: Any, type: Any):
    with pytest.raises(CorruptEntry):
        there_and_back(value, type)


def test_a_value_may_be_asked_for_by_the_class_it_is_an_instance_of():
    assert there_and_back(True, int) is True
    assert there_and_back([1], object) == [1]
    assert there_and_back([1, 2], list[int]) == [1, 2]


def test_without_numpy_an_array_is_left_for_those_who_have_it(monkeypatch: pytest.MonkeyPatch):
    def missing() -> Any:
        raise MissingExtra("reading an array", "embeddings")

    payload, name = codec.encode(np.arange(3))
    inside = codec.encode([np.arange(3)])
    monkeypatch.setattr(arrays, "_numpy", missing)
    for stored in ((payload, name), inside):
        with pytest.raises(UnknownFormat, match=r"install tiercache\[embeddings\]"):
            codec.decode(*stored)
