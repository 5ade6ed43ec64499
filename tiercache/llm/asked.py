"""`Asked`: one request of an `LLMCache`'s caller, with what holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UncacheableValue
from .control import CacheControl, current
from .plain import plain_request


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
            self.plain: dict[str, Any] | None = plain_request(request)
        except UncacheableValue:
            self.plain = None
