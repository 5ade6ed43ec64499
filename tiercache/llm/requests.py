"""Requests -> plain data: what a key is made of, without the fields that do not count."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from typing import Any

from msgspec.msgpack import Ext

from .. import extensions
from ..errors import UncacheableValue
from ..keys import MAX_DEPTH
from .fields import DROP, ELEMENTS, Tree
from .objects import fields_of, is_absent, scalar
from .packing import tagged

_EXACT = frozenset({str, int, float, bool, type(None), bytes, Ext})
_ABSENT = object()
_LONGEST_PATH = 200


def plain(value: Any, without: Tree | None = None) -> Any:
    """Return a request, or a part of one, as plain data: dicts, lists, str, int, float, bool, None, bytes.

    Objects of SDKs become what the SDK sends, fields that were not given are left out, tuples and other sequences
    become lists, enums their values, numpy's arrays and numbers Python's. What JSON has only as a text (dates,
    decimals) and objects that do not say what they are become something that equals no plain data.

    Args:
        value: what is sent, or asked with.
        without: what to leave out (see `fields.tree`).

    Raises:
        UncacheableValue: something has no canonical form: functions, open files, iterators (which can be read but
            once), sets (which have no order), objects of unknown classes, more than 100 levels. The message names
            the path and the type, never the value.
    """
    try:
        walked = _plain(value, without, 0)
    except UncacheableValue as error:
        where = _path(value, without, 0)
        where = where if len(where) < _LONGEST_PATH else f"{where[:_LONGEST_PATH]}…"
        raise UncacheableValue(f"no key can be made of ${where}: {error}") from None
    if walked is _ABSENT:
        raise UncacheableValue("no key can be made of something that says it is not given; leave it out")
    return walked


def _plain(value: Any, without: Tree | None, depth: int) -> Any:
    kind = type(value)
    if kind in _EXACT:
        return value
    if kind is dict:
        return _dict(value, without, depth)
    if kind is list or kind is tuple:
        return _list(value, without, depth)
    return _other(value, without, depth)


def _dict(value: Mapping[Any, Any], without: Tree | None, depth: int) -> dict[Any, Any]:
    _check_depth(depth)
    fields: dict[Any, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _key(key, fields)
        below = None
        if without is not None:
            below = without.get(name)
            if below is DROP:
                continue
        if type(item) not in _EXACT:
            item = _plain(item, below, depth + 1)  # type: ignore[arg-type]
            if item is _ABSENT or (item == {} and below is not None and not _is_empty(value[key])):
                continue
        fields[name] = item
    return fields


def _list(value: Iterable[Any], without: Tree | None, depth: int) -> list[Any]:
    _check_depth(depth)
    below: Any = None if without is None else without.get(ELEMENTS)
    items = [item if type(item) in _EXACT else _plain(item, below, depth + 1) for item in value]
    if any(item is _ABSENT for item in items):
        raise UncacheableValue("an element that says it is not given; leave it out of the list")
    return items


def _other(value: Any, without: Tree | None, depth: int) -> Any:
    if is_absent(value):
        return _ABSENT
    if isinstance(value, enum.Enum):
        return _plain(value.value, without, depth)
    for kind, exact in _SUBCLASSES:
        if isinstance(value, kind):
            return exact(value)
    if (known := scalar(value)) is not None:
        return tagged(*known)
    if isinstance(value, Mapping):
        return _dict(value, without, depth)
    if (made_of := fields_of(value)) is not None:
        name, fields = made_of
        walked = _plain(fields, without if name is None else None, depth)
        return walked if name is None else tagged("object", [name, walked])
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _plain(value.tolist(), without, depth)
    if isinstance(value, (Sequence, ValuesView)):
        return _list(value, without, depth)
    raise UncacheableValue(_refusal(value))


_SUBCLASSES: tuple[tuple[Any, Any], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    ((bytes, bytearray, memoryview), bytes),
)


def _refusal(value: Any) -> str:
    name = type(value).__name__
    if hasattr(value, "read") or hasattr(value, "__fspath__"):
        return f"a {name} is a file, which may change; pass what it holds"
    if isinstance(value, Iterator):
        return f"a {name} can be read but once; pass a list"
    if isinstance(value, Set):
        return f"a {name} has no order; pass a list"
    return f"a {name} has no canonical form; pass plain data or an object of the SDK"


def _key(key: Any, fields: dict[Any, Any]) -> Any:
    plain_key = key if type(key) in _EXACT else _other(key, None, 0)
    if type(plain_key) not in _EXACT - {Ext} or plain_key in fields:
        raise UncacheableValue(f"a dict with a {type(key).__name__} as key; use a str")
    return plain_key


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and not value


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise UncacheableValue(f"it is nested more than {MAX_DEPTH} levels deep")


def _path(value: Any, without: Tree | None, depth: int) -> str:
    """Return where it is that plain data cannot be made; names of fields are shown, keys that may be data are not."""
    for step, item, below in _children(value, without):
        try:
            _plain(item, below, depth + 1)
        except UncacheableValue:
            return step + _path(item, below, depth + 1) if depth < MAX_DEPTH else ""
    return ""


def _children(value: Any, without: Tree | None) -> Iterator[tuple[str, Any, Any]]:
    tree = without or {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            if (below := tree.get(key)) is not DROP:
                yield extensions.path_step(key), item, below
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", item, tree.get(ELEMENTS)) for number, item in enumerate(value))
