"""`instrument`: has the flows of a cache watched, and its figures measured; `WatchedFlows` is how."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sized
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast
from weakref import WeakValueDictionary

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from ...cache import Cache
from ...chain import TierChain
from ...errors import ConfigurationError
from ...flow import Flow
from ...flows.computed import ComputedFlows
from ..measures import NAMESPACES, checked
from .instruments import instruments_of
from .spans import FlowSpan, Watch
from .watching import Watched


def instrument(
    subject: Cache | TierChain,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    max_namespaces: int = NAMESPACES,
) -> Callable[[], None]:
    """Trace and measure a cache, or a chain with all caches on it, those that are made later included.

    Each operation that leaves memory makes a span, which says which tier answered, and below it one for each tier that
    was asked. The metrics are those of `cache.stats()`, read when they are collected, and the durations of operations.

    Args:
        subject: the cache or the chain.
        tracer_provider, meter_provider: left out: the global ones.
        max_namespaces: so many namespaces have series of their own; in metrics those that are met later are summed up
            as `other`. Of several calls with one meter provider the largest number holds.

    Returns:
        A function that ends it. Operations under way are still traced. What is instrumented by itself and by its chain
        is traced once, by whichever came first, until the last of them has ended, in whatever order they end.

    Raises:
        ConfigurationError: it is neither a cache nor a chain, or it is instrumented already; or `max_namespaces` is no
            number.
    """
    checked(subject)
    if _is_instrumented(subject):
        raise ConfigurationError("this is instrumented already; call what instrument() returned first")
    release = _release()
    tracer = trace.get_tracer("tiercache", release, tracer_provider)
    instruments = instruments_of(meter_provider or metrics.get_meter_provider(), release)
    instruments.subjects.allow(max_namespaces)
    installed = _Installed(Watch(tracer, instruments))
    if isinstance(subject, Cache):
        installed.watch_cache(subject)
        installed.watch_writing(subject.chain)
    else:
        installed.watch_chain(subject)
    instruments.subjects.add(subject)

    def uninstrument() -> None:
        if installed.undo():
            instruments.subjects.remove(subject)

    return uninstrument


def _is_instrumented(subject: Cache | TierChain) -> bool:
    if isinstance(subject, Cache):
        return isinstance(subject._flows, WatchedFlows)
    return any(isinstance(getattr(hear, "__self__", None), _Installed) for hear in subject.on_cache)


class _Installed:
    """What one call of `instrument` has changed. It keeps no cache alive."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._caches: WeakValueDictionary[int, Cache] = WeakValueDictionary()
        self._chain: TierChain | None = None

    def watch_cache(self, cache: Cache) -> None:
        """Have the flows of a cache watched; where they are, with this when that has ended."""
        if not isinstance(cache._flows, WatchedFlows):
            cache._flows = cast(ComputedFlows, WatchedFlows(cache._flows))
        cast(WatchedFlows, cache._flows).add(self, replace(self._watch, namespace=cache.namespace))
        self._caches[id(cache)] = cache
        self._watch.instruments.subjects.named(cache.namespace)  # in the order in which they are made

    def watch_chain(self, chain: TierChain) -> None:
        """Have the flows of all caches watched."""
        chain.on_cache.append(self.watch_cache)
        for cache in chain.caches:
            self.watch_cache(cache)
        self.watch_writing(chain)

    def watch_writing(self, chain: TierChain) -> None:
        """Have watched what is written behind, in the same way."""
        self._chain = chain
        if not isinstance(chain.drainer.shown, _Writing):
            chain.drainer.shown = _Writing(chain.drainer.shown)
        chain.drainer.shown.watches[self] = self._watch

    def undo(self) -> bool:
        """Leave everything as it was, but for what others have changed; return whether it was not done before."""
        chain, self._chain = self._chain, None
        if chain is None:
            return False
        if self.watch_cache in chain.on_cache:  # first: no further cache is to be watched meanwhile
            chain.on_cache.remove(self.watch_cache)
        for reference in self._caches.valuerefs():
            cache = reference()
            if cache is not None and isinstance(cache._flows, WatchedFlows) and cache._flows.remove(self):
                cache._flows = cache._flows.unwatched
        self._caches.clear()
        shown = chain.drainer.shown
        if isinstance(shown, _Writing):
            shown.watches.pop(self, None)
            if not shown.watches:
                chain.drainer.shown = shown.before
        return True


