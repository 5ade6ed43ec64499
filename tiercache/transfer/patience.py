"""What fails for a moment is tried again; what is down ends the run, and what fails alone is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..backend import Backend
from ..errors import AccessDenied, BackendError, BackendTimeout, BackendUnavailable
from ..packed.origins import Item, Origin, Page

T = TypeVar("T")

PAUSES = [0.2, 1.0, 4.0]
"""Seconds before something is tried once more."""
LONGEST_PAUSE = 30.0
MANY = 10
"""Entries of which not one can be read or written when something is wrong with more than the entries."""
PASSING = (BackendUnavailable, BackendTimeout)
"""Errors that may be over in a moment."""

AGAIN = "again"
"""The token of a store that can only be listed from the beginning; what is copied is skipped then."""


def wait(pause: float, error: BackendError) -> None:
    """Wait for a moment, or as long as a throttling store asks for."""
    asked = getattr(error, "retry_after", None)
    time.sleep(min(max(pause, asked or 0.0), LONGEST_PAUSE))


def patiently(operation: Callable[[], T]) -> T:
    """Return what an operation does, which is tried again when it fails for a moment.

    Raises:
        BackendError: it failed several times.
    """
    for pause in PAUSES:
        try:
            return operation()
        except PASSING as error:
            wait(pause, error)
    return operation()


def check_up(backend: Backend, error: BackendError, failed: int, tried: int) -> None:
    """Raise the error where it is that of the store, and not that of some entries alone.

    Args:
        backend: the store.
        error: of one of the entries.
        failed: how many entries failed.
        tried: of how many.
    """
    if failed == tried and (isinstance(error, AccessDenied) or tried >= MANY):
        raise error
    if isinstance(error, PASSING):
        try:
            backend.ping()
        except BackendError:
            raise error from None


class Patient(Origin):
    """An origin whose listing goes on where it failed for a moment.

    Args:
        inner: the origin.
    """

    def __init__(self, inner: Origin) -> None:
        self.inner, self.prefix = inner, inner.prefix

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield the pages, each once."""
        failures = 0
        while True:
            try:
                for page in self.inner.pages(resume, limit):
                    failures = 0
                    yield page
                    resume = page.resume
                return
            except PASSING as error:
                if failures == len(PAUSES) or resume == AGAIN:
                    raise
                wait(PAUSES[failures], error)
                failures += 1

    def remove(self, items: Sequence[Item]) -> int:
        """Delete entries (see `Origin.remove`)."""
        return self.inner.remove(items)
