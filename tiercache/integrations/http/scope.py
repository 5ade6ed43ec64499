"""The tenant of a request: a keyed hash of its credentials, so that answers never cross from one to another."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from ...chain import TierChain

Scope = str | Callable[[Any], str]

SHARED = "shared"
_CREDENTIALS = (
    "authorization",
    "x-api-key",
    "api-key",
    "openai-organization",
    "openai-project",
    "cookie",
)


class Tenants:
    """Gives requests their scope.

    Args:
        chain: its integrity secret keys the hash, if it has one.
        scope: `"auth"`: the credentials of the request; `"shared"`: all are one tenant; any other text: this tenant;
            a function: what it returns for the request.
    """

    def __init__(self, chain: TierChain, scope: Scope) -> None:
        self._scope = scope

    def of(self, request: Any) -> str | None:
        """Return the scope of a request; None: it is shared."""
        if callable(self._scope):
            return f"own:{self._scope(request)}"
        if self._scope == SHARED:
            return None
        if self._scope != "auth":
            return f"own:{self._scope}"
        made = blake2b(digest_size=16, person=b"tiercache-tenant")
        for name in _CREDENTIALS:
            value = request.headers.get(name, "").encode()
            made.update(b"%d:%d:" % (len(name), len(value)))
            made.update(name.encode() + value)
        return f"auth:{made.hexdigest()}"
