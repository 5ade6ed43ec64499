"""What those who build on a `Cache` are given: a cache, and a scope that means what it says. Slips are told at once."""

from __future__ import annotations

from typing import Any

from .cache import Cache
from .errors import ConfigurationError

AUTH = "auth"
SHARED = "shared"


def cache_given(cache: Any) -> Cache:
    """Return the cache.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(cache, Cache):
        return cache
    inner = getattr(cache, "cache", None)
    way = "give its .cache" if isinstance(inner, Cache) else "make one of it: Cache(…)"
    raise ConfigurationError(f"cache must be a Cache, not a {type(cache).__name__}; {way}")


def check_slip(scope: Any) -> None:
    """Refuse what was meant as one of the words that have a meaning, and would be the name of one tenant instead.

    Raises:
        ConfigurationError: `"Auth"`, say: all callers would share their answers.
    """
    meant = scope.strip().lower() if isinstance(scope, str) else None
    if meant in (AUTH, SHARED) and scope != meant:
        raise ConfigurationError(f"scope={scope!r} would be one tenant for all callers; write {meant!r}")
