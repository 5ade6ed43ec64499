"""The SDK's client of one backend: made at the first request, made again in a forked child, never shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, TypeVar

from .. import fork
from ..errors import BackendTimeout, CacheClosed
from .beside import Beside

C = TypeVar("C")


class LazyClient(Generic[C]):
    """Holds the client of one backend.

    Args:
        build: makes it; called when the first request comes, beside that (it may search for credentials, which takes as
            long as it takes), and again after `forget` or a fork.
        close: releases its connections.
        renewable: whether another client may find other credentials (those of the environment, a file, a role).
    """

    def __init__(self, build: Callable[[], C], close: Callable[[C], None], *, renewable: bool) -> None:
        self._build = build
        self._close = close
        self._renewable = renewable
        self._closed = False
        self._building = Beside(self._make)
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
            BackendTimeout: it is still being made, and the operation of this thread has no time left.
            Exception: what `build` raises.
        """
        while (client := self._client) is None:
            if self._closed:
                raise CacheClosed("this client")
            try:
                self._building.wait()
            except TimeoutError:
                raise BackendTimeout("the SDK's client is still being made, and its credentials looked for") from None
        return client

    def _make(self) -> None:
        if self._client is not None:  # since this was asked for
            return
        client = self._build()
        with self._lock:
            if not self._closed:
                self._client = client
                return
        self._close(client)

    def forget(self, client: C) -> None:
        """Make another client for the next request, where that reads the credentials again.

        Args:
            client: the one that was refused; another thread may have made another since.
        """
        with self._lock:
            if self._renewable and self._client is client:
                self._client = None  # not closed: other threads may be using it

    def renew(self) -> None:
        """Make another client for the next request, whatever became of this one; requests under way go on with it."""
        with self._lock:
            self._client = None

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
