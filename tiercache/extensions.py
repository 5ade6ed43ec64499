"""msgpack for Python values: what msgpack itself cannot tell apart travels as numbered extensions.

The numbers are part of the wire format: never reuse or renumber one.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from . import arrays
from .errors import UncacheableValue, UnknownFormat

MAX_DEPTH = 100
"""Levels of nesting that are stored; a value that holds itself ends here too."""

_TUPLE, _SET, _FROZENSET, _MAP, _INT, _DATETIME, _DATE, _TIME, _TIMEDELTA = range(1, 10)
_DECIMAL, _UUID, _COMPLEX, _BYTEARRAY, _NDARRAY = range(10, 15)

_SCALARS = {str, float, bool, type(None), bytes}
_pack = msgspec.msgpack.Encoder().encode


class _Refused(Exception):
    """Carries the path to what cannot be stored; each level on the way up puts its part before it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.path = ""


def encode(value: Any) -> bytes:
    """Return the msgpack bytes of a value.

    Raises:
        UncacheableValue: something inside has no exact form; the message names its path, such as `$.choices[0]`.
    """
    try:
        return _pack(_wire(value, 0))
    except _Refused as refused:
        raise UncacheableValue(f"the value cannot be cached: at ${refused.path} is {refused}") from None
    except UnicodeEncodeError:
        path = _surrogate(value) or ""
        raise UncacheableValue(f"the value cannot be cached: at ${path} is a str with a lone surrogate") from None
    except RecursionError:
        raise UncacheableValue("the value cannot be cached: its nesting and the caller's exhaust the stack") from None


def decode(payload: bytes) -> Any:
    """Return the value.

    Raises:
        UnknownFormat: an extension of a later release.
        ValueError, TypeError, ArithmeticError, RecursionError: foreign bytes.
    """
    return _unpack(payload)


def _wire(value: Any, depth: int) -> Any:
    """Return what msgpack stores for a value: itself where that is exact, else an extension."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else Ext(_INT, b"%x" % value)
    if depth >= MAX_DEPTH:
        raise _Refused(f"more than {MAX_DEPTH} levels of nesting")
    if kind is dict:
        return _wire_dict(value, depth)
    if kind is list:
        return _wire_items(value, depth)
    if kind is tuple:
        return Ext(_TUPLE, _pack(_wire_items(value, depth)))
    extend = _EXTENDERS.get(kind)
    if extend is not None:
        return extend(value, depth)
    if arrays.is_array(value):
        return _wire_array(value)
    hint = "; store its .value" if isinstance(value, enum.Enum) else _HINTS.get(kind.__module__, "")
    raise _Refused(f"a {kind.__module__}.{kind.__qualname__}{hint}")


def _wire_items(items: Any, depth: int) -> list[Any]:
    kinds = set(map(type, items))
    # A list of 1,536 floats: checked at C speed.
    if kinds <= _SCALARS or (kinds == {int} and min(items) >= -(2**63) and max(items) < 2**64):
        return items if type(items) is list else list(items)
    wired = []
    for index, item in enumerate(items):
        try:
            wired.append(_wire(item, depth + 1))
        except _Refused as refused:
            refused.path = f"[{index}]{refused.path}"
            raise
    return wired


def _wire_dict(items: dict[Any, Any], depth: int) -> Any:
    if set(map(type, items)) <= {str}:
        if set(map(type, items.values())) <= _SCALARS:  # looked at in C
            return items
        wired = {}
        for key, item in items.items():
            if type(item) in _SCALARS:
                wired[key] = item
                continue
            try:
                wired[key] = _wire(item, depth + 1)
            except _Refused as refused:
                refused.path = path_step(key) + refused.path
                raise
        return wired
    pairs = [part for pair in items.items() for part in pair]
    try:
        return Ext(_MAP, _pack(_wire_items(pairs, depth)))
    except _Refused as refused:
        refused.path = "[…]" + refused.path.partition("]")[2]
        raise


def path_step(key: Any) -> str:
    """Return the part of a path that a dict's key makes: names of fields are shown, keys that may be data are not."""
    return f".{key}" if type(key) is str and key.isidentifier() and len(key) < 40 else "[…]"


