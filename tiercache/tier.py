"""`Tier`: a backend in a chain, with its policy, its time limit and its counters."""

from __future__ import annotations

import inspect
import logging
import math
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from . import fork
from .backend import Backend
from .call import Call
from .coherence.guard import Guard, Seen
from .coherence.notice import Letter
from .entry import Entry, Metadata
from .errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    CacheClosed,
    ConfigurationError,
    PartialFailure,
    TiercacheError,
)
from .health.bounded import Bound
from .health.breaker import BreakerPolicy, Probe
from .health.healing import Healer
from .journal.journal import Journal
from .logs import fields
from .memory import MemoryBackend
from .objectstore.classes import ClassRules, mixes, usable
from .stats import TierCounters, TierStats, latency
from .storage_class import StorageClassRule, checked_rules, chosen_class
from .switches import Switch, shown
from .units import Duration, Size, parse_duration, parse_size

Promote = Literal["always", "second_hit", "never"]
Write = Literal["through", "behind", "never"]
WhenFull = Literal["drop", "wait"]
FAILURES = (BackendError, ConfigurationError)
"""What a flow takes as "this tier cannot": counted, logged, and never raised to the caller unless strict."""

logger = logging.getLogger("tiercache")
LOG_EVERY = 60.0
LONGEST_NAME = 100
"""Characters."""
_REMEMBERED_HITS = 10_000
_FROM_BACKEND: Any = object()


