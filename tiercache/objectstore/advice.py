"""`Advisor`: says once, and with a figure, that a backend's storage class does not suit what is kept in it."""

from __future__ import annotations

import logging
import sys
import warnings

from ..errors import StorageClassWarning
from ..logs import fields
from .classes import ClassRules, advice, suits

logger = logging.getLogger("tiercache")
TYPICAL_ENTRY = "8KiB"
ENOUGH = 100
"""Objects that a backend has written before their mean size says more than what it was told."""


class Advisor:
    """Gives one `StorageClassWarning` for one backend, at the first occasion.

    Args:
        typical_bytes: stored bytes of an entry, until `ENOUGH` were written.
    """

    def __init__(self, typical_bytes: int) -> None:
        self._typical_bytes = typical_bytes
        self._objects = self._bytes = 0
        self._segment_bytes: int | None = None
        self._unsaid = [True]  # whoever pops it speaks: atomic without a lock, which a fork could leave held

    @property
    def entry_bytes(self) -> int:
        """Stored bytes of an entry: the mean of those that were written, or what was said to be typical."""
        return self._bytes // self._objects if self._objects >= ENOUGH else self._typical_bytes

    def packs(self, segment_bytes: int) -> None:
        """Judge objects of so many bytes, each with many entries, from now on.

        The few objects that are written singly beside them, such as marks and leases, say nothing about a class.
        """
        self._segment_bytes = segment_bytes

    def before(self, rules: ClassRules, ttl: float | None) -> None:
        """Warn of a class for entries that live `ttl` seconds (None: for ever), before any is written."""
        self._say(advice(rules, ttl=ttl, size=self.entry_bytes, segment=self._segment_bytes))

    def wrote(self, rules: ClassRules | None, ttl: float | None, size: int) -> None:
        """Count an object of `size` bytes that was just written; warn when it shows that its class does not suit.

        Where warnings are errors it is logged: the object is written, and the others of its batch are to follow.
        """
        if self._segment_bytes is not None:
            return
        self._objects += 1
        self._bytes += size
        # Both the object itself and what is typical: one small entry among large ones says nothing.
        gone = ttl is not None and ttl <= 0
        if self._unsaid and rules is not None and not gone and not suits(rules, ttl=ttl, size=size):
            try:
                self._say(advice(rules, ttl=ttl, size=self.entry_bytes))
            except StorageClassWarning as warning:
                logger.warning("%s", warning, extra=fields("storage_class.unsuitable", kind=type(warning).__name__))

    def _say(self, text: str | None) -> None:
        if text is None:
            return
        try:
            self._unsaid.pop()
        except IndexError:
            return
        warnings.warn(text, StorageClassWarning, stacklevel=_users_frame())


def _users_frame() -> int:
    """The stack level, seen from our caller, of the line outside tiercache that led here; else the outermost."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0].startswith("tiercache"):
        level, frame = level + 1, frame.f_back
    return level
