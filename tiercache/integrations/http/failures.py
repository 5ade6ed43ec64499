"""How a call that failed, or that cannot be shared, ends for those who waited for it."""

from __future__ import annotations

from typing import Any


class Failed(Exception):
    """The provider was not reached by the one who asked.

    Attributes:
        name: of the module's exception.
        message: its text.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Unshared(Exception):
    """The reply is for the one who asked alone; all others ask for themselves."""


def own_error(module: Any, failed: Failed, request: Any) -> Exception:
    """Return the failure of another's call as an exception of this module."""
    kind = getattr(module, failed.name, None)
    if not isinstance(kind, type) or not issubclass(kind, module.RequestError):
        kind = module.TransportError
    error: Exception = kind(failed.message, request=request)
    return error
