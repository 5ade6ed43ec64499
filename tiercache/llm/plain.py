"""Requests, as dicts or as the SDKs' own objects, as the plain data of which keys are made."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from ..errors import UncacheableValue

_SCALARS = (str, int, float, bool, bytes, type(None))
_LEFT_OUT = ("NotGiven", "Omit")
_NO_FIELDS = ("timeout",)
"""What the SDKs' methods take beside the fields of a request, and what does not change an answer."""
_DEEPEST = 100


def plain_request(request: Any) -> dict[str, Any]:
    """Return a request as plain data: dicts, lists, text, numbers.

    Args:
        request: a mapping, or a pydantic model; models inside it count as what they send. `NOT_GIVEN` and `omit` are
            left out, tuples are lists, and an enum counts as its value. Nothing is consumed.

    Raises:
        UncacheableValue: there is something else in it (a class, a generator, an open file): no key can be made of it.
    """
    plain = _plain(request, "$", 0)
    if not isinstance(plain, dict):
        raise UncacheableValue(f"a request must be a mapping or a model, not {type(request).__name__}")
    return {name: value for name, value in plain.items() if name not in _NO_FIELDS}


def _plain(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > _DEEPEST:
        raise UncacheableValue(f"a request is nested more than {_DEEPEST} levels deep")
    if kind is list or kind is tuple:
        return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value) if _is_given(item)]
    if isinstance(value, Mapping):
        for name in value:
            if type(name) is not str:
                raise UncacheableValue(f"at {path} of a request is a name of type {type(name).__name__}")
        return {name: _plain(item, f"{path}.…", depth + 1) for name, item in value.items() if _is_given(item)}
    if is_pydantic(kind):
        dumped = value.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        return _plain(dumped, path, depth + 1)
    if isinstance(value, enum.Enum):
        return _plain(value.value, path, depth + 1)
    raise UncacheableValue(f"at {path} of a request is a {kind.__name__}, of which no key can be made")


def _is_given(value: Any) -> bool:
    kind = type(value)
    return not (kind.__name__ in _LEFT_OUT and kind.__module__.split(".")[0] in ("openai", "anthropic"))


def is_pydantic(kind: Any) -> bool:
    """Whether a class is a model of pydantic 2, found by its form: pydantic need not be installed."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_dump")
