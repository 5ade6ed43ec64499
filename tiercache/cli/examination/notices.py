"""Whether notices travel: one that says nothing is sent through the carrier, and must be heard."""

from __future__ import annotations

import os
import threading

from ...coherence.carrier import NoticeCarrier
from ...coherence.notice import written
from ...errors import BackendTimeout, TiercacheError

PATIENCE = 5.0
"""Seconds for the way there and back."""


class _Ear:
    """Waits until the carrier is heard, and then for one message."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self.is_live, self.is_heard = threading.Event(), threading.Event()
        self.error: TiercacheError | None = None

    def live(self) -> None:
        """Notices arrive from now on."""
        self.is_live.set()

    def heard(self, message: bytes) -> None:
        """A notice arrived, this one or another process's."""
        if bytes(message) == self._message:
            self.is_heard.set()

    def lost(self, error: TiercacheError) -> None:
        """They do not arrive."""
        self.error = error
        self.is_live.set()


def travel(carrier: NoticeCarrier, deadline: float) -> None:
    """Return when a notice was sent and heard.

    Raises:
        BackendError: it may not be sent or listened to, or did not arrive within 5 seconds.
    """
    (message,) = written(os.urandom(16), {})  # of no change: whoever else hears it does nothing
    ear = _Ear(message)
    carrier.listen(ear)
    try:
        if not ear.is_live.wait(PATIENCE):
            raise BackendTimeout("listening did not begin within the time")
        if ear.error is not None:
            raise ear.error
        carrier.announce([message], deadline=deadline)
        if not ear.is_heard.wait(PATIENCE):
            raise BackendTimeout("a notice was sent and did not arrive: is the server behind a proxy that drops them?")
    finally:
        carrier.unlisten(ear)
