"""`Fed`: the streams that one transport feeds; its connections stay open as long as clients of others read them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .live import Live

Close = Callable[[], Any]


class Fed:
    """Of one transport."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lives: set[Live] = set()
        self._close: Close | None = None

    def add(self, live: Live) -> None:
        """The transport feeds this stream from now on."""
        with self._lock:
            self._lives.add(live)

    def done(self, live: Live) -> Close | None:
        """Return what closes the transport, if that waited for this stream."""
        with self._lock:
            self._lives.discard(live)
            if self._lives:
                return None
            close, self._close = self._close, None
            return close

    def defer(self, close: Close) -> bool:
        """Have the transport closed when nobody needs it; False: nobody does now, so the caller closes it."""
        with self._lock:
            if not any(live.is_followed for live in self._lives):
                return False
            self._close = close
            return True
