"""`Epochs`: what this process knows of invalidated namespaces and tags, and how its memory tiers follow.

The table decides what is believed: an entry made at or before the time of a mark that applies to it is a miss, in
whichever tier it lies. Times are a hybrid clock: a mark is later than everything that this process has seen, and what
is made in the knowledge of a mark is later than the mark, however far apart the clocks of the machines are.
"""

from __future__ import annotations

import threading
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence

from .. import fork
from ..computing.singleflight import Flights
from ..entry import CLOCK_SKEW, Clock, Entry, Metadata
from ..memory import MemoryBackend
from ..tier import Tier
from ..turns import Write
from .marks import NEVER, NONE, STEP, Marks, after, coarse, key_of

Announce = Callable[[str, Marks], None]
"""Told of each invalidation that this process makes: the namespace, and what is new. It must be quick."""


class Space:
    """One namespace: its marks, and what each tier is known to hold of them.

    Attributes:
        name: the namespace.
        prefix: what its full keys start with.
        key: the full key of its marks.
        marks: all that is known.
        newest: the latest time among them, and among `floors`.
        version: counts the changes of `marks`.
        unread: tiers whose own marks were never read: what they hold is not believed yet.
        held: the version that a tier is known to hold.
        floors: moments until which nothing from a tier is believed, because its marks were damaged.
        asked: whether the tiers were asked once.
        opened: when this process first used the namespace.
    """

    __slots__ = (
        "asked",
        "floors",
        "held",
        "key",
        "learning",
        "lock",
        "marks",
        "name",
        "newest",
        "opened",
        "prefix",
        "seen",
        "stamped",
        "unread",
        "version",
    )

    def __init__(self, name: str, tiers: Sequence[Tier], now: float) -> None:
        self.name = name
        self.opened = now
        self.prefix = f"{name}:"
        self.key = key_of(name)
        self.marks = NONE
        self.newest = NEVER
        self.version = 0
        self.unread = frozenset(tiers)
        self.held: dict[Tier, int] = {}
        self.floors: dict[Tier, float] = {}
        self.asked = not tiers
        self.learning: Learning | None = None
        self.lock = threading.Lock()
        self.seen = NEVER  # the latest moment of an entry that came from elsewhere
        self.stamped = now  # the latest moment of one that was made here

    def accepts(self, metadata: Metadata, tier: Tier, now: float) -> bool:
        """Whether an entry that a tier holds is believed."""
        as_of, moment = metadata.as_of, metadata.loaded_at
        if moment > self.seen:
            self._see(moment, now)
        if as_of is not None and as_of > now + CLOCK_SKEW and as_of > self.newest + 2 * STEP:
            return False  # made in the knowledge of marks that are not known here
        return not self.covers(moment, metadata.tags, tier)

    def covers(self, moment: float, tags: Iterable[str], tier: Tier) -> bool:
        """Whether what a tier holds of this moment, with these tags, is dead."""
        if self.floors and moment <= self.floors.get(tier, NEVER):
            return True
        return bool(self.version) and self.marks.cover(moment, tags)

    def lacks(self, tier: Tier) -> bool:
        """Whether the tier is not known to hold all marks."""
        return self.held.get(tier, 0) < self.version

    def _see(self, moment: float, now: float) -> None:
        if moment <= max(now + CLOCK_SKEW, self.newest + 2 * STEP):  # what is further ahead is no clock
            with self.lock:
                self.seen = max(self.seen, moment)


class Learning(Write):
    """The first asking of the tiers for their marks; `failures` are those of the tiers that told none."""

    __slots__ = ("failures",)

    def __init__(self, owner: AbstractEventLoop | None) -> None:
        super().__init__(owner)
        self.failures: dict[Tier, Exception] = {}


