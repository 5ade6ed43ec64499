"""Values of every supported type, the models of the tests, and a comparison that sees types, NaN and signs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import msgspec
import numpy as np
import pydantic
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tiercache import codec


class Usage(msgspec.Struct):
    tokens: int
    price: float = 0.0


class Answer(msgspec.Struct):
    text: str
    usage: Usage | None = None
    logprobs: list[float] = []
    raw: Any = None
    at: dt.datetime | None = None


@dataclasses.dataclass
class Chunk:
    text: str
    vector: list[float] = dataclasses.field(default_factory=list)
    extra: Any = None


@attrs.define
class Span:
    start: int
    end: int


class Message(pydantic.BaseModel):
    role: str
    content: str | None = None
    meta: dict[str, Any] = {}


class Role(enum.StrEnum):
    USER = "user"


def there_and_back(value: Any, type: type[Any] | None = None) -> Any:
    """The value as a reader gets it."""
    return codec.decode(*codec.encode(value), type)


def nested(depth: int, wrap: Callable[[Any], Any] = lambda inner: [inner]) -> Any:
    """A number below `depth` containers."""
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"k": inner},
    "dict of ints": lambda inner: {1: inner},
}


def canonical(value: Any) -> Any:
    """What makes a value what it is, as something whose `==` is exact: its types at every level too."""
    kind = type(value).__qualname__
    if isinstance(value, float):
        return kind, struct.pack(">d", value) if value == value else "nan"
    if isinstance(value, complex):
        return kind, canonical(value.real), canonical(value.imag)
    if isinstance(value, np.ndarray):
        return kind, value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return kind, [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((canonical(item) for item in value), key=repr)
    if isinstance(value, dict):
        return kind, [(canonical(key), canonical(item)) for key, item in value.items()]
    if isinstance(value, (Decimal, dt.datetime, dt.time)):
        return kind, repr(value)
    return kind, bytes(value) if isinstance(value, bytearray) else value


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ZONES = st.integers(-86_399, 86_399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))
INTS = st.integers() | st.integers(2**62, 2**66) | st.integers(-(2**66), -(2**62)) | st.integers(10**300, 10**301)
DECIMALS = st.decimals(allow_nan=False) | st.sampled_from(
    [Decimal(text) for text in ("NaN", "-NaN123", "-0", "0E-50", "1.00", "Infinity", "9" * 60, "1E+999999")]
)
HASHABLE_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    INTS,
    st.floats(),
    TEXTS,
    st.binary(),
    st.datetimes(timezones=st.none() | ZONES | st.just(dt.UTC)).map(lambda moment: moment.replace(fold=0)),
    st.dates(),
    st.times(timezones=st.none() | ZONES).map(lambda time: time.replace(fold=0)),
    st.timedeltas(),
    DECIMALS,
    st.uuids(),
    st.complex_numbers(),
)
HASHABLE = st.recursive(
    HASHABLE_SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
_DTYPES = """
    |b1 |i1 |u1 <i2 >i4 <i8 >u2 <u4 <u8 <f2 <f4 >f4 <f8 <c8 >c16 |S1 |S7 <U1 >U5 <M8[ns] >M8[D] <M8[25s] <m8[us] <m8[W]
"""
DTYPES = st.sampled_from(_DTYPES.split())
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = DTYPES.flatmap(lambda dtype: npst.arrays(dtype, SHAPES))
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.just(Decimal("sNaN")) | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
    ),
    max_leaves=12,
)

SAMPLES: list[Any] = [
    b"",
    b"raw bytes \x00\xff",
    b"many " * 1000,
    "",
    "text: é 漢 😀",
    "text " * 1000,
    None,
    True,
    -1,
    2**100,
    1.5,
    float("nan"),
    [],
    {},
    {"answer": 42, "choices": [{"text": "yes", "logprob": -0.5}, {"text": "no", "logprob": None}]},
    {"rows": [{"id": index, "text": f"row {index}"} for index in range(200)]},
    [0.25] * 400,
    (1, ("two", 3.0), [4]),
    {1, 2, 3},
    frozenset({b"a", "a"}),
    {1: "int", (1, 2): "tuple", b"b": "bytes", None: "none"},
    dt.datetime(2024, 2, 29, 12, 30, 1, 5, dt.timezone(dt.timedelta(hours=-3))),
    [dt.date(2024, 2, 29), dt.time(1, 2, 3), dt.timedelta(-1, 5), Decimal("1.10"), UUID(int=5), 1j, bytearray(b"ab")],
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.zeros((0, 3), "<f8"),
    {"vector": np.linspace(0, 1, 300), "names": np.array(["a", "bc"])},
    Answer("yes", Usage(3, 0.1), [0.5], {"id": 1}),
    Chunk("text", [1.0, 2.0], {"page": 1}),
    Span(1, 2),
    Message(role="user", content="hi", meta={"n": 1}),
]
MODELS: list[type[Any]] = [Answer, Usage, Chunk, Span, Message]
