"""How a call that failed, or that cannot be shared, ends for those who waited for it."""

from __future__ import annotations

from typing import Any

_NOT_THE_PROVIDERS = ("PoolTimeout", "CloseError", "LocalProtocolError", "UnsupportedProtocol", "ProxyError")
"""Failures that tell nothing about the provider; another caller may well reach it."""


class Failed(Exception):
    """The provider was not reached by the one who asked.

    Attributes:
        name: of the module's exception.
        message: its text.
        inner: the transport that failed.
        timeouts: of the request that failed.
    """

    def __init__(self, name: str, message: str, *, inner: Any = None, timeouts: Any = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.inner = inner
        self.timeouts = timeouts

    @classmethod
    def of(cls, error: Exception, inner: Any, request: Any) -> Failed:
        """Return what those who wait are told of a failure."""
        return cls(type(error).__name__, str(error), inner=inner, timeouts=request.extensions.get("timeout"))

    def would_hit(self, inner: Any, request: Any) -> bool:
        """Whether somebody who asks in this way would have met with the same failure, for all that can be told."""
        return (
            inner is self.inner
            and request.extensions.get("timeout") == self.timeouts
            and self.name not in _NOT_THE_PROVIDERS
        )


class Refused(Exception):
    """The provider's reply is no 200.

    Attributes:
        reply: as it is handed to those who asked for the same.
    """

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__("the provider refused")
        self.reply = reply


class Unshared(Exception):
    """The reply is for the one who asked alone; all others ask for themselves."""


def own_error(module: Any, failed: Failed, request: Any) -> Exception:
    """Return the failure of another's call as an exception of this module."""
    kind = getattr(module, failed.name, None)
    if not isinstance(kind, type) or not issubclass(kind, module.RequestError):
        kind = module.TransportError
    error: Exception = kind(failed.message, request=request)
    return error