class Tier:
    """A backend in a chain.

    Args:
        backend: the store.
        name: how statistics, results, metrics and logs call it: up to 100 printable characters, none of them a quote,
            a backtick or a backslash, and no space at either end; the chain fills in the backend's scheme.
        timeout: seconds for one operation (a batch: for each round of `backend.concurrency` keys); left out: the
            backend's own default (Redis 0.1, object stores 2, memory none); None: no bound.
        promote: whether entries found in slower tiers are copied up into this one: `always`, on the `second_hit`,
            or `never`.
        write: `through`: every `set` writes here and waits for it. `behind`: it is queued, written in the background
            (several together), and read from the queue until then; of several writes to a key the last one is made.
            `never`: this tier is only read.
        queue_entries, queue_bytes: how much may wait to be written behind.
        when_full: what a write behind does when that much waits: `drop` the entry (counted; what it was to replace is
            deleted), or `wait` for room, for `timeout` at most.
        max_ttl: entries stay here no longer than this; None: as long as they live.
        max_entry_bytes: larger payloads skip this tier and are counted; None: as the backend says (object stores
            take 16 MiB).
        storage_classes: rules that put entries into another class than the backend's own; the first that holds
            decides. For object stores.
        breaker: whether a store that fails is left alone for a while (2 to 30 s, until a probe finds that it answers);
            a `BreakerPolicy` for other figures. False: each call asks it, and nothing is tried again. Memory has none.

    Attributes:
        is_fence: whether it is the chain's guard (see `tiercache.coherence.guard`).
        on_recovery: functions that are called, and must be quick, when the breaker closes after it was open.
        classes: the backend's storage classes, by name; None when it has none.
        tells: makes the letter that tells other processes of changes, where the backend sends it with its writes.
        cap: seconds that entries stay here at most for the moment; None: as long as `max_ttl` says.
        switch: what the tier is used for (see `TierChain.switches`); None: for everything.

    Raises:
        ConfigurationError: an option has no such value, or a rule names a class that the backend has not or that
            cannot serve a cache.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str | None = None,
        timeout: Duration | None = _FROM_BACKEND,
        promote: Promote = "always",
        write: Write = "through",
        queue_entries: int = 10_000,
        queue_bytes: Size = "64MiB",
        when_full: WhenFull = "drop",
        max_ttl: Duration | None = None,
        max_entry_bytes: Size | None = None,
        storage_classes: Sequence[StorageClassRule] = (),
        breaker: bool | BreakerPolicy = True,
    ) -> None:
        _check_backend(backend)
        if name is not None:
            _check_name(name)
        if promote not in get_args(Promote):
            raise ConfigurationError(f"promote={promote!r} must be one of {', '.join(get_args(Promote))}")
        if write not in get_args(Write):
            raise ConfigurationError(f"write={write!r} must be one of {', '.join(get_args(Write))}")
        if when_full not in get_args(WhenFull):
            raise ConfigurationError(f"when_full={when_full!r} must be one of {', '.join(get_args(WhenFull))}")
        if isinstance(queue_entries, bool) or not isinstance(queue_entries, int) or queue_entries < 1:
            raise ConfigurationError(f"queue_entries={queue_entries!r} must be a whole number from 1 on")
        self.backend = backend
        self.name = name
        self.promote: Promote = promote
        self.write: Write = write
        self.max_ttl = None if max_ttl is None else parse_duration(max_ttl, "max_ttl")
        self.max_entry_bytes = None if max_entry_bytes is None else parse_size(max_entry_bytes, "max_entry_bytes")
        if timeout is _FROM_BACKEND:
            self.timeout = backend.timeout
        else:
            self.timeout = None if timeout is None else parse_duration(timeout, "timeout")
            backend.timeout = self.timeout  # the SDK's own timeouts follow, from the first connection on
        self.cap: float | None = None
        self.switch: Switch | None = None
        self.tells: Callable[[Mapping[str, float | None]], Letter] | None = None
        self.local = isinstance(backend, MemoryBackend)
        if self.local and write == "behind":
            raise ConfigurationError('write="behind" is for slower stores; memory is written at once')
        self.when_full: WhenFull = when_full
        self.guards = isinstance(backend, Guard)
        self.is_fence = False
        self.queue_entries = queue_entries
        self.queue_bytes = parse_size(queue_bytes, "queue_bytes")
        self.journal = Journal(max_entries=queue_entries, max_bytes=self.queue_bytes)
        self.on_change: Callable[[Tier], object] = _nobody
        self.on_absence: Callable[[Tier], object] = _nobody
        self.on_taken: Callable[[Iterable[str]], object] = _nobody
        classes = getattr(backend, "rules", None)
        self.classes: Mapping[str, ClassRules] | None = classes if classes and isinstance(classes, Mapping) else None
        self.storage_classes = checked_rules(storage_classes)
        self._check_classes()
        if not isinstance(breaker, (bool, BreakerPolicy)):
            raise ConfigurationError("breaker must be True, False or a BreakerPolicy")
        policy = breaker if isinstance(breaker, BreakerPolicy) else BreakerPolicy() if breaker else None
        self.healer = Healer(self, None if self.local else policy)
        self.breaker = self.healer.breaker
        self.on_recovery = self.healer.on_recovery
        # Somebody else's store is not trusted with the caller's time unless it says that it may be.
        self.bound = None if self.local or getattr(backend, "keeps_deadlines", False) else Bound(backend.scheme)
        self.counters = TierCounters()
        self._removals_before: dict[str, int] = {}
        self._logged: dict[str, float] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Make the lock anew: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """The name, or the backend's scheme while the tier is in no chain."""
        return self.name or self.backend.scheme

    @property
    def persists(self) -> bool:
        """Whether what the store holds outlives the process, so that other processes may be told through it."""
        return not self.local and bool(getattr(self.backend, "persistent", True))

    @property
    def common_class(self) -> str | None:
        """The storage class that a rule without conditions puts entries into; None: the backend's own."""
        return next((rule.storage_class for rule in self.storage_classes if rule.takes_all), None)

    def get(self, key: str) -> Call[Entry | None]:
        """Ask for an entry."""
        return Call(self, "get", (key,), self.timeout)

    def head(self, key: str) -> Call[Metadata | None]:
        """Ask for metadata."""
        return Call(self, "head", (key,), self.timeout)

    def put(
        self, key: str, entry: Entry, *, if_absent: bool = False, if_match: str | None = None, **options: Any
    ) -> Call[bool]:
        """Ask to store an entry; `options`: a letter to send with it."""
        if if_match is not None:
            return Call(self, "put", (key, entry), self.timeout, if_match=if_match)
        return Call(self, "put", (key, entry), self.timeout, if_absent=if_absent, **options)

    def delete(self, key: str, **options: Any) -> Call[bool]:
        """Ask to remove an entry; `options`: a letter to send with it."""
        return Call(self, "delete", (key,), self.timeout, **options)

    def get_many(self, keys: Sequence[str], *, bounded: bool = True) -> Call[dict[str, Entry]]:
        """Ask for entries; not `bounded`: without a deadline (warming up, copying)."""
        return Call(self, "get_many", (keys,), self._batch_timeout(len(keys)) if bounded else None)

    def put_many(self, entries: Mapping[str, Entry], *, bounded: bool = True, **options: Any) -> Call[None]:
        """Ask to store entries; `options`: a letter to send with them."""
        return Call(self, "put_many", (entries,), self._batch_timeout(len(entries)) if bounded else None, **options)

    def delete_many(self, keys: Sequence[str], **options: Any) -> Call[int]:
        """Ask to remove entries; `options`: a letter to send with it."""
        return Call(self, "delete_many", (keys,), self._batch_timeout(len(keys)), **options)

    def stored(self, entries: Mapping[str, Entry]) -> dict[str, Any]:
        """Return the options of a call that stores entries, for other processes to hear of; empty: not from here."""
        if self.tells is None:
            return {}
        return {"letter": self.tells({key: entry.metadata.loaded_at for key, entry in entries.items()})}

    def removed(self, keys: Iterable[str]) -> dict[str, Any]:
        """`stored`, of a call that removes entries."""
        return {} if self.tells is None else {"letter": self.tells(dict.fromkeys(keys))}

    def get_seen(self, key: str) -> Call[Seen]:
        """Ask a guard for an entry, and for what stands in its place (see `tiercache.coherence.guard`)."""
        return Call(self, "get_seen", (key,), self.timeout)

    def get_many_seen(self, keys: Sequence[str], *, bounded: bool = True) -> Call[dict[str, Seen]]:
        """Ask a guard for entries, and for what stands in their place."""
        return Call(self, "get_many_seen", (keys,), self._batch_timeout(len(keys)) if bounded else None)

    def put_seen(self, key: str, entry: Entry, token: str) -> Call[bool]:
        """Ask a guard to store an entry if what was seen is still there."""
        return Call(self, "put_seen", (key, entry, token), self.timeout)

    def put_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, bounded: bool = True
    ) -> Call[set[str]]:
        """Ask a guard to store those entries for which what was seen is still there."""
        return Call(self, "put_many_seen", (entries, tokens), self._batch_timeout(len(entries)) if bounded else None)

    def bury(self, keys: Sequence[str], mark: bytes) -> Call[set[str]]:
        """Ask a guard to leave open tombstones in place of entries."""
        return Call(self, "bury", (keys, mark), self._batch_timeout(len(keys)))

    def displace(
        self, keys: Mapping[str, float], state: bytes, seen: Mapping[str, str] | None = None, *, gap: bool = False
    ) -> Call[set[str]]:
        """Ask a guard to lose entries in such a way that loads which began before store nothing."""
        return Call(self, "displace", (keys, state, seen, gap), self._batch_timeout(len(keys)))

    def remove_many(self, keys: Sequence[str], **options: Any) -> Call[Any]:
        """Ask to remove entries, in the way that the tier's part in the chain asks for."""
        if self.is_fence:
            return self.displace(dict.fromkeys(keys, -math.inf), os.urandom(16), gap=True)
        return self.delete_many(keys, **options)

    def close_tombs(self, keys: Sequence[str], mark: bytes) -> Call[int]:
        """Ask a guard to close them."""
        return Call(self, "close_tombs", (keys, mark), self._batch_timeout(len(keys)))

    def overtaken(self, tokens: Mapping[str, str]) -> Call[set[str]]:
        """Ask a guard which keys hold something else than these tokens stand for."""
        return Call(self, "overtaken", (tokens,), self._batch_timeout(len(tokens)))

    def clear(self, prefix: str) -> Call[int]:
        """Ask to remove every entry below a prefix; this has no deadline."""
        return Call(self, "clear", (prefix,), None)

    def ping(self, *, probe: Probe = "asked") -> Call[None]:
        """Ask whether the store can serve, also while the breaker is open; `due`: only if that is to be tried now."""
        return Call(self, "ping", (), self.timeout, probe=probe)

    def missed(self, keys: Iterable[str]) -> None:
        """The store did not take a change of these keys: until they are deleted there, it answers no reads for them."""
        self.journal.missed_change(keys)
        self.on_change(self)

    def behind(self, key: str, entry: Entry | None, token: str = "") -> None:
        """Queue a change of a tier that is written behind; None: the key is deleted."""
        self.journal.queue(key, entry, token)
        self.on_change(self)

    def reads(self, key: str) -> bool:
        """Whether this tier is asked for a key at all: its switch says no otherwise."""
        switch = self.switch  # once: another thread may replace it
        return switch is None or switch.reads(key)

    def stores(self, key: str) -> bool:
        """Whether entries of a key are stored here: its switch says no otherwise. What they replace is removed."""
        switch = self.switch
        return switch is None or switch.stores(key)

    def takes(self, entry: Entry, now: float, *, capped: bool = True) -> Entry | None:
        """Return the entry as this tier keeps it: its life capped, its class chosen; None when it takes none such."""
        if not self.stores(entry.metadata.key):
            return None
        own: int | None = getattr(self.backend, "max_entry_bytes", None)
        for limit in (self.max_entry_bytes, own):
            if limit is not None and len(entry.payload) > limit:
                self.counters.skipped += 1
                return None
        if self.max_ttl is not None:
            entry = self._capped(entry, now, self.max_ttl)
        if self.cap is not None and capped:
            entry = self._capped(entry, now, self.cap)
        return entry if self.classes is None else self._in_its_class(entry, now, self.classes)

    def check_class(self, name: str, option: str = "storage_class") -> str:
        """Return the class under which an entry may be written here.

        Raises:
            ConfigurationError: the backend has no such class, or it cannot serve a cache, or does not go with the
                backend's own.
        """
        return usable(self.classes or {}, name, option, beside=getattr(self.backend, "storage_class", None)).name

    def mixes(self, name: str) -> bool:
        """Whether a class that the store has goes into the same bucket as the backend's own."""
        return mixes(self.classes or {}, name, getattr(self.backend, "storage_class", None))

    def _check_classes(self) -> None:
        if self.storage_classes and self.classes is None:
            kind = type(self.backend).__name__
            raise ConfigurationError(f"storage_classes is for object stores; a {kind} has no storage classes")
        for rule in self.storage_classes:
            self.check_class(rule.storage_class, "storage_classes")

    def _capped(self, entry: Entry, now: float, max_ttl: float) -> Entry:
        latest = now + max_ttl
        metadata = entry.metadata
        if metadata.gone_at is not None and metadata.gone_at <= latest:
            return entry
        expires_at = latest if metadata.expires_at is None else min(metadata.expires_at, latest)
        stale_until = None if metadata.stale_until is None else latest
        return entry.with_metadata(expires_at=expires_at, stale_until=stale_until)

    def _in_its_class(self, entry: Entry, now: float, classes: Mapping[str, ClassRules]) -> Entry:
        asked = entry.storage_class
        if asked is not None and asked in classes and self.mixes(asked):
            return entry
        chosen = chosen_class(self.storage_classes, entry, now)  # another vendor's class is as if none was asked for
        return entry if chosen == asked else entry.in_class(chosen)

    def admits(self, key: str, *, warming: bool = False) -> bool:
        """Whether a hit below is promoted into this tier; `warming`: somebody asked for it, whatever the rule."""
        if self.write == "never":
            return False  # nothing could be removed from it again
        switch = self.switch
        if switch is not None and not (switch.reads(key) and switch.stores(key)):
            return False
        if warming or self.promote != "second_hit":
            return warming or self.promote == "always"
        with self._lock:
            if key in self._seen:
                del self._seen[key]
                return True
            self._seen[key] = None
            if len(self._seen) > _REMEMBERED_HITS:
                self._seen.popitem(last=False)
        return False

    def timed(self, method: str, nanoseconds: int) -> None:
        """Record how long a call took."""
        counters = self.counters
        (counters.read_latency if method in _READS else counters.write_latency).record(nanoseconds)

    def failed(self, error: Exception) -> TiercacheError:
        """Count and log a failure; return it as the error that flows know."""
        failure = self.mapped(error)
        self.count(failure)
        return failure

    def mapped(self, error: Exception) -> TiercacheError:
        """Return a backend's error as one that flows know."""
        if isinstance(error, (*FAILURES, CacheClosed)):
            return error
        # A backend must map its vendor's exceptions; one that leaks them must not take the caller down.
        unexpected = BackendUnavailable(
            f"unexpected {type(error).__name__} in the {self.backend.scheme} backend, which must map it to one of "
            "tiercache.errors"
        )
        unexpected.__cause__ = error
        return unexpected

    def count(self, error: TiercacheError) -> None:
        """Count and log a failure, of a batch the failures of its keys."""
        if isinstance(error, PartialFailure):
            for part in error.failed.values():
                self._count(part)
        elif isinstance(error, FAILURES):
            self._count(error)
        if isinstance(error, (BackendUnavailable, BackendTimeout)):
            self.on_absence(self)

    def said(self, kind: str) -> None:
        """A log line has just told of this kind of failure: none is due for a while."""
        with self._lock:
            self._logged[kind] = max(time.monotonic(), self._logged.get(kind, -math.inf))

    @property
    def evictions(self) -> dict[str, int]:
        """Entries that left, by cause, where the store tells."""
        return dict(Counter(self._removals()) - Counter(self._removals_before))

    def snapshot(self) -> TierStats:
        """Return the counters of the moment."""
        counters = self.counters
        usage = getattr(self.backend, "usage", None)
        entries, size = None, None
        if usage is not None:
            try:
                entries, size = usage()
            except Exception as error:  # noqa: BLE001 - a tier that is down says how much it holds when it is back
                self.failed(error)
        return TierStats(
            hits=counters.hits,
            misses=counters.misses,
            puts=counters.puts,
            deletes=counters.deletes,
            promotions=counters.promotions,
            skipped=counters.skipped,
            evictions=self.evictions,
            errors=dict(counters.errors),
            entries=entries,
            bytes=size,
            refused=counters.refused,
            retries=counters.retries,
            breaker=self.breaker.state,
            switch=shown(self),
            shadow_equal=counters.shadow_equal,
            shadow_different=counters.shadow_different,
            shadow_absent=counters.shadow_absent,
            queued=self.journal.queued,
            dropped=self.journal.dropped,
            missed=self.journal.missed,
            read=latency(counters.read_latency),
            write=latency(counters.write_latency),
        )

    def reset(self) -> None:
        """Start all counters at zero again."""
        self._removals_before = self._removals()
        self.counters.reset()

    def __repr__(self) -> str:
        return f"<Tier {self.label!r}>"

    def _removals(self) -> dict[str, int]:
        return dict(getattr(self.backend, "removals", None) or {})

    def _batch_timeout(self, keys: int) -> float | None:
        return None if self.timeout is None else self.timeout * max(1, math.ceil(keys / self.backend.concurrency))

    def _count(self, error: TiercacheError) -> None:
        # A backend may have classes of its own; people look for those of `tiercache.errors`.
        kind = next(each.__name__ for each in type(error).__mro__ if each.__module__ == TiercacheError.__module__)
        self.counters.errors[kind] += 1
        now = time.monotonic()
        with self._lock:
            if now - self._logged.get(kind, -math.inf) < LOG_EVERY:
                return
            # Wrong configuration does not heal: once is enough, and louder.
            fatal = isinstance(error, ConfigurationError)
            self._logged[kind] = math.inf if fatal else now
        level = logging.ERROR if fatal else logging.WARNING
        extra = fields("tier.failed", tier=self.label, kind=kind)
        logger.log(level, "tier %s: %s: %s (see stats)", self.label, kind, error, extra=extra)


