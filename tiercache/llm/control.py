"""What a caller says about one request, or about all requests within a `with` block."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from ..errors import ConfigurationError
from ..options import OWN, age_limit, checked_tags, given
from ..units import Duration
from .sampling import checked_samples
from .tags import check_own


class Said(TypedDict, total=False):
    """What a call may say as keywords: see `CacheControl`."""

    max_age: Duration | None
    no_cache: bool
    no_store: bool
    only_if_cached: bool
    ttl: Duration | None
    tags: Iterable[str]
    samples: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheControl:
    """What HTTP calls Cache-Control, for one request.

    Attributes:
        max_age: seconds; an answer that was made longer ago is a miss. None: any age within its ttl.
        no_cache: ask the provider in any case, and store its answer.
        no_store: do not store the answer. (One that is there already may still be served; with `no_cache` the
            request passes the cache by.)
        only_if_cached: never ask the provider; a miss raises `NotCached`. What is past its ttl is one.
        ttl: how long the answer is fresh; left out: as the cache was told; None: for ever.
        tags: labels of the answer, for invalidation.
        samples: how many different answers are kept for such a request; None: as the cache was told.
    """

    max_age: float | None = None
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    ttl: float | None = OWN
    tags: tuple[str, ...] = ()
    samples: int | None = None

    @classmethod
    def of(
        cls,
        *,
        max_age: Duration | None = None,
        no_cache: bool = False,
        no_store: bool = False,
        only_if_cached: bool = False,
        ttl: Duration | None = OWN,
        tags: Iterable[str] = (),
        samples: int | None = None,
    ) -> CacheControl:
        """Check what a caller says.

        Raises:
            ConfigurationError: something has no such value.
        """
        checked = checked_tags(tags)
        check_own(checked)
        return cls(
            max_age=age_limit(max_age),
            no_cache=_truth(no_cache, "no_cache"),
            no_store=_truth(no_store, "no_store"),
            only_if_cached=_truth(only_if_cached, "only_if_cached"),
            ttl=given(ttl, OWN, "ttl"),
            tags=checked,
            samples=None if samples is None else checked_samples(samples),
        )

    def under(self, **said: Any) -> CacheControl:
        """Return this with what a call says itself on top; tags add up.

        Raises:
            ConfigurationError: something has no such value.
            TypeError: there is nothing of that name.
        """
        if not said:
            return self
        if unknown := said.keys() - Said.__annotations__:
            raise TypeError(
                f"there is no {', '.join(sorted(unknown))} here; there are {', '.join(Said.__annotations__)}"
            )
        control = CacheControl.of(**said)
        news = {name: getattr(control, name) for name in said if name != "tags"}
        return replace(self, **news, tags=tuple(dict.fromkeys((*self.tags, *control.tags))))

    @property
    def oldest(self) -> float | None:
        """The age in seconds from which on an answer is a miss; None: no limit."""
        return 0.0 if self.no_cache else self.max_age


NO_CONTROL = CacheControl()
_current: contextvars.ContextVar[CacheControl] = contextvars.ContextVar("tiercache_cache_control", default=NO_CONTROL)


def current() -> CacheControl:
    """Return what holds here."""
    return _current.get()


@contextlib.contextmanager
def cache_control(**said: Any) -> Iterator[CacheControl]:
    """Let something hold for all requests within the block: in this thread, or this task and those that it starts.

    Threads that are started within the block begin without it, unless they run in a copy of the context (as
    `asyncio.to_thread` does). Blocks may stand within each other, and what a call says itself goes before them.

    Args:
        said: `max_age`, `no_cache`, `no_store`, `only_if_cached`, `ttl`, `tags`, `samples`: see `CacheControl`. What
            is left out is as outside of the block.

    Raises:
        ConfigurationError: something has no such value.
    """
    control = current().under(**said)
    token = _current.set(control)
    try:
        yield control
    finally:
        _current.reset(token)


def _truth(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} must be True or False")
    return value
