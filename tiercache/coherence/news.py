"""`News`: what a backend of one process stored, the same backends of others learn at once.

A backend that keeps many entries in few objects knows by a listing, now and then, what other processes added. Where a
tier of the chain carries notices (Redis), each new object is told of as well. Nothing depends on it: news that is lost
is found by the next listing.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from .. import fork
from ..call import Call
from ..errors import BackendUnavailable, CacheClosed, TiercacheError
from ..logs import fields
from ..pool import DaemonPool
from ..tier import FAILURES, Tier
from . import notice
from .carrier import NoticeCarrier
from .telling import Teller, carrier_of

logger = logging.getLogger("tiercache")

MAX_WAITING = 1000
"""Items of news that wait to be told; more are left to be found by listings."""


@runtime_checkable
class NewsBackend(Protocol):
    """A backend that has news for its like in other processes. One that also has `refresh_soon()` is told of gaps.

    Attributes:
        place: names what such backends have in common, bucket and prefix; the same in all processes.
        on_sealed: called with news that is ready to be told; set by the chain that the backend is in, of several by
            the last one. It returns at once and raises nothing.
    """

    place: bytes
    on_sealed: Callable[[Sequence[bytes]], object]

    def heard(self, news: Sequence[bytes]) -> object:
        """Take news of the same place from another process, or from anybody: it may be old, repeated or garbage.

        It is called in the thread that hears, so it must be quick: no request.
        """
        ...


@dataclass(slots=True)
class NewsCounters:
    """What a chain counts of news.

    Attributes:
        sent: items that were told.
        unsent: items that were not: nobody could carry them, too many waited, or they were too large.
        heard: items that were handed to a backend.
        failed: times that a backend raised when it was given news, or asked to look for itself.
        gaps: times that news may have been missed, so that the backends were asked to look for themselves.
    """

    sent: int = 0
    unsent: int = 0
    heard: int = 0
    failed: int = 0
    gaps: int = 0


class News:
    """Tells of what the backends of one chain stored, and hands them what those of others did.

    Args:
        tiers: the chain's.
        teller: the chain's; both are one sender.
        pool: where news is sent.

    Attributes:
        tellers: the tiers whose backends have news.
        carrier: the tier that carries it; None: there is none, or nobody has news.
        counters: what was told and heard.
    """

    def __init__(self, tiers: Sequence[Tier], teller: Teller, pool: DaemonPool) -> None:
        self.tellers = [tier for tier in tiers if isinstance(tier.backend, NewsBackend)]
        self.carrier = carrier_of(tiers) if self.tellers else None
        self.counters = NewsCounters()
        self._teller = teller
        self._pool = pool
        self._closed = False
        self.after_fork()
        if self.carrier is None:
            return
        fork.register(self)
        fork.register(teller)  # where it tells of no changes, it is nobody's yet: the child is another sender
        for tier in self.tellers:
            backend = cast(NewsBackend, tier.backend)
            backend.on_sealed = _telling(self, backend.place)

    def after_fork(self) -> None:
        """The subscription stayed in the parent; what waits, the parent tells."""
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: dict[bytes, list[bytes]] = {}
        self._listening = False
        self._alone = False
        self._missed = True

    def listen(self, *, alone: bool) -> None:
        """Begin to listen, if anybody has news and it was not begun; returns at once.

        Args:
            alone: nobody else of the chain listens, nor waits until listening has begun.
        """
        with self._lock:
            if self.carrier is None or self._closed or self._listening:
                return
            self._listening, self._alone = True, alone
            # Who waits for the subscription looks into the store when it stands: nothing came between.
            self._missed = alone
        cast(NoticeCarrier, self.carrier.backend).listen(self)

    def tell(self, place: bytes, items: Sequence[bytes]) -> None:
        """Have news told soon, from the background."""
        fitting = [item for item in items if len(place) + len(item) <= notice.MAX_BYTES]
        with self._lock:
            room = MAX_WAITING - sum(map(len, self._waiting.values()))
            told = fitting[: max(0, room)] if self._tells else []
            if told:
                self._waiting.setdefault(place, []).extend(told)
            self.counters.unsent += len(items) - len(told)
        if told:
            try:
                self._pool.submit(self._send)
            except BackendUnavailable:
                return  # no thread for it: it goes with the next one, or at the end

    def live(self) -> None:
        """News arrives from now on; if some may have been missed, the backends look for themselves."""
        missed, self._missed = self._missed, False
        if not missed:
            return
        self.counters.gaps += 1
        for tier in self.tellers:
            refresh_soon = getattr(tier.backend, "refresh_soon", None)
            if refresh_soon is not None:
                self._hand(tier, refresh_soon)

    def heard(self, message: bytes) -> None:
        """Hand the news of another chain to the backends of its place."""
        if notice.is_from(self._teller.sender, message):
            return
        said = notice.read(message)
        if said is None or not said.segments:
            return
        for tier in self.tellers:
            backend = cast(NewsBackend, tier.backend)
            items = said.segments.get(backend.place)
            if items:
                self.counters.heard += len(items)
                self._hand(tier, backend.heard, items)

    def lost(self, error: TiercacheError) -> None:
        """News does not arrive, until `live` is called again."""
        first, self._missed = not self._missed, True
        if first and self._alone and self.carrier is not None:  # otherwise it is counted by those who listen beside
            self.carrier.failed(error)

    def close(self) -> None:
        """Tell what waits, and listen no more."""
        self._send()
        with self._lock:
            listening, self._listening, self._closed = self._listening, False, True
        if self.carrier is not None and listening:
            cast(NoticeCarrier, self.carrier.backend).unlisten(self)

    @property
    def _tells(self) -> bool:
        return self.carrier is not None and self.carrier.write != "never" and not self._closed

    def _send(self) -> None:
        with self._sending:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            if not waiting or self.carrier is None:
                return
            count = sum(map(len, waiting.values()))
            messages = list(notice.of_segments(self._teller.sender, waiting))
            try:
                Call(self.carrier, "announce", (messages,), self.carrier.timeout).perform()
            except (*FAILURES, CacheClosed):  # counted by the tier, too; a listing will find it
                self.counters.unsent += count
            else:
                self.counters.sent += count

    def _hand(self, tier: Tier, take: Callable[..., object], *args: Any) -> None:
        """Give a backend what it is to have: what it raises must not end the thread that hears."""
        try:
            take(*args)
        except Exception as error:  # noqa: BLE001 - counted, and told of once: it finds the same by itself, later
            self.counters.failed += 1
            if self.counters.failed == 1:
                kind = type(error).__name__
                extra = fields("tier.news_failed", tier=tier.label, kind=kind)
                logger.warning("tier %s: news of other processes: %s", tier.label, kind, extra=extra)


def _telling(news: News, place: bytes) -> Callable[[Sequence[bytes]], None]:
    """Return what tells of a place as long as the chain lives, and does not keep it alive."""
    known = weakref.ref(news)

    def tell(items: Sequence[bytes]) -> None:
        found = known()
        if found is not None:
            found.tell(place, items)

    return tell
