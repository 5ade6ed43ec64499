"""The SDK's client of one backend: made at the first request, made again in a forked child, never shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, TypeVar

from .. import fork
from ..errors import CacheClosed

C = TypeVar("C")


class LazyClient(Generic[C]):
    """Holds the client of one backend.

    Args:
        build: makes it; called when the first request comes, in its thread, and again after `forget` or a fork.
        close: releases its connections.
        renewable: whether another client may find other credentials (those of the environment, a file, a role).
    """

    def __init__(self, build: Callable[[], C], close: Callable[[C], None], *, renewable: bool) -> None:
        self._build = build
        self._close = close
        self._renewable = renewable
        self._closed = False
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Start anew, without a word to the connections of the process that was forked."""
        self._lock = threading.Lock()
        self._client: C | None = None

    def get(self) -> C:
        """Return the client.

        Raises:
            CacheClosed: `close` was called.
            Exception: what `build` raises.
        """
        client = self._client
        if client is None:
            with self._lock:
                if self._closed:
                    raise CacheClosed("this client")
                client = self._client
                if client is None:
                    client = self._client = self._build()
        return client

    def forget(self, client: C) -> None:
        """Make another client for the next request, where that reads the credentials again.

        Args:
            client: the one that was refused; another thread may have made another since.
        """
        if not self._renewable:
            return
        with self._lock:
            if self._client is not client:
                return
            self._client = None
        self._close(client)  # its requests under way end by themselves

    def close(self) -> None:
        """Close the connections; for good."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            self._close(client)


def user_agent() -> str:
    """Return what tiercache adds to an SDK's user agent, so that a store's log tells who asked."""
    try:
        return f"tiercache/{version('tiercache')}"
    except PackageNotFoundError:  # run from a source tree
        return "tiercache/0"
