"""`Asked`: one request of an `LLMCache`'s caller, with what holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UncacheableValue
from .control import CacheControl, current
from .requests import plain

_NO_FIELDS = ("timeout",)
"""What methods of the SDKs take beside the fields of a request, and what changes no answer."""


class Asked:
    """One request, as its caller asks it.

    Attributes:
        request: as it was given.
        plain: the same as plain data; None: no key can be made of it.
        user, tenant: who asks.
        control: what holds for it.
        type: the type that the answer shall have; None: the one that was stored.
    """

    __slots__ = ("control", "plain", "request", "tenant", "type", "user")

    def __init__(
        self,
        request: Any,
        user: str | None,
        tenant: str | None,
        said: Mapping[str, Any],
        type: type[Any] | None = None,
    ) -> None:
        self.request = request
        self.user = user
        self.tenant = tenant
        self.control: CacheControl = current().under(**said)
        self.type = type
        try:
            self.plain: dict[str, Any] | None = fields_of(request)
        except UncacheableValue:
            self.plain = None


def fields_of(request: Any) -> dict[str, Any]:
    """Return what a request says, as plain data.

    Raises:
        UncacheableValue: no key can be made of something in it; or it is neither a mapping nor an object of an SDK.
    """
    if isinstance(request, Mapping):
        request = {name: value for name, value in request.items() if name not in _NO_FIELDS}
    fields = plain(request)
    if not isinstance(fields, dict):
        raise UncacheableValue(f"a request must be a dict of its fields, not a {type(request).__name__}")
    return fields
