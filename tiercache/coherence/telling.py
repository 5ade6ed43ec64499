"""`Teller`: tells other processes what this one changed, and remembers what it could not tell.

The notice of a change goes out together with the write to the tier that carries notices, where it can; where slower
tiers take the change, too, it is told of again when they have.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from .. import fork
from ..backend import Backend
from ..call import Call
from ..entry import Clock
from ..epochs.marks import NONE, Marks
from ..errors import AccessDenied, BackendUnavailable, CacheClosed, ConfigurationError, TiercacheError
from ..pool import DaemonPool
from ..ticker import ticker
from ..tier import FAILURES, Tier
from . import notice
from .carrier import NoticeCarrier
from .notice import Letter

MAX_OWED = 10_000
"""Changes that could not be told, by name; beyond, everything is said to have changed."""
MUTE_SECONDS = 30.0
"""Seconds for which nothing is told where the carrier refuses it to this user."""
RETRY_SECONDS = 0.5
"""Seconds between attempts to tell what could not be told."""


@dataclass(slots=True)
class NoticeCounters:
    """What a chain's coherence counts.

    Attributes:
        sent: notices that were sent.
        heard: notices of other chains that arrived.
        unreadable: messages that were no notice; each drops all of memory.
        gaps: times that notices could not arrive for a while; each drops all of memory.
    """

    sent: int = 0
    heard: int = 0
    unreadable: int = 0
    gaps: int = 0


class Teller:
    """Tells of one chain's changes.

    Args:
        tiers: the chain's.
        wanted: False: nothing is told, nor heard.
        clock: the chain's.
        pool: where what could not be told is tried again.

    Attributes:
        carrier: the tier that carries notices; None: there is none, or it is not wanted.
        sender: by which this chain knows its own notices.
        counters: what was told and heard.
    """

    def __init__(self, tiers: Sequence[Tier], *, wanted: bool, clock: Clock, pool: DaemonPool) -> None:
        self.carrier = carrier_of(tiers) if wanted else None
        others = [tier for tier in tiers if not tier.local and tier is not self.carrier and tier.write != "never"]
        self.counters = NoticeCounters()
        self._is_only = not others
        self._takes_letters = self.carrier is not None and _takes_letters(self.carrier.backend)
        self._clock = clock
        self._pool = pool
        self._ticking = False
        self.after_fork()
        if self.carrier is not None:
            fork.register(self)
            for tier in tiers:
                tier.on_taken = self.taken

    def after_fork(self) -> None:
        """Another process is another sender; what is owed, the parent tells."""
        self._lock = threading.Lock()
        self.sender = os.urandom(16)
        self._owed: dict[str, float] = {}
        self._owes_all = False
        self._marks: dict[str, Marks] = {}
        self._mute_until = 0.0
        self._ride()

    @property
    def tells(self) -> bool:
        """Whether this chain tells others of its changes."""
        return self.carrier is not None and self.carrier.write != "never" and time.monotonic() >= self._mute_until

    def told(self, changes: Mapping[str, float | None]) -> Call[None]:
        """Return the call that tells of these changes; what is owed is added to them, and no longer owed."""
        with self._lock:
            owed, everything, self._owed, self._owes_all = self._owed, self._owes_all, {}, False
            marks, self._marks = self._marks, {}
        messages = notice.written(self.sender, {**owed, **self._timed(changes)}, everything=everything, marks=marks)
        carrier = cast(Tier, self.carrier)
        return Call(carrier, "announce", (messages,), carrier.timeout)

    def was_told(self) -> None:
        """A call of `told` did what it should."""
        self.counters.sent += 1
        self._ride()

    def letter(self, changes: Mapping[str, float | None]) -> Letter:
        """Return what tells of these changes, for the carrier to send together with its write."""
        timed = self._timed(changes)
        self.counters.sent += 1
        return Letter(notice.written(self.sender, timed), lambda error: self._not_sent(timed, error))

    def went_along(self, results: Sequence[object]) -> bool:
        """Whether a change was told of with its write, so that nothing more needs to be said: results a tier.

        Where other tiers took it, too, they may have done so later than the carrier, and it is told of again.
        """
        if self.carrier is None or self.carrier.tells is None or not self._is_only or self._owes:
            return False
        return not any(isinstance(result, BaseException) for result in results)

    @contextmanager
    def changing(self, changes: Mapping[str, float | None]) -> Iterator[None]:
        """Where changing the tiers is interrupted, have it told all the same: who knows how far it came."""
        try:
            yield
        except BaseException:
            self.owe_changes(changes)
            self._pay_soon()
            raise

    def invalidated(self, namespace: str, marks: Marks) -> None:
        """This process invalidated tags or a namespace; the tiers are told of it by others."""
        self._owe_marks({namespace: marks})
        self._pay_soon()

    def taken(self, keys: Iterable[str]) -> None:
        """A tier took changes that it had missed, or that were written behind: until now it held what was older."""
        self.owe_changes(dict.fromkeys(keys))
        self._pay_soon()

    def owe(self, call: Call[None], error: TiercacheError | None = None) -> None:
        """A call of `told` failed: what it was to say is said again later."""
        for message in call.args[0]:
            said = notice.read(message)
            if said is not None:
                self.owe_changes(said.changes, everything=said.everything)
                self._owe_marks(said.marks)
        self._mute(error)

    def owe_changes(self, changes: Mapping[str, float | None], *, everything: bool = False) -> None:
        """Tell of these changes soon, from the background: they may have been made."""
        if self.carrier is None or self.carrier.write == "never":
            return
        with self._lock:
            self._owed |= self._timed(changes)
            if everything or len(self._owed) > MAX_OWED:
                self._owed, self._owes_all = {}, True
        self._see_to_it()

    def _owe_marks(self, marks: Mapping[str, Marks]) -> None:
        if self.carrier is None or self.carrier.write == "never" or not marks:
            return
        with self._lock:
            for namespace, news in marks.items():
                self._marks[namespace] = self._marks.get(namespace, NONE).merged(news)
        self._see_to_it()

    def _see_to_it(self) -> None:
        with self._lock:
            begin, self._ticking = not self._ticking, True
        if begin:
            ticker.every(RETRY_SECONDS, self._pay_soon)
        else:
            ticker.wake()

    @property
    def _owes(self) -> bool:
        return bool(self._owed) or self._owes_all or bool(self._marks)

    def close(self) -> None:
        """Tell what is owed, once, and nothing more."""
        self._pay()
        ticker.stop(self._pay_soon)

    def _timed(self, changes: Mapping[str, float | None]) -> dict[str, float]:
        now = self._clock()
        return {key: now if began is None else began for key, began in changes.items()}

    def _not_sent(self, changes: dict[str, float], error: TiercacheError) -> None:
        if self.carrier is not None:
            self.carrier.failed(error)
        self.owe_changes(changes)
        self._mute(error)

    def _mute(self, error: TiercacheError | None) -> None:
        """What this user may not send is not tried again with each write."""
        if isinstance(error, (AccessDenied, ConfigurationError)):
            self._mute_until = time.monotonic() + MUTE_SECONDS
            if self.carrier is not None:
                self.carrier.tells = None

    def _pay_soon(self) -> None:
        if self._owes and self.tells:
            with suppress(BackendUnavailable):  # no thread for it: the next time
                self._pool.submit(self._pay)

    def _pay(self) -> None:
        if self._owes and self.tells:
            call = self.told({})
            try:
                call.perform()
            except FAILURES as error:
                self.owe(call, error)
            except CacheClosed:
                return  # nobody is left to tell
            else:
                self.was_told()

    def _ride(self) -> None:
        """Have the carrier send notices together with its writes, if it can."""
        if self.carrier is not None and self.carrier.write == "through":
            self.carrier.tells = self.letter if self._takes_letters else None


def carrier_of(tiers: Sequence[Tier]) -> Tier | None:
    """Return the tier that carries notices, of several the last, which most processes share; None: there is none."""
    carriers = [tier for tier in tiers if not tier.local and isinstance(tier.backend, NoticeCarrier)]
    return carriers[-1] if carriers else None


def _takes_letters(backend: Backend) -> bool:
    """Whether the backend sends notices with its writes: by its signatures, as one that wraps another may not."""
    methods = [getattr(backend, prefix + name) for prefix in ("", "a") for name in _WRITES]
    return all("letter" in inspect.signature(method).parameters for method in methods)


_WRITES = ("put", "put_many", "delete", "delete_many")