@dataclass(frozen=True, slots=True, eq=False)
class _Writing:
    """Shows what is written behind; of those who watch it, to the first."""

    before: Callable[[Flow[bool]], Flow[bool]]
    watches: dict[_Installed, Watch] = field(default_factory=dict)

    def __call__(self, flow: Flow[bool]) -> Flow[bool]:
        watch = next(iter(tuple(self.watches.values())), None)
        return flow if watch is None else Watched(flow, watch, FlowSpan(watch, "write_behind", apart=True))


@dataclass(frozen=True, slots=True)
class _Shown:
    """How a flow is shown: under which name (None: only what it begins), and which argument holds its keys."""

    name: str | None
    reads: bool = False
    keys: int | None = None


_SHOWN = {
    "get": _Shown("get", reads=True),
    "lookup": _Shown("lookup", reads=True),
    "head": _Shown("head", reads=True),
    "get_or_set": _Shown("get_or_set", reads=True),
    "lookup_or_set": _Shown("lookup_or_set", reads=True),
    "refresh_early": _Shown(None),
    "get_many": _Shown("get_many", reads=True, keys=0),
    "lookup_many": _Shown("lookup_many", reads=True, keys=0),
    "get_or_set_many": _Shown("get_or_set_many", reads=True, keys=0),
    "lookup_or_set_many": _Shown("lookup_or_set_many", reads=True, keys=0),
    "set": _Shown("set"),
    "set_loaded": _Shown("set"),
    "delete": _Shown("delete"),
    "touch": _Shown("touch"),
    "clear": _Shown("clear"),
    "invalidate_tags": _Shown("invalidate_tags"),
    "set_many": _Shown("set_many", keys=0),
    "delete_many": _Shown("delete_many", keys=0),
    "warm": _Shown("warm", keys=0),
}
"""The flows of a cache."""


class WatchedFlows:
    """The flows of a cache, each watched as it is made; everything else is the cache's own.

    Of several who watch them, the first one does.
    """

    __slots__ = ("_flows", "_watches")

    def __init__(self, flows: ComputedFlows) -> None:
        object.__setattr__(self, "_flows", flows)
        object.__setattr__(self, "_watches", {})

    def add(self, by: _Installed, watch: Watch) -> None:
        """Watch them with this, too."""
        self._watches[by] = watch

    def remove(self, by: _Installed) -> bool:
        """Watch them with this no longer; return whether nobody does."""
        self._watches.pop(by, None)
        return not self._watches

    @property
    def unwatched(self) -> ComputedFlows:
        """The flows as they were."""
        flows: ComputedFlows = self._flows
        return flows

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._flows, name)
        shown = _SHOWN.get(name)
        watch = None if shown is None else next(iter(tuple(self._watches.values())), None)
        return found if shown is None or watch is None else _watched(found, shown, watch)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._flows, name, value)


def _watched(make: Callable[..., Coroutine[Any, Any, Any]], shown: _Shown, watch: Watch) -> Callable[..., Watched[Any]]:
    def watched(*args: Any, **options: Any) -> Watched[Any]:
        size = None
        if shown.keys is not None:
            keys = args[shown.keys]
            if isinstance(keys, Iterable) and not isinstance(keys, Sized):
                keys = list(keys)
                args = (*args[: shown.keys], keys, *args[shown.keys + 1 :])
            size = len(keys) if isinstance(keys, Sized) else None
        return Watched(make(*args, **options), watch, _span(watch, shown, size))

    return watched


def _span(watch: Watch, shown: _Shown, size: int | None) -> FlowSpan | None:
    if shown.name is None:
        return None
    return FlowSpan(watch, shown.name, size=size, reads=shown.reads, metered=True)


def _release() -> str:
    try:
        return version("tiercache")
    except PackageNotFoundError:
        return ""