def _surrogate(value: Any) -> str | None:
    """Return the path of the first str that UTF-8 cannot encode; None when there is none."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return ""
        return None
    parts: list[tuple[str, Any]] = []
    if kind is dict:
        parts = [(path_step(key), part) for key, item in value.items() for part in (key, item)]
    elif kind in (list, tuple, set, frozenset):
        parts = [(f"[{index}]", item) for index, item in enumerate(value)]
    paths = ((step, _surrogate(part)) for step, part in parts)
    return next((step + path for step, path in paths if path is not None), None)


def _wire_array(array: Any) -> Ext:
    try:
        payload, codec = arrays.encode(array)
    except UncacheableValue as error:
        raise _Refused(str(error)) from None
    return Ext(_NDARRAY, _pack([codec, payload]))


def _wire_datetime(value: dt.datetime, depth: int) -> Ext:
    if not _is_offset(value.tzinfo) or value.fold:
        raise _Refused("a datetime whose time zone is more than an offset; use .astimezone(datetime.timezone.utc)")
    return Ext(_DATETIME, value.isoformat().encode())


def _wire_time(value: dt.time, depth: int) -> Ext:
    if not _is_offset(value.tzinfo) or value.fold:
        raise _Refused("a time whose time zone is more than an offset")
    return Ext(_TIME, value.isoformat().encode())


def _is_offset(zone: dt.tzinfo | None) -> bool:
    """Whether ISO 8601 says all of it: no rules, no name of its own, whole seconds (Python loses some microseconds)."""
    if zone is None or zone is dt.UTC:
        return True
    if type(zone) is not dt.timezone:
        return False
    offset = zone.utcoffset(None)
    return not offset.microseconds and str(zone) == str(dt.timezone(offset))


_EXTENDERS: dict[type, Callable[[Any, int], Ext]] = {
    set: lambda value, depth: Ext(_SET, _pack(_wire_items(list(value), depth))),
    frozenset: lambda value, depth: Ext(_FROZENSET, _pack(_wire_items(list(value), depth))),
    dt.datetime: _wire_datetime,
    dt.date: lambda value, _: Ext(_DATE, value.isoformat().encode()),
    dt.time: _wire_time,
    dt.timedelta: lambda value, _: Ext(_TIMEDELTA, _pack([value.days, value.seconds, value.microseconds])),
    Decimal: lambda value, _: Ext(_DECIMAL, str(value).encode()),
    UUID: lambda value, _: Ext(_UUID, value.bytes),
    complex: lambda value, _: Ext(_COMPLEX, _pack([value.real, value.imag])),
    bytearray: lambda value, _: Ext(_BYTEARRAY, bytes(value)),
}
_HINTS = {"numpy": "; convert it with .item()"}


def _array_of(data: memoryview) -> Any:
    codec, payload = msgspec.msgpack.decode(data, type=tuple[str, bytes])
    return arrays.decode(payload, codec)


def _map_of(data: memoryview) -> dict[Any, Any]:
    parts = iter(_unpack(data))
    return dict(zip(parts, parts, strict=True))


def _unpack(data: bytes | memoryview) -> Any:
    return _unpacker.decode(data)


def _text(data: memoryview) -> str:
    return bytes(data).decode()


_READERS: dict[int, Callable[[memoryview], Any]] = {
    _TUPLE: lambda data: tuple(_unpack(data)),
    _SET: lambda data: set(_unpack(data)),
    _FROZENSET: lambda data: frozenset(_unpack(data)),
    _MAP: _map_of,
    _INT: lambda data: int(_text(data), 16),
    _DATETIME: lambda data: dt.datetime.fromisoformat(_text(data)),
    _DATE: lambda data: dt.date.fromisoformat(_text(data)),
    _TIME: lambda data: dt.time.fromisoformat(_text(data)),
    _TIMEDELTA: lambda data: dt.timedelta(*_unpack(data)),
    _DECIMAL: lambda data: Decimal(_text(data)),
    _UUID: lambda data: UUID(bytes=bytes(data)),
    _COMPLEX: lambda data: complex(*_unpack(data)),
    _BYTEARRAY: lambda data: bytearray(data),
    _NDARRAY: _array_of,
}


def _unknown(data: memoryview) -> NoReturn:
    raise UnknownFormat("the value holds a type that this release does not know")


def _read_extension(code: int, data: memoryview) -> Any:
    return _READERS.get(code, _unknown)(data)


_unpacker = msgspec.msgpack.Decoder(ext_hook=_read_extension)
