"""Objects inside requests -> what they are made of: messages of the SDKs, models, dataclasses, schemas."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from ..errors import UncacheableValue

_SAID = {"role", "type"}
_SCALARS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (dt.datetime, dt.datetime.isoformat),
    (dt.date, dt.date.isoformat),
    (dt.time, dt.time.isoformat),
    (Decimal, str),
    (UUID, str),
)


def is_absent(value: Any) -> bool:
    """Whether this says that a field was not given: `NotGiven` and `Omit` of the SDKs, `UNSET` of msgspec."""
    kind = type(value)
    return (kind.__name__ in ("NotGiven", "Omit") and _is_of(kind, "_types")) or value is msgspec.UNSET


def scalar(value: Any) -> tuple[str, str] | None:
    """Return the name and the text of a value that JSON has only as a text; None when it is none."""
    for kind, text in _SCALARS:
        if isinstance(value, kind):
            return kind.__name__, text(value)
    return None


def fields_of(value: Any) -> tuple[str | None, Any] | None:
    """Return what an object is made of; None when it is no object of a kind that is known.

    Returns:
        The name to tag the fields with, None where they say themselves what they are, and the fields. An SDK's own
        object is what that SDK sends for it. Of others the class counts, too, unless a field `role` or `type` says
        what they are: a `SystemMessage("x")` is no `UserMessage("x")`.
    """
    kind = type(value)
    if isinstance(value, type):
        return _schema(value)
    if callable(getattr(kind, "model_dump", None)):
        return _sent(value) if _is_of_sdk(kind) else _pydantic(value)
    if dataclasses.is_dataclass(value):
        return _named(kind, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if hasattr(kind, "__attrs_attrs__"):
        return _named(kind, {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__})
    return None


def _named(kind: type, fields: Any) -> tuple[str | None, Any]:
    says = isinstance(fields, dict) and not _SAID.isdisjoint(fields)
    return None if says else f"{kind.__module__}.{kind.__qualname__}", fields


def _is_of_sdk(kind: type) -> bool:
    return any(base.__name__ == "BaseModel" and _is_of(base, "_models") for base in kind.__mro__)


def _is_of(kind: type, room: str) -> bool:
    """Whether the class is of an SDK such as openai or anthropic: they are generated alike, down to their files."""
    package = kind.__module__.partition(".")[0]
    return kind.__name__ in vars(sys.modules.get(f"{package}.{room}", object))


def _sent(value: Any) -> tuple[None, Any]:
    excluded = getattr(value, "__api_exclude__", None)
    return None, _dumped(value, mode="json", exclude_unset=True, exclude=excluded)


def _pydantic(value: Any) -> tuple[str | None, Any]:
    """Return the fields of a model; some clients send defaults and some do not, so both forms count if they differ."""
    name, fields = _named(type(value), _dumped(value))
    given = _dumped(value, exclude_unset=True)
    return (name, fields) if repr(given) == repr(fields) else (name or "model", [fields, given])


def _dumped(value: Any, **options: Any) -> Any:
    try:
        return value.model_dump(by_alias=True, warnings=False, **options)
    except Exception as error:  # noqa: BLE001 - whatever the class's own code raises
        raise UncacheableValue(f"a {type(value).__name__} that cannot be dumped ({type(error).__name__})") from None


def _struct(value: msgspec.Struct) -> tuple[str | None, Any]:
    kind = type(value)
    names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
    fields = {encoded: getattr(value, name) for encoded, name in names}
    config = kind.__struct_config__
    if config.tag_field is not None:
        return None, {config.tag_field: config.tag} | fields
    return _named(kind, fields)


def _schema(kind: Any) -> tuple[str, Any] | None:
    """Return a model's class as its JSON schema, as clients do that take it for the form of the answer."""
    if not callable(getattr(kind, "model_json_schema", None)):
        return None
    try:
        schema = kind.model_json_schema()
    except Exception as error:  # noqa: BLE001 - likewise
        raise UncacheableValue(f"the class {kind.__name__}, which has no schema ({type(error).__name__})") from None
    return "class", [f"{kind.__module__}.{kind.__qualname__}", schema]
