"""`Told`: segments of which other processes tell when they have stored them, so that no listing is needed to find them.

Anybody who reaches the tier that carries news can tell anything: a name must be that of a segment, the same news costs
one request at most, and what is read is checked as if it had been listed.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import AccessDenied, BackendError, BackendUnavailable, CacheClosed, ConfigurationError, UnknownFormat
from ..logs import fields
from ..pool import DaemonPool
from .names import DiscoveryCounters, Shown
from .naming import SegmentName, parse
from .segment import Tail

if TYPE_CHECKING:
    from .known import Segment

logger = logging.getLogger("tiercache")

MOST_REMEMBERED = 4096
"""News that is remembered, so that it is not looked at twice."""
MOST_WAITING = 1000
"""News that waits to be looked at; more is left to a listing, which finds a thousand with one request."""

_NEWS = re.compile(r"(\S{1,200}) ([0-9]{1,12})(?: ([0-9A-Za-z_-]{1,40})(?: .*)?)?")


class Told:
    """Takes news.

    Args:
        prefix: of the store.
        pool: whose threads look.
        tail_of: reads a tail.
        counters: where it is counted.
        take: called with what was read.
        look: called to have the store listed.
    """

    def __init__(
        self,
        prefix: str,
        pool: DaemonPool,
        tail_of: Callable[[str, SegmentName, int, None], Tail | None],
        counters: DiscoveryCounters,
        *,
        take: Callable[[Shown, Tail], object],
        look: Callable[[], object],
    ) -> None:
        self._prefix = prefix
        self._pool = pool
        self._tail_of = tail_of
        self._counters = counters
        self._take = take
        self._look = look
        self.after_fork()

    def after_fork(self) -> None:
        """What waits is the parent's to look at."""
        self._lock = threading.Lock()
        self._seen: dict[bytes, None] = {}
        self._waiting = 0

    def hear(self, news: Iterable[bytes], is_known: Callable[[Shown], bool]) -> None:
        """Have these segments looked at soon, but those that are known."""
        overflowing = False
        for item in news:
            shown = read_news(self._prefix, item)
            if shown is None or is_known(shown):
                continue
            with self._lock:
                is_new, has_room = item not in self._seen, self._waiting < MOST_WAITING
                if is_new and has_room:
                    self._waiting += 1
                    self._remember(item)
            overflowing |= is_new and not has_room
            if is_new and has_room:
                self._counters.told += 1
                self._submit(item, shown)
            else:
                self._counters.repeated += 1
        if overflowing:
            self._look()

    def _remember(self, item: bytes) -> None:
        self._seen[item] = None
        if len(self._seen) > MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _submit(self, item: bytes, shown: Shown) -> None:
        try:
            self._pool.submit(self._read, item, shown)
        except BackendUnavailable:
            self._done(item, again=True)
            raise

    def _read(self, item: bytes, shown: Shown) -> None:
        again = False
        try:
            tail = self._tail_of(shown.name, shown.parts, shown.size, None)
        except (UnknownFormat, AccessDenied):
            self._look()  # it is there: until it is set aside, older values may be read
        except (BackendError, CacheClosed, ConfigurationError) as error:  # the next listing finds it
            # Nor is it unreadable if it seems damaged: whoever told may have told a wrong size.
            kind, text = type(error).__name__, "a segment that was told of could not be read: %s"
            logger.debug(text, kind, extra=fields("segment.news_unread", kind=kind))
            again = not isinstance(error, BackendError) or isinstance(error, BackendUnavailable)
        else:
            if tail is not None:
                self._take(shown, tail)
        finally:
            self._done(item, again=again)

    def _done(self, item: bytes, *, again: bool) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
            if again:
                self._seen.pop(item, None)


def news_of(segment: Segment, prefix: str, storage_class: str | None) -> bytes:
    """Return what tells another process of a segment; `storage_class`: that of the store, where it has none itself."""
    told = segment.storage_class or storage_class
    return " ".join(filter(None, (segment.name.removeprefix(prefix), str(segment.size), told))).encode()


def read_news(prefix: str, item: bytes) -> Shown | None:
    """Return what news tells; None: it is none. What a later release adds at the end is left out."""
    found = _NEWS.fullmatch(item.decode("ascii", "replace"))
    parts = None if found is None else parse(prefix, prefix + found[1])
    if found is None or parts is None:
        return None
    return Shown(prefix + found[1], parts, int(found[2]), found[3])
