"""Clients that close their connections when nobody has them any more, as the SDKs' own do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any

_closing: set[asyncio.Task[None]] = set()
"""Tasks that nobody else holds."""


class _Closing:
    """A client that may be forgotten."""

    is_closed: bool
    close: Callable[[], None]

    def __del__(self) -> None:
        # Whatever keeps it from closing (it was never made whole, the interpreter ends), nobody could be told.
        with contextlib.suppress(Exception):
            if not self.is_closed:
                self.close()


class _AwaitedClosing:
    """A client that may be forgotten while its event loop runs; after that nothing can close its connections."""

    is_closed: bool
    aclose: Callable[[], Any]

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if not self.is_closed:
                loop = asyncio.get_running_loop()
                task = loop.create_task(self.aclose())
                _closing.add(task)
                task.add_done_callback(_closing.discard)


@functools.cache
def client_class(module: Any) -> Any:
    """Return the `Client` of a module, to be forgotten without harm."""
    return _made("Client", (_Closing, module.Client))


@functools.cache
def async_client_class(module: Any) -> Any:
    """Return the `AsyncClient` of a module, to be forgotten without harm."""
    return _made("AsyncClient", (_AwaitedClosing, module.AsyncClient))


def _made(name: str, bases: tuple[type, ...]) -> Any:
    make: Callable[..., Any] = type
    return make(name, bases, {})
