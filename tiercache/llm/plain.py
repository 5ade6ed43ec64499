"""Requests, as dicts or as the SDKs' own objects, as the plain data of which keys are made."""

from __future__ import annotations

from typing import Any

from ..errors import UncacheableValue
from .fields import DROP, Tree
from .requests import plain

_NO_FIELDS: Tree = {"timeout": DROP}
"""What the SDKs' methods take beside the fields of a request, and what does not change an answer."""


def plain_request(request: Any) -> dict[str, Any]:
    """Return a request as plain data, see `requests.plain`. Nothing is consumed.

    Args:
        request: a mapping, or a pydantic model.

    Raises:
        UncacheableValue: there is something in it (a function, a generator, an open file) of which no key can be made.
    """
    fields = plain(request, _NO_FIELDS)
    if not isinstance(fields, dict):
        raise UncacheableValue(f"a request must be a mapping or a model, not {type(request).__name__}")
    return fields


def is_pydantic(kind: Any) -> bool:
    """Whether a class is a model of pydantic 2, found by its form: pydantic need not be installed."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_dump")