class Epochs:
    """The table of a chain.

    Args:
        tiers: all tiers of the chain.
        clock: returns Unix seconds.
        flights: the chain's computations; nobody joins one that began before an invalidation.

    Attributes:
        tiers: those that keep marks: the persistent ones.
        announce: called after an invalidation by this process (see `Announce`).
    """

    def __init__(self, tiers: Iterable[Tier], clock: Clock, flights: Flights) -> None:
        every = tuple(tiers)
        self.tiers = tuple(tier for tier in every if tier.persists)
        self.writable = tuple(tier for tier in self.tiers if tier.write != "never")
        self.announce: list[Announce] = []
        self.on_use: Callable[[], object] | None = None
        self._memories = [tier.backend for tier in every if isinstance(tier.backend, MemoryBackend)]
        self._clock = clock
        self._flights = flights
        self._spaces: dict[str, Space] = {}
        self.after_fork()
        fork.register(self)
        bump = weakref.WeakMethod(self.bump)
        for tier in every:
            tier.journal.on_overflow.append(lambda namespace: (method := bump()) and method(namespace))

    def after_fork(self) -> None:
        """Make the locks anew, and forget who was asking the tiers."""
        self._lock = threading.RLock()
        self._asleep = True
        for space in self._spaces.values():
            space.learning = None
            space.lock = threading.Lock()

    def space(self, namespace: str) -> Space:
        """Return a namespace, known from now on."""
        found = self._spaces.get(namespace)
        if found is None:
            with self._lock:
                found = self._spaces.setdefault(namespace, Space(namespace, self.tiers, self._clock()))
        return found

    def of(self, key: str) -> Space:
        """Return the namespace of a full key."""
        name = key[: key.find(":")]
        return self._spaces.get(name) or self.space(name)

    @property
    def spaces(self) -> list[Space]:
        """The namespaces that were used."""
        with self._lock:
            return list(self._spaces.values())

    def waken(self) -> None:
        """Let the marks be read again from time to time, from the first use on and in forked children too."""
        if self._asleep:
            self._asleep = False
            if self.on_use is not None:
                self.on_use()

    # Moments

    def moment(self, key: str) -> float:
        """Return the moment at which something about a key begins: later than every mark that is known."""
        now = self._clock()
        later = self.as_of(key, now)
        return now if later is None else later

    def as_of(self, key: str, now: float) -> float | None:
        """Return the moment of what is made at `now`, where a mark says to be later than that; None: `now` itself."""
        if self._asleep:
            self.waken()
        space = self.of(key)
        later = None if now > space.newest else after(space.newest)
        space.stamped = max(space.stamped, now if later is None else later)
        return later

    def stamped(self, entry: Entry, began: float) -> Entry:
        """Return the entry of a value whose making began then (see `moment`)."""
        metadata = entry.metadata
        moment = coarse(metadata.created_at, began)
        if moment <= self.of(metadata.key).newest:
            moment = began  # rounded it would be as old as what was invalidated before it began
        as_of = None if moment == metadata.created_at else moment
        return entry if as_of == metadata.as_of else entry.with_metadata(as_of=as_of)

    # Marks

    def advance(self, space: Space, tags: Iterable[str] | None) -> Marks:
        """Invalidate tags, or without tags everything, in this process; return what is new."""
        with self._lock:
            at = max(self._clock(), after(space.newest), space.seen, space.stamped)
            news = Marks(at) if tags is None else Marks(tags=dict.fromkeys(tags, at))
            self.merge(space, news)
        return news

    def bump(self, namespace: str) -> None:
        """Invalidate a namespace of which a tier missed too many changes to remember; the tiers hear of it soon."""
        self.waken()
        space = self.space(namespace)
        self.announced(space, self.advance(space, None))

    def merge(self, space: Space, marks: Marks) -> None:
        """Take marks over from elsewhere: from a tier, or from another process."""
        with self._lock:
            merged = space.marks.merged(marks)
            if merged is space.marks:
                return
            space.marks, space.newest = merged, max(merged.newest, *space.floors.values(), NEVER)
            space.version += 1
            for memory in self._memories:
                memory.invalidate(space.name, merged)
            # Nobody joins what began before; what is stored from now on is compared with these marks.
            if space.newest >= space.opened:
                self._flights.forget_prefix(space.prefix)

    def heard(self, namespace: str, marks: Marks) -> None:
        """Another process invalidated something: it holds here from now on, or is learnt when the namespace is used."""
        space = self._spaces.get(namespace)
        if space is not None:
            self.merge(space, marks)

    def is_behind(self, tier: Tier) -> bool:
        """Whether a tier has yet to take a mark that is known here."""
        return tier in self.writable and any(space.lacks(tier) for space in self.spaces)

    def doubt(self) -> None:
        """Something may not have been heard: no tier is believed until all were asked for their marks again."""
        with self._lock:
            for space in self._spaces.values():
                space.unread = frozenset(self.tiers)
                space.asked = not self.tiers

    def announced(self, space: Space, news: Marks) -> None:
        """Tell whoever wants to know."""
        for tell in self.announce:
            tell(space.name, news)

    # Tiers

    def was_read(self, space: Space, tier: Tier, marks: Marks, floor: float = NEVER) -> None:
        """A tier told its marks: from now on what it holds is believed, as far as these go."""
        with self._lock:
            if floor > space.floors.get(tier, NEVER):
                space.floors[tier] = floor
                space.newest = max(space.newest, floor)
            self.merge(space, marks)
            space.unread -= {tier}
            less = space.marks.beyond(marks) or space.floors.get(tier, NEVER) > floor
            space.held[tier] = -1 if less else space.version

    def was_written(self, space: Space, tier: Tier, version: int) -> None:
        """A tier took the marks of this version."""
        with self._lock:
            space.held[tier] = max(version, space.held.get(tier, 0))

    def shrink(self, space: Space) -> None:
        """The marks are too large for a tier: remember half as many tags."""
        with self._lock:
            self.merge(space, Marks(space.marks.bounded(len(space.marks.tags) // 2).epoch))

    def damaged(self, space: Space, tier: Tier) -> None:
        """What a tier says of its marks cannot be read: nothing that it holds until now is believed."""
        with self._lock:
            self.was_read(space, tier, NONE, self.moment(space.prefix))
            space.held[tier] = -1

    def begin_learning(self, space: Space, owner: AbstractEventLoop | None) -> tuple[Learning, bool]:
        """Return the first asking of the tiers, and whether the caller has to do it."""
        with self._lock:
            learning = space.learning
            if learning is not None and not learning.is_lost:
                return learning, False
            learning = space.learning = Learning(owner)
            return learning, True

    def end_learning(self, space: Space, learning: Learning) -> None:
        """The tiers were asked, whatever they answered."""
        with self._lock:
            space.asked = True
            if space.learning is learning:
                space.learning = None
        learning.end()
