"""How the caller's function is called: with the request where it asks for one, else without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_request(call: Callable[..., Any]) -> bool:
    """Whether a function has a positional parameter without a default: it is given the request.

    Raises:
        TypeError: it is no function.
    """
    if not callable(call):
        raise TypeError(f"call must be a function that asks the provider, not a {type(call).__name__}")
    try:
        parameters = inspect.signature(call).parameters.values()
    except ValueError:  # a builtin that does not tell
        return False
    return any(each.kind in _POSITIONAL and each.default is inspect.Parameter.empty for each in parameters)


def arguments(call: Callable[..., Any], request: Any) -> tuple[Any, ...]:
    """Return what a function is called with."""
    return (request,) if takes_request(call) else ()