def _nobody(what: object) -> None:
    """Stands for the chain, which has a tier's journal worked off."""


def _check_name(name: Any) -> None:
    """Refuse what would break a label, a line of a log or a table."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError("name must be a str that is not empty, or None for the backend's scheme")
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(f"name has {len(name)} characters; a tier's name has {LONGEST_NAME} at most")
    if not name.isprintable() or name != name.strip() or any(mark in name for mark in "\"'`\\"):
        raise ConfigurationError(
            f"name={name!a} must be printable characters without quotes, backticks and backslashes, and without a "
            "space at either end; write a name such as 'redis-1'"
        )


def _check_backend(backend: object) -> None:
    """Refuse what is no backend, without its repr: that may be a URL with a password."""
    kind = type(backend).__name__
    if isinstance(backend, str):
        raise ConfigurationError("a tier is made of a backend, not of a str; for URLs call TierChain.from_urls()")
    if isinstance(backend, (list, tuple)):
        raise ConfigurationError("pass the tiers one by one, TierChain(first, second), not as a list")
    if inspect.isclass(backend):
        raise ConfigurationError(f"{backend.__name__} is a class; pass an instance of it")
    missing = [method for method in _REQUIRED if not callable(getattr(backend, method, None))]
    missing += [name for name in ("scheme", "timeout", "concurrency") if not hasattr(backend, name)]
    if missing:
        raise ConfigurationError(f"a {kind} is not a Backend: it has no {', '.join(missing)}")


_READS = frozenset({"get", "get_many", "head", "scan", "get_seen", "get_many_seen"})
_REQUIRED = [
    prefix + name
    for name in (
        "get",
        "put",
        "delete",
        "head",
        "get_many",
        "put_many",
        "delete_many",
        "scan",
        "clear",
        "ping",
        "close",
    )
    for prefix in ("", "a")
]
