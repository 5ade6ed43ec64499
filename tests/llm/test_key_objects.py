"""Requests with objects inside: what the SDKs take has the key of what they send, and the rest is refused."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import types
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anthropic
import anthropic.types
import attrs
import msgspec
import numpy as np
import openai
import openai.types.chat
import openai.types.responses
import pydantic
import pytest

from tiercache.errors import UncacheableValue
from tiercache.llm import chat_key, message_key, response_key

ASKED = {"role": "user", "content": "Weather?"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def key_of(value: Any) -> str:
    return chat_key({"model": "m", "x": value})


def test_a_message_of_openai_handed_back_is_what_the_sdk_sends_for_it():
    sent = {"role": "assistant", "content": None, "tool_calls": [CALL], "a_field_of_tomorrow": 1}
    message = openai.types.chat.ChatCompletionMessage.model_validate(sent)
    request = {"model": "gpt-4o", "messages": [ASKED, message]}
    assert chat_key(request) == chat_key({"model": "gpt-4o", "messages": [ASKED, sent]})
    assert chat_key(request) == chat_key({"model": "gpt-4o", "messages": [ASKED, message.to_dict()]})


def test_items_of_a_response_handed_back_are_what_the_sdk_sends_for_them():
    sent = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc", "status": "completed"}
    item = openai.types.responses.ResponseFunctionToolCall.model_validate(sent)
    assert response_key({"model": "m", "input": [ASKED, item]}) == response_key({"model": "m", "input": [ASKED, sent]})


def test_blocks_of_anthropic_handed_back_are_what_the_sdk_sends_for_them():
    sent = {"type": "tool_use", "id": "t", "name": "f", "input": {"user": "a", "cache_control": 1}}
    block = anthropic.types.ToolUseBlock.model_validate(sent)
    text = anthropic.types.TextBlock(type="text", text="Hi", citations=None)
    objects = {"model": "m", "messages": [{"role": "assistant", "content": [text, block]}]}
    dicts = {
        "model": "m",
        "messages": [{"role": "assistant", "content": [{"type": "text", "text": "Hi", "citations": None}, sent]}],
    }
    assert message_key(objects) == message_key(dicts)
    other = anthropic.types.ToolUseBlock.model_validate({**sent, "input": {"user": "a", "cache_control": 2}})
    assert message_key({"model": "m", "messages": [{"role": "assistant", "content": [text, other]}]}) != message_key(
        dicts
    )


def test_what_an_answer_was_parsed_to_is_not_sent_and_does_not_count():
    fields = {"type": "text", "text": "1", "citations": None}
    parsed = anthropic.types.ParsedTextBlock[int].model_validate({**fields, "parsed_output": 1})
    content = [{"role": "assistant", "content": [parsed]}]
    assert message_key({"messages": content}) == message_key({"messages": [{"role": "assistant", "content": [fields]}]})


@pytest.mark.parametrize(
    "absent",
    [openai.NOT_GIVEN, openai.omit, anthropic.NOT_GIVEN, anthropic.omit, openai.NotGiven(), msgspec.UNSET],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
def test_a_field_that_says_it_is_not_given_is_absent(absent: Any):
    assert chat_key({"model": "m", "seed": absent, "x": {"y": absent}}) == chat_key({"model": "m", "x": {}})
    for misplaced in ({"stop": [absent]}, absent):
        with pytest.raises(UncacheableValue, match="leave it out"):
            chat_key(misplaced)


class Role(enum.StrEnum):
    USER = "user"


class Text(str):
    pass


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (("a", ("b",)), ["a", ["b"]]),
        (collections.deque(["a"]), ["a"]),
        (collections.UserList(["a"]), ["a"]),
        ({"k": "a"}.values(), ["a"]),
        (range(3), [0, 1, 2]),
        (array.array("i", [1, 2]), [1, 2]),
        (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (Role.USER, "user"),
        ({Role.USER: Number.ONE}, {"user": 1}),
        (Text("a"), "a"),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(1.0), 1.0),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_sent_alike_has_one_key(value: Any, same: Any):
    assert key_of(value) == key_of(same)
    assert key_of([value]) == key_of([same])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.time(1, 2), "01:02:00"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), str(UUID(int=1))),
    ],
)
def test_what_is_no_json_counts_with_its_type(value: Any, text: str):
    assert key_of(value) == key_of(value)
    assert len({key_of(value), key_of(text), key_of([text]), key_of(type(value).__name__)}) == 4


@dataclasses.dataclass
class Spoken:
    role: str
    content: Any


@attrs.define
class SpokenToo:
    role: str
    content: Any


class SpokenStruct(msgspec.Struct, rename={"content": "content"}):
    role: str
    content: Any


class SpokenModel(pydantic.BaseModel):
    role: str
    content: Any


@pytest.mark.parametrize("kind", [Spoken, SpokenToo, SpokenStruct, SpokenModel])
def test_an_object_that_says_its_role_has_the_key_of_its_fields(kind: Any):
    assert key_of(kind(role="user", content=("Hi",))) == key_of({"role": "user", "content": ["Hi"]})
    assert key_of(kind(role="user", content="Hi")) != key_of(kind(role="system", content="Hi"))


@dataclasses.dataclass
class UserMessage:
    content: Any


@dataclasses.dataclass
class SystemMessage:
    content: Any


class UserModel(pydantic.BaseModel):
    content: str


class SystemModel(pydantic.BaseModel):
    content: str


def test_of_an_object_that_does_not_say_what_it_is_the_class_counts():
    kinds: list[Any] = [UserMessage, SystemMessage, UserModel, SystemModel]
    assert len({key_of(kind(content="Hi")) for kind in kinds} | {key_of({"content": "Hi"})}) == 5
    assert key_of(UserMessage("Hi")) == key_of(UserMessage("Hi"))


class Careful(pydantic.BaseModel):
    role: str = "user"
    detail: str = "high"


class Careless(pydantic.BaseModel):
    role: str = "user"
    detail: str = "low"


def test_defaults_count_because_some_clients_send_them_and_some_do_not():
    given = Careful(role="user", detail="high")
    assert len({key_of(Careful(role="user")), key_of(Careless(role="user")), key_of(given)}) == 3
    assert key_of(given) == key_of({"role": "user", "detail": "high"})


class Root(pydantic.RootModel[list[int]]):
    pass


def test_a_model_of_a_list_counts_with_its_class():
    assert key_of(Root([1])) == key_of(Root([1])) != key_of([1])


class Tagged(msgspec.Struct, tag="text", rename="camel"):
    max_length: int


def test_a_struct_counts_as_it_is_encoded():
    assert key_of(Tagged(3)) == key_of(msgspec.to_builtins(Tagged(3)))


class City(pydantic.BaseModel):
    """A city."""

    name: str


def test_a_class_given_as_the_form_of_the_answer_counts_by_its_schema():
    def renamed(title: str) -> Any:
        return pydantic.create_model("City", __doc__=title, __module__=City.__module__, name=(str, ...))

    asked = {"model": "m", "response_format": City}
    assert chat_key(asked) == chat_key(asked)
    assert chat_key({**asked, "response_format": renamed("A city.")}) == chat_key(asked)
    assert chat_key({**asked, "response_format": renamed("A town.")}) != chat_key(asked)


def test_a_tool_made_of_a_model_is_the_dict_that_it_is():
    tool = openai.pydantic_function_tool(City)
    plain = {"type": "function", "function": dict(tool["function"])}
    assert chat_key({"model": "m", "tools": [tool]}) == chat_key({"model": "m", "tools": [plain]})


class Opaque:
    def __iter__(self) -> Any:
        return iter(["SECRET"])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ((part for part in ["SECRET"]), "read but once"),
        (iter(["SECRET"]), "read but once"),
        (map(str, ["SECRET"]), "read but once"),
        ({"SECRET"}, "has no order"),
        (frozenset({"SECRET"}), "has no order"),
        ({"SECRET": 1}.keys(), "has no order"),
        (lambda: "SECRET", "no canonical form"),
        (object(), "no canonical form"),
        (Opaque(), "no canonical form"),
        (Opaque, "no canonical form"),
        (len, "no canonical form"),
        (1j, "no canonical form"),
        (Path("SECRET"), "is a file"),
        ({("SECRET", 1): 2}, "as key"),
        ({dt.date(2026, 1, 1): 2}, "as key"),
        ({"user": 1, enum.Enum("E", {"A": "user"}).A: 2}, "as key"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused_by_its_path_and_not_its_value(value: Any, why: str):
    with pytest.raises(UncacheableValue, match=why) as caught:
        chat_key({"model": "m", "messages": [{"content": "SECRET"}, {"content": [value]}]})
    assert "$.messages[1].content[0]" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert caught.value.__cause__ is None


def test_an_iterator_that_is_refused_can_still_be_sent():
    parts = iter(["a", "b"])
    with pytest.raises(UncacheableValue):
        key_of(parts)
    assert list(parts) == ["a", "b"]


def test_an_open_file_is_refused_and_not_read(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"data")
    with path.open("rb") as file:
        with pytest.raises(UncacheableValue, match="is a file"):
            key_of(file)
        assert file.read() == b"data"


class Broken(pydantic.BaseModel):
    role: str = "user"

    @pydantic.model_serializer
    def fail(self) -> Any:
        raise RuntimeError("SECRET")


def test_a_model_that_cannot_be_dumped_is_refused():
    with pytest.raises(UncacheableValue, match="cannot be dumped") as caught:
        key_of(Broken())
    assert "SECRET" not in str(caught.value)


def test_a_request_that_contains_itself_is_refused():
    inside: list[Any] = []
    inside += [inside, inside]
    with pytest.raises(UncacheableValue, match="100 levels") as caught:
        key_of(inside)
    assert len(str(caught.value)) < 400
    fields: dict[str, Any] = {}
    fields["x"] = fields
    with pytest.raises(UncacheableValue, match="100 levels"):
        key_of(fields)


@pytest.mark.parametrize("request_", [None, "text", ["a"], 3, b"x", openai.NOT_GIVEN])
def test_a_request_that_is_no_dict_is_refused(request_: Any):
    with pytest.raises(UncacheableValue):
        chat_key(request_)
