"""`Lease`: one process compacts at a time. A small entry of the store, created or refused, that runs out by itself.

It saves work and no more: two that hold it at once, because a clock is off or one of them slept, at worst write the
same records twice.
"""

from __future__ import annotations

import contextlib
import secrets
import time

from .. import keys
from ..entry import Entry, Metadata
from ..errors import BackendError
from ..objectstore import ObjectStoreBackend

KEY = f"{keys.RESERVED}:packed:compaction"
SECONDS = 300.0
RENEW_AFTER = 100.0
TAKE_REQUESTS, KEEP_REQUESTS, GIVE_BACK_REQUESTS = 5, 2, 3
"""Requests that each of the calls takes at most."""


class Lease:
    """The right to compact the segments of a store.

    Args:
        inner: the store.
    """

    def __init__(self, inner: ObjectStoreBackend) -> None:
        self._inner = inner
        self._token = secrets.token_bytes(16)
        self._since = self._since_monotonic = 0.0

    def take(self, deadline: float | None) -> bool:
        """Return whether nobody else has it; then it is this process's for five minutes."""
        now = self._inner.clock()
        if not self._inner.put(KEY, self._entry(now), if_absent=True, deadline=deadline):
            held = self._inner.get(KEY, deadline=deadline)  # by us, if the answer to a first attempt was lost
            if held is None or held.payload != self._token:
                return False
        self._holds_since(now)
        return True

    def is_old(self) -> bool:
        """Whether `keep` has to ask the store."""
        elapsed = max(self._inner.clock() - self._since, time.monotonic() - self._since_monotonic)
        return elapsed > RENEW_AFTER

    def keep(self, deadline: float | None) -> bool:
        """Return whether it is still this process's, for three minutes at least; it is renewed where it is old."""
        if not self.is_old():
            return True
        now = self._inner.clock()
        held = self._inner.get(KEY, deadline=deadline)
        if held is None or held.payload != self._token:
            return False
        if not self._inner.put(KEY, self._entry(now), if_match=held.metadata.etag, deadline=deadline):
            return False
        self._holds_since(now)
        return True

    def give_back(self) -> None:
        """Let others have it."""
        with contextlib.suppress(BackendError):  # it runs out
            held = self._inner.get(KEY)
            if held is not None and held.payload == self._token:
                self._inner.delete(KEY)

    def _holds_since(self, now: float) -> None:
        self._since, self._since_monotonic = now, time.monotonic()

    def _entry(self, now: float) -> Entry:
        size = len(self._token)
        return Entry(self._token, Metadata(key=KEY, created_at=now, expires_at=now + SECONDS, size=size))
