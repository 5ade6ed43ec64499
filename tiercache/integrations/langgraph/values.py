"""Values of a graph <-> plain data: containers as they are, everything else by LangGraph's serialiser, checked.

A value is stored as its plain part and, beside it, each object inside it that is no plain data, with the path to it.
So tuples stay tuples, and no text in a value can be taken for an object.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from ...codec import encode
from ...errors import UncacheableValue

Path = tuple[Any, ...]
Stored = tuple[Any, list[tuple[Path, str, bytes]]]
"""The plain part, and the objects that belong into it: where, in which form, and its bytes."""
_FORMS = ("null", "bytes", "bytearray", "msgpack")
_PLAIN_CODECS = ("bytes", "str", "msgpack")
_MAX_DEPTH = 100


def pack(value: Any, serde: SerializerProtocol, *, checked: bool) -> Stored:
    """Return what is to be stored.

    Args:
        value: what a node wrote, as LangGraph hands it over.
        serde: writes what is no plain data.
        checked: whether each object is read again, and must then be equal and of the same type.

    Raises:
        Exception: the value cannot be written; or what was written would come back as something else.
    """
    objects: list[tuple[Path, str, bytes]] = []
    plain = _taken_apart(list(value) if type(value) is deque else value, (), objects, serde)
    if checked:
        for path, form, data in objects:
            _check_equal(_at(value, path), _read(form, data, serde, checked=True))
    encode((plain, objects))  # refuse it now: in a batch it would take the others with it
    return plain, objects


def unpack(stored: Any, serde: SerializerProtocol, *, checked: bool) -> Any:
    """Return the value of what was stored.

    Args:
        stored: what `pack` returned, or whatever else the store holds.
        serde: reads what is no plain data.
        checked: whether each object must be written again as it was: LangGraph's serialiser puts the parts of an
            object where it cannot make the object, for which nobody would be prepared.

    Raises:
        Exception: it is nothing of `pack`, or an object in it cannot be made again.
    """
    plain, objects = stored
    for path, form, data in objects:
        plain = _put(plain, path, _read(form, data, serde, checked=checked))
    return plain


def _taken_apart(value: Any, path: Path, objects: list[tuple[Path, str, bytes]], serde: SerializerProtocol) -> Any:
    if len(path) > _MAX_DEPTH:
        raise UncacheableValue(f"the value is nested more than {_MAX_DEPTH} levels deep")
    kind = type(value)
    if kind is dict:
        return {key: _taken_apart(item, (*path, key), objects, serde) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(_taken_apart(item, (*path, index), objects, serde) for index, item in enumerate(value))
    if _is_plain(value):
        return value
    form, data = serde.dumps_typed(value)
    objects.append((path, form, bytes(data)))
    return None


def _is_plain(value: Any) -> bool:
    try:
        return encode(value)[1] in _PLAIN_CODECS
    except UncacheableValue:
        return False


def _read(form: str, data: bytes, serde: SerializerProtocol, *, checked: bool) -> Any:
    if checked and form not in _FORMS:
        raise ValueError("this is no form in which LangGraph's serialiser writes without pickle")
    value = serde.loads_typed((form, data))
    if checked:
        again_form, again = serde.dumps_typed(value)
        # A set may be written in another order; an object that became its parts is shorter by its name.
        if again_form != form or (again != data and Counter(again) != Counter(data)):
            raise ValueError("an object could not be made again")
    return value


def _check_equal(value: Any, back: Any) -> None:
    if type(value) is not type(back) or not bool(value == back):
        raise ValueError("an object would not come back as it is")


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(inside: Any, path: Path, value: Any) -> Any:
    """Return what is there with the object in it; the tuples on the way are made anew."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    new = _put(inside[step], rest, value)
    if type(inside) is tuple:
        return (*inside[:step], new, *inside[step + 1 :])
    inside[step] = new
    return inside
