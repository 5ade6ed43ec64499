"""What a caller says about one request, or about all requests within a `with` block."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..options import OWN, age_limit, checked_tags, given
from ..units import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheControl:
    """What HTTP calls Cache-Control, for one request.

    Attributes:
        max_age: seconds; an answer that was made longer ago is a miss. None: any age within its ttl.
        no_cache: ask the provider in any case, and store its answer.
        no_store: do not store the answer. (One that is there already may still be served; with `no_cache` the
            request passes the cache by.)
        only_if_cached: never ask the provider.
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
        """Check what a caller says. Raises ConfigurationError."""
        return cls(
            max_age=age_limit(max_age),
            no_cache=no_cache,
            no_store=no_store,
            only_if_cached=only_if_cached,
            ttl=given(ttl, OWN, "ttl"),
            tags=checked_tags(tags),
            samples=samples,
        )

    def under(self, **said: Any) -> CacheControl:
        """Return this with what a call says itself on top; tags add up."""
        tags = (*self.tags, *checked_tags(said.pop("tags", ())))
        return replace(self, **_given(CacheControl.of(**said), said), tags=tuple(dict.fromkeys(tags)))

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
    """Let something hold for all requests within the block, in this thread or task and those that it starts.

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


def _given(control: CacheControl, said: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(control, name) for name in said}
