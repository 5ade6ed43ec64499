"""Python value <-> payload bytes. A value comes back equal and of the same type, or it is refused.

| value | codec | a hit costs | why no caller can change it for another |
|---|---|---|---|
| bytes | `bytes` | nothing | immutable |
| str | `str` | one UTF-8 decoding | immutable |
| None, bool, int, float, list, dict, and inside them bytes, tuple, set, datetime, Decimal, arrays … | `msgpack` | \
a decoding | each hit decodes its own copy |
| numpy array | `ndarray;<dtype>;<shape>` | a view, no copy | the array is read-only |
| msgspec Struct, dataclass, attrs | `model` | a decoding into `type`, else into a dict | own copy |
| pydantic model | `json` | a validation into `type`, else a dict | own copy |

What msgpack itself does not tell apart travels as a msgpack extension, out of band: no user value can look like
one. Models are decoded once when they are set, and refused if that changes a value or the type of one anywhere
inside (a float field that was given an int comes back as a float). There is no pickle.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from . import arrays, extensions
from .errors import CorruptEntry, MissingExtra, TypeMismatch, UncacheableValue, UnknownFormat

_encode_msgpack = msgspec.msgpack.Encoder().encode
_SCALARS = {str, int, float, bool, bytes}
_NATIVE = (bytes, bytearray, dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, UUID)


def encode(value: Any) -> tuple[bytes, str]:
    """Return the payload of a value and the name of its codec.

    The payload is a copy: changing the value afterwards does not change what is cached.

    Raises:
        UncacheableValue: no codec gives this value back unchanged; the message names the path inside it.
            (A TypeError.)
    """
    kind = type(value)
    if kind is bytes:
        return value, "bytes"
    if kind is str:
        return _utf8(value), "str"
    if kind is dict or kind is list:  # most values: no need to ask whether they are arrays or models
        return extensions.encode(value), "msgpack"
    if arrays.is_array(value):
        return _encode_array(value)
    if _is_pydantic(kind):
        return _encode_pydantic(value), "json"
    if _is_model(kind):
        return _encode_model(value), "model"
    return extensions.encode(value), "msgpack"


def decode(payload: bytes, codec: str, type: builtins.type[Any] | None = None) -> Any:
    """Return the value of a payload; nobody else holds this object.

    Args:
        payload: what `encode` returned.
        codec: the codec's name.
        type: the type to return: a model's class, or any type that the value is an instance of.

    Raises:
        CorruptEntry: the bytes are no value of that codec: a miss.
        TypeMismatch: they are one of another type: a miss.
        UnknownFormat: a later release wrote it, or numpy is not installed: leave it in place.
    """
    if codec == "bytes" and type is None:
        return payload
    try:
        return _decode(payload, codec, type)
    except (UnknownFormat, MemoryError):
        raise
    except MissingExtra as missing:
        raise UnknownFormat(str(missing)) from None
    except Exception as error:  # noqa: BLE001 - whatever msgspec, numpy and the model's own validators raise
        reason = builtins.type(error).__name__
    if type is not None:
        decode(payload, codec)  # raises if the bytes are broken, whatever was asked for
        what = getattr(type, "__name__", repr(type))
        raise TypeMismatch(f"the value (codec {codec[:40]!r}) is no {what}: {reason}")
    raise CorruptEntry(f"the payload (codec {codec[:40]!r}) cannot be decoded: {reason}")


def _decode(payload: bytes, codec: str, type: Any) -> Any:
    if codec == "msgpack":
        value = extensions.decode(payload)
    elif codec == "bytes":
        value = payload
    elif codec == "str":
        value = payload.decode()
    elif codec.startswith("ndarray;"):
        value = arrays.decode(payload, codec)
    elif codec == "model":
        if type is not None and _is_model(type):
            return msgspec.msgpack.decode(payload, type=type)
        value = msgspec.msgpack.decode(payload)
    elif codec == "json":
        if type is not None and _is_pydantic(type):
            return type.model_validate_json(payload)
        value = msgspec.json.decode(payload)
    else:
        raise UnknownFormat(f"the value has codec {codec[:40]!r}, which this release does not read")
    return value if type is None else _as_type(value, type)


def _as_type(value: Any, type: Any) -> Any:
    if isinstance(type, builtins.type) and isinstance(value, type):
        return value
    if _is_pydantic(type):
        return type.model_validate(value)
    # Into a model texts may become dates, as from JSON; elsewhere a str is never taken for bytes in base64.
    return msgspec.convert(value, type, builtin_types=None if _is_model(type) else _NATIVE)


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump_json")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, builtins.type) and (
        issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")
    )


def _encode_array(array: Any) -> tuple[bytes, str]:
    try:
        return arrays.encode(array)
    except UncacheableValue as error:
        raise UncacheableValue(f"the value cannot be cached: at $ is {error}") from None


def _encode_model(model: Any) -> bytes:
    kind = type(model)
    try:
        payload = _encode_msgpack(model)
        change = difference(model, msgspec.msgpack.decode(payload, type=kind))
    except Exception as error:  # noqa: BLE001 - the model's own code may raise anything
        message, told = str(error), type(error).__name__
        # Others show values, as do those of the model's own constructor (which have a cause).
        if error.__cause__ is None and message.startswith(("Expected ", "Encoding objects ")):
            told = message
        raise _refused(kind, told) from None
    if change is not None:
        raise _refused(kind, change)
    return payload


def _encode_pydantic(model: Any) -> bytes:
    kind, why = type(model), ""
    for names in ({}, {"by_alias": True}):  # by the fields' names if that can be read back, else by their aliases
        try:
            payload: bytes = model.model_dump_json(round_trip=True, warnings=False, **names).encode()
            change = difference(model, kind.model_validate_json(payload))
            if change is None:
                return payload
        except Exception as error:  # noqa: BLE001 - as above; pydantic's own messages show values
            change = type(error).__name__
        why = why or change
    raise _refused(kind, why)


def _refused(kind: type, why: str) -> UncacheableValue:
    return UncacheableValue(f"a {kind.__name__} cannot be cached: {why}; declare exact types, or store a dict of it")


def difference(before: Any, after: Any, path: str = "$") -> str | None:
    """Return where and how a copy differs from what it was made of; None when value and types are the same."""
    kind = type(before)
    if before is after:
        return None
    if type(after) is not kind:
        if kind is int and type(after) is float and before == after:  # what a field declared as float makes of 1
            return None
        return f"at {path} a {kind.__name__} comes back as a {type(after).__name__}"
    if kind in _SCALARS:  # most of what there is: the fast way
        same = before == after or (before != before and after != after)
        return None if same else f"at {path} a {kind.__name__} changes"
    if _is_model(kind) or _is_pydantic(kind):
        before, after = _state(before), _state(after)
    elif kind in (set, frozenset):
        before, after = ({(type(item), item): None for item in items} for items in (before, after))
        return None if before == after else f"at {path} items change"
    elif kind not in (dict, list, tuple):
        return None if _is_same(before, after) else f"at {path} a {kind.__name__} changes"
    if len(before) != len(after):
        return f"at {path} something is left out"
    for step, one, other in _parts(before, after):
        change = difference(one, other, path + step)
        if change is not None:
            return change
    return None


def _parts(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(before, dict):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield f"[{index}]", one, other
        return
    for key, other_key in zip(before, after, strict=True):
        yield "[…]", key, other_key
        yield extensions.path_step(key), before[key], after[other_key]


def _is_same(before: Any, after: Any) -> bool:
    if isinstance(before, (dt.datetime, dt.time)) and before.tzinfo is not None:
        # Equal ones may show another hour, or have lost the rules of their zone.
        return before.isoformat() == after.isoformat() and before.tzinfo.utcoffset(None) is not None
    return bool(before == after or (before != before and after != after))


def _state(model: Any) -> dict[str, Any]:
    """Return all that a model holds: its fields, and whatever else was put on it."""
    kind = type(model)
    if _is_pydantic(kind):
        names = (*kind.model_fields, "__pydantic_extra__", "__pydantic_private__")
    elif issubclass(kind, msgspec.Struct):
        names = kind.__struct_fields__
    elif dataclasses.is_dataclass(kind):
        names = tuple(kind.__dataclass_fields__)
    else:
        names = tuple(field.name for field in kind.__attrs_attrs__)
    state = {name: getattr(model, name, None) for name in names}
    others = getattr(model, "__dict__", {})
    return state | {name: value for name, value in others.items() if not hasattr(kind, name)}


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UncacheableValue("this str cannot be cached: it holds a lone surrogate, which UTF-8 cannot") from None
