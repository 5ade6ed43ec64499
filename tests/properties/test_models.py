"""Models come back as the type asked for, unchanged in every field and every type, or they are refused."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.values import TEXTS, Answer, Chunk, Message, Role, Span, Usage, canonical, there_and_back
from tiercache import codec
from tiercache.errors import CorruptEntry, UncacheableValue


class Level(enum.IntEnum):
    LOW = 1


Point = collections.namedtuple("Point", "x y")


class AnyStruct(msgspec.Struct):
    x: Any = None


class AnyStructWithoutEquality(msgspec.Struct, eq=False):
    x: Any = None


@dataclasses.dataclass
class AnyData:
    x: Any = None


@dataclasses.dataclass(eq=False)
class AnyDataWithoutEquality:
    x: Any = None


@dataclasses.dataclass
class AnyDataUncompared:
    x: Any = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class AnySlots:
    x: Any = None


@attrs.define
class AnyAttrs:
    x: Any = None


class AnyPydantic(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    x: Any = None


WITH_ANY: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        AnyStruct,
        AnyStructWithoutEquality,
        AnyData,
        AnyDataWithoutEquality,
        AnyDataUncompared,
        AnySlots,
        AnyAttrs,
        AnyPydantic,
    )
}

# There and back

USAGES = st.builds(Usage, st.integers(-(2**63), 2**63 - 1), st.floats())
MOMENTS = st.none() | st.datetimes(timezones=st.just(dt.UTC)).map(lambda moment: moment.replace(fold=0))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ANSWERS = st.builds(Answer, TEXTS, st.none() | USAGES, st.lists(st.floats()), JSON, MOMENTS)
CHUNKS = st.builds(Chunk, TEXTS, st.lists(st.floats()), JSON)
MESSAGES = st.builds(Message, role=TEXTS, content=st.none() | TEXTS, meta=st.dictionaries(TEXTS, JSON, max_size=3))


def fields(model: Any) -> Any:
    if isinstance(model, pydantic.BaseModel):
        return canonical(model.model_dump())
    if isinstance(model, msgspec.Struct):
        return canonical(
            {
                name: fields(value) if isinstance(value, Usage) else value
                for name, value in msgspec.structs.asdict(model).items()
            }
        )
    return canonical(dataclasses.asdict(model))


@given(ANSWERS | CHUNKS | MESSAGES)
def test_a_model_comes_back_as_the_type_asked_for(model: Any):
    back = there_and_back(model, type(model))
    assert type(back) is type(model)
    assert fields(back) == fields(model)


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (
            Answer("yes", Usage(3)),
            {"text": "yes", "usage": {"tokens": 3, "price": 0.0}, "logprobs": [], "raw": None, "at": None},
        ),
        (Chunk("text", [1.0]), {"text": "text", "vector": [1.0], "extra": None}),
        (Span(1, 2), {"start": 1, "end": 2}),
        (Message(role="user", meta={"n": 1}), {"role": "user", "content": None, "meta": {"n": 1}}),
    ],
    ids=["msgspec", "dataclass", "attrs", "pydantic"],
)
def test_a_model_comes_back_as_a_dict_when_no_type_is_asked_for(model: Any, plain: dict[str, Any]):
    assert there_and_back(model) == plain


def test_a_dict_may_be_asked_for_as_a_model():
    assert there_and_back({"text": "yes", "at": "2024-01-01T00:00:00Z"}, Answer).at == dt.datetime(
        2024, 1, 1, tzinfo=dt.UTC
    )
    assert there_and_back({"role": "user"}, Message) == Message(role="user")


def test_a_model_may_be_asked_for_as_another_with_the_same_fields():
    assert there_and_back(Span(1, 2), dict) == {"start": 1, "end": 2}
    assert there_and_back(Message(role="user"), AnyStruct) == AnyStruct(None)


@pytest.mark.parametrize("name", WITH_ANY)
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", [1, [2.0]], {"a": {"b": [None]}}], ids=repr)
def test_a_field_of_any_type_may_hold_what_json_holds(name: str, value: Any):
    back = there_and_back(WITH_ANY[name](x=value), WITH_ANY[name])
    assert canonical(back.x) == canonical(value)


class Priced(msgspec.Struct):
    amount: Decimal


def test_nan_and_infinity_in_a_field_come_back():
    back = there_and_back(Usage(1, float("nan")), Usage)
    assert back.price != back.price
    assert there_and_back(Priced(Decimal("NaN")), Priced).amount.is_nan()
    assert there_and_back(Chunk("t", [float("inf"), -0.0]), Chunk) == Chunk("t", [float("inf"), -0.0])


def test_a_field_declared_as_float_makes_a_float_of_an_int():
    assert canonical(there_and_back(Usage(1, 2), Usage).price) == canonical(2.0)


class Typed(msgspec.Struct):
    role: Role
    level: Level
    pair: tuple[int, str]
    names: frozenset[str]
    amount: Decimal
    id: UUID
    day: dt.date
    raw: bytes
    by_number: dict[int, list[float]]


def test_fields_of_declared_types_come_back_as_those():
    model = Typed(
        Role.USER,
        Level.LOW,
        (1, "a"),
        frozenset("ab"),
        Decimal("1.10"),
        UUID(int=1),
        dt.date(2024, 2, 29),
        b"\xff",
        {1: [1.0]},
    )
    back = there_and_back(model, Typed)
    assert canonical(msgspec.structs.asdict(back)) == canonical(msgspec.structs.asdict(model))


class Camel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    finish_reason: str = pydantic.Field(alias="finishReason")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def finished(self) -> bool:
        return self.finish_reason == "stop"


def test_a_pydantic_model_with_aliases_and_computed_fields_comes_back():
    model = Camel(finishReason="stop")
    assert there_and_back(model, Camel) == model
    assert there_and_back(model) == {"finishReason": "stop"}


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: str


def test_a_pydantic_model_keeps_the_fields_that_it_did_not_declare():
    model = Open(id="a", later={"n": [1]})
    assert there_and_back(model, Open).model_extra == {"later": {"n": [1]}}


class Lazy(pydantic.BaseModel):
    text: str

    @functools.cached_property
    def length(self) -> int:
        return len(self.text)


def test_what_a_model_computes_and_keeps_is_no_part_of_it():
    model = Lazy(text="abc")
    assert model.length == 3
    assert there_and_back(model, Lazy) == Lazy(text="abc")


@dataclasses.dataclass
class WithClassVariable:
    x: int
    known: ClassVar[np.ndarray] = np.arange(3)


def test_class_variables_are_no_part_of_a_model():
    assert there_and_back(WithClassVariable(1), WithClassVariable) == WithClassVariable(1)


# What would change is refused

CHANGED = {
    "a tuple": (1, 2),
    "a tuple in a list": [(1,)],
    "a named tuple": Point(1, 2),
    "a set": {1},
    "a bytearray": bytearray(b"a"),
    "an OrderedDict": collections.OrderedDict(a=1),
    "a StrEnum": Role.USER,
    "an IntEnum": Level.LOW,
    "a datetime": dt.datetime(2024, 1, 1),
    "a Decimal": Decimal("1.0"),
    "a signalling NaN": Decimal("sNaN"),
    "a UUID": UUID(int=1),
    "a complex": 1j,
    "an array": np.arange(3),
    "an object": object(),
    "another model": Usage(1),
    "a lone surrogate": "\ud800",
}


@pytest.mark.parametrize("name", WITH_ANY)
@pytest.mark.parametrize("change", CHANGED)
def test_a_field_of_any_type_that_would_change_is_refused(name: str, change: str):
    with pytest.raises(UncacheableValue, match=f"a {name} cannot be cached: .*; declare exact types"):
        codec.encode(WITH_ANY[name](x=CHANGED[change]))


def test_the_message_says_where_and_how_it_would_change():
    with pytest.raises(UncacheableValue, match=r"Expected `int`, got `str` - at `\$\.tokens`"):
        codec.encode(Usage("1"))  # type: ignore[arg-type]
    with pytest.raises(UncacheableValue, match=r"at \$\.x\.choices\[1\] a tuple comes back as a list"):
        codec.encode(AnyData({"choices": [1, (2,)]}))
    with pytest.raises(UncacheableValue, match=r"at \$\.x\[…\] a int comes back as a str"):
        codec.encode(AnyPydantic(x={1: "a"}))


@pytest.mark.parametrize("name", [name for name in WITH_ANY if name != "AnyPydantic"])
def test_an_int_beyond_64_bits_in_a_model_is_refused(name: str):
    with pytest.raises(UncacheableValue):
        codec.encode(WITH_ANY[name](x=2**64))


def test_a_model_that_holds_itself_is_refused():
    for kind in WITH_ANY.values():
        if kind is not AnySlots:
            model = kind()
            model.x = [model]
            with pytest.raises(UncacheableValue):
                codec.encode(model)


class Excluding(pydantic.BaseModel):
    a: int
    hidden: int = pydantic.Field(default=5, exclude=True)


class Private(pydantic.BaseModel):
    a: int
    _seen: int = pydantic.PrivateAttr(default=0)


class Secret(pydantic.BaseModel):
    token: pydantic.SecretStr


class Base(pydantic.BaseModel):
    a: int


class Sub(Base):
    b: int = 1


class Holder(pydantic.BaseModel):
    inner: Base


class Stamped(pydantic.BaseModel):
    at: dt.datetime


class Fraction(pydantic.BaseModel):
    x: float


class Picky(pydantic.BaseModel):
    x: int

    @pydantic.field_validator("x")
    @classmethod
    def _once(cls, value: int) -> int:
        if value == 7:
            raise KeyError(value)
        return value


def private() -> Private:
    model = Private(a=1)
    model._seen = 3
    return model


def with_attribute(model: Any) -> Any:
    model.__dict__["later"] = 1
    return model


PYDANTIC = {
    "an excluded field": lambda: Excluding(a=1, hidden=6),
    "a private attribute": private,
    "a secret": lambda: Secret(token=pydantic.SecretStr("s")),
    "a subclass in a field of its base": lambda: Holder(inner=Sub(a=1)),
    "a zone with rules": lambda: Stamped(at=dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
    "NaN, which JSON has not": lambda: Fraction(x=float("nan")),
    "an attribute of the instance": lambda: with_attribute(Base(a=1)),
    "a validator that fails": lambda: Picky.model_construct(x=7),
    "a value that was never validated": lambda: Base.model_construct(a="1"),
}


@pytest.mark.parametrize("name", PYDANTIC)
def test_a_pydantic_model_that_would_change_is_refused(name: str):
    with pytest.raises(UncacheableValue):
        codec.encode(PYDANTIC[name]())


def test_excluded_and_private_fields_at_their_defaults_change_nothing():
    assert there_and_back(Excluding(a=1), Excluding) == Excluding(a=1)
    assert there_and_back(Private(a=1), Private) == Private(a=1)
    assert there_and_back(Holder(inner=Base(a=1)), Holder) == Holder(inner=Base(a=1))


class Moment(msgspec.Struct):
    at: dt.datetime | dt.time


@dataclasses.dataclass
class Broken:
    x: int

    def __post_init__(self) -> None:
        if self.x == 7:
            self.x = 8  # what is decoded is not what was encoded


@dataclasses.dataclass
class Choosy:
    x: Any

    def __post_init__(self) -> None:
        if self.x != 1:
            raise ValueError(f"Expected 1, not {self.x}")


@attrs.define
class Underscored:
    x: int
    _seen: int = 0


OTHERS = {
    "an attribute of the instance": lambda: with_attribute(AnyData(1)),
    "an underscored field": lambda: Underscored(1, 2),
    "a zone with rules": lambda: Moment(dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
    "another hour for the same instant": lambda: Moment(
        dt.datetime(2024, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    ),
    "a StrEnum where a str is declared": lambda: Chunk(Role.USER),
    "a named tuple where a list is declared": lambda: Chunk("t", Point(1.0, 2.0)),  # type: ignore[arg-type]
    "a bool where a float is declared": lambda: Usage(1, True),
    "a float where an int is declared": lambda: Usage(1.5),  # type: ignore[arg-type]
    "a subclass in a field of its base": lambda: Answer("t", SubUsage(1)),
    "a constructor that changes it": lambda: _changed(Broken(1), 7),
}


class SubUsage(Usage):
    more: int = 1


def _changed(model: Any, x: object) -> Any:
    model.x = x
    return model


@pytest.mark.parametrize("name", OTHERS)
def test_another_model_that_would_change_is_refused(name: str):
    with pytest.raises(UncacheableValue):
        codec.encode(OTHERS[name]())


class Named(msgspec.Struct):
    role: Role


def test_no_message_shows_what_a_model_holds():
    for model in (
        Base.model_construct(a="SECRET"),
        AnyPydantic(x={"SECRET key": (1,)}),
        Named("SECRET"),  # type: ignore[arg-type]
        _changed(Choosy(1), "SECRET"),
        AnyData({"SECRET key": (1,)}),
    ):
        with pytest.raises(UncacheableValue) as caught:
            codec.encode(model)
        assert "SECRET" not in str(caught.value)


# Classes that changed since


@dataclasses.dataclass
class Fussy:
    text: str

    def __post_init__(self) -> None:
        raise KeyError(self.text)


@pytest.mark.parametrize("kind", [Usage, Span, Base, Picky, Fussy], ids=lambda kind: kind.__name__)
def test_what_no_longer_fits_the_class_is_corrupt(kind: type[Any]):
    for value in (Chunk("text"), Message(role="user"), {"text": "x", "x": 7}, Chunk("SECRET")):
        with pytest.raises(CorruptEntry) as caught:
            there_and_back(value, kind)
        assert "SECRET" not in str(caught.value)
