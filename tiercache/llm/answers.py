"""Answers as plain data and the name of their type, and back: a hit returns the type that was stored.

A name in a store is no reason to import anything: only the SDKs' own types are looked up by name, and those that the
caller registered. What is not one of them is a miss.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import codec
from ..entry import AttributeValue
from ..errors import ConfigurationError, TypeMismatch, UncacheableValue
from .plain import is_pydantic

ROOTS = ("openai.types.", "anthropic.types.")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*")
_ORIGIN = {"_request_id": "request_id", "_workspace_id": "workspace_id"}
"""What the SDKs put on an answer from its headers, and the attributes that keep it."""
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Described:
    """An answer as it is stored.

    Attributes:
        plain: its data, as JSON gives it.
        attributes: what the data do not tell: `type`, whether it was `validated` (the SDKs do not), and what the SDK
            knows from headers.
    """

    plain: dict[str, Any]
    attributes: dict[str, AttributeValue]


class Answers:
    """Knows the types of answers.

    Args:
        types: types of the caller's own, which may be stored and found again by their names: pydantic models,
            dataclasses, msgspec Structs.

    Raises:
        ConfigurationError: one of them is no such type.
    """

    def __init__(self, types: Iterable[type[Any]] = ()) -> None:
        self._found: dict[str, type[Any] | None] = {}
        for each in types:
            if not _is_model(each):
                raise ConfigurationError("types must be pydantic models, dataclasses or msgspec Structs")
            self._found[name_of(each)] = each
        self._registered = frozenset(self._found)

    def describe(self, answer: Any, type: type[Any] | None = None) -> Described | None:
        """Return an answer as it is stored; None: it would not come back equal, and of its own type.

        Args:
            answer: a dict, or an object.
            type: a type that the reader will ask for, registered or not.
        """
        kind = answer.__class__
        try:
            if kind is dict:
                codec.encode(answer)
                return Described(answer, {})
            if not (kind is type or self._is_known(kind)):
                return None
            plain = _dumped(answer)
            codec.encode(plain)
            attributes: dict[str, AttributeValue] = {"type": name_of(kind)}
            for name, attribute in _ORIGIN.items():
                if name in getattr(answer, "__dict__", {}):
                    attributes[attribute] = getattr(answer, name)
            if _is_same(answer, _built(kind, plain, attributes)):
                return Described(plain, attributes)
            attributes["validated"] = True
            if _is_same(answer, _built(kind, plain, attributes)):
                return Described(plain, attributes)
        except Exception:  # noqa: BLE001, S110 - the type's own code may raise anything; counted as `uncacheable`
            pass
        return None

    def build(self, plain: Any, attributes: Mapping[str, AttributeValue], type: type[Any] | None = None) -> Any:
        """Return an answer as it was stored, or as the type that is asked for (`dict`: its plain data).

        Raises:
            TypeMismatch: its type is not known here, or it is not one of that type: a miss.
        """
        if not isinstance(plain, dict):
            raise TypeMismatch("the entry holds no answer")
        name = attributes.get("type")
        if type is dict or (type is None and name is None):
            return plain
        kind = type if type is not None else self._find(name)
        if kind is None:
            raise TypeMismatch("the answer is of a type that is not known here: register it with LLMCache(types=[…])")
        try:
            return _built(kind, plain, attributes)
        except Exception as error:  # noqa: BLE001 - whatever the type's own code raises
            reason = error.__class__.__name__
        raise TypeMismatch(f"the answer is no {kind.__name__}: {reason}")

    def _is_known(self, kind: type[Any]) -> bool:
        name = name_of(kind)
        return self._found.get(name) is kind if name in self._registered else self._find(name) is kind

    def _find(self, name: Any) -> type[Any] | None:
        """Return the type of that name, if it is one of those that may be looked up."""
        if name in self._found:
            return self._found[name]
        if not isinstance(name, str) or not name.startswith(ROOTS) or not _NAME.fullmatch(name):
            return None
        module, _, qualified = name.partition(":")
        found: type[Any] | None = None
        try:
            named = getattr(importlib.import_module(module), qualified)
            if is_pydantic(named) and name_of(named) == name:
                found = named
        except Exception:  # noqa: BLE001, S110 - not installed, or of another release: a miss
            pass
        if len(self._found) < _MOST_NAMES:
            self._found[name] = found
        return found


def name_of(kind: type[Any]) -> str:
    """Return the name that a type is stored under."""
    return f"{kind.__module__}:{kind.__qualname__}"


def copied(answer: Any) -> Any:
    """Return a copy of an answer that is not stored, for another caller.

    Raises:
        UncacheableValue: it cannot be shared (an iterator, an open connection).
    """
    kind = type(answer)
    if kind in (str, bytes, int, float, bool, type(None)):
        return answer
    if kind in (dict, list, tuple) or _is_model(kind):
        try:
            return copy.deepcopy(answer)
        except Exception:  # noqa: BLE001, S110 - told below
            pass
    raise UncacheableValue(f"a {kind.__name__} cannot be shared")


def _is_model(kind: Any) -> bool:
    return is_pydantic(kind) or (
        isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct))
    )


def _dumped(answer: Any) -> dict[str, Any]:
    if is_pydantic(type(answer)):
        plain = answer.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    else:
        plain = msgspec.to_builtins(answer)
    if type(plain) is not dict:
        raise UncacheableValue("an answer must be an object with fields")
    return plain


def _built(kind: Any, plain: dict[str, Any], attributes: Mapping[str, AttributeValue]) -> Any:
    if not is_pydantic(kind):
        return msgspec.convert(plain, kind)
    if not kind.__module__.startswith(ROOTS):
        return kind.model_validate(plain)
    # `construct` is what the SDKs themselves do: what they do not know, or do not expect, is kept.
    answer = kind.model_validate(plain) if attributes.get("validated") else kind.construct(**plain)
    for name, attribute in _ORIGIN.items():
        if attribute in attributes:
            setattr(answer, name, attributes[attribute])
    return answer


def _is_same(before: Any, after: Any) -> bool:
    """Whether two answers agree in everything, the fields that were set included."""
    return codec.difference(before, after) is None and before == after and _set_fields(before) == _set_fields(after)


def _set_fields(value: Any) -> Any:
    """Return which fields were set, at every level; pydantic's own comparison does not look."""
    if is_pydantic(type(value)):
        inner = [*vars(value).values(), *(value.model_extra or {}).values()]
        return value.model_fields_set, [_set_fields(each) for each in inner]
    if isinstance(value, dict | list):
        return [_set_fields(each) for each in (value.values() if isinstance(value, dict) else value)]
    return None
