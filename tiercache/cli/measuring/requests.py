"""Counts the requests that a backend sends to an object store, while it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...backend import Backend
from ...objectstore import ObjectStoreBackend
from ...packed import PackedBackend

_CALLS = ("read", "read_range", "stat", "write", "remove", "remove_many", "list_page", "probe")


class Counter:
    """How many requests were sent, where that can be told.

    Attributes:
        sent: requests so far; None: the store's protocol is not counted.
    """

    def __init__(self, *, counts: bool) -> None:
        self.sent: int | None = 0 if counts else None

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, counted."""

        def counted(*args: Any, **options: Any) -> Any:
            if self.sent is not None:
                self.sent += 1
            return call(*args, **options)

        return counted


@contextmanager
def counted(backends: list[Backend]) -> Iterator[Counter]:
    """Lend a counter of the requests of all these backends."""
    inner = [each.inner if isinstance(each, PackedBackend) else each for each in backends]
    stores = [each.objects for each in inner if isinstance(each, ObjectStoreBackend)]
    counter = Counter(counts=bool(stores))
    for store in stores:
        for name in _CALLS:
            setattr(store, name, counter.around(getattr(store, name)))
    try:
        yield counter
    finally:
        for store in stores:
            for name in _CALLS:
                delattr(store, name)
