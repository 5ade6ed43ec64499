"""cashews: `@cache(ttl=…)`, whose protection against stampedes is on by default, and its lock."""

from __future__ import annotations

from typing import Any, ClassVar

import cashews
import library
from library import MISS, Options, Work, answered


class Cache(library.Cache):
    """A `cashews.Cache` set up by URL."""

    def __init__(self, url: str, decorator: dict[str, Any] | None = None, **options: Any) -> None:
        self.cache: Any = cashews.Cache()
        self.backend: Any = self.cache.setup(url, **options)
        decorator = decorator or {}
        self._works: dict[str, Work] = {}

        @self.cache(ttl=60, key="item:{key}", **decorator)
        async def compute(key: str) -> Any:
            return await self._works[key].arun()

        @self.cache(ttl=60, key="tagged:{key}", tags=["{tag}"], **decorator)
        async def compute_tagged(key: str, tag: str) -> Any:
            return await self._works[key].arun()

        @self.cache(ttl=60)
        async def ask(first: Any = None, second: Any = None, **kwargs: Any) -> str:
            return answered(first, second, **kwargs)

        self._compute, self._compute_tagged = compute, compute_tagged
        self.ask = ask  # type: ignore[method-assign]

    async def get(self, key: str) -> Any:  # type: ignore[override]
        return await self.cache.get(f"item:{key}", default=MISS)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:  # type: ignore[override]
        await self.cache.set(f"item:{key}", value, expire=ttl)

    async def delete(self, key: str) -> None:  # type: ignore[override]
        await self.cache.delete(f"item:{key}")

    async def compute(self, key: str, work: Work) -> Any:
        self._works[key] = work
        return await self._compute(key=key)

    async def compute_tagged(self, key: str, work: Work, tag: str) -> Any:
        self._works[key] = work
        return await self._compute_tagged(key=key, tag=tag)

    async def invalidate_tag(self, tag: str) -> None:  # type: ignore[override]
        await self.cache.delete_tags(tag)

    async def clear(self) -> None:  # type: ignore[override]
        await self.cache.clear()

    def held(self) -> int:
        return len(self.backend.store)

    async def lose_memory(self) -> None:  # type: ignore[override]
        await self.backend._local_cache.clear()

    async def close(self) -> None:  # type: ignore[override]
        await self.cache.close()


_LOCK = {"decorator": {"lock": True, "protected": False}}


class Cashews(library.Library):
    """Its compute rows run with the default protection, and with the lock in place of it."""

    name = "cashews"
    distribution = "cashews"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "compute": {"@cache(ttl)": {}, "@cache(ttl, lock=True, protected=False)": _LOCK},
        "callers": {"@cache(ttl)": {}, "@cache(ttl, lock=True)": {"decorator": {"lock": True}}},
        "leader": {"@cache(ttl)": {}, "@cache(ttl, lock=True)": {"decorator": {"lock": True}}},
        "memory": {"mem://": {}, "mem:// with pickle_type=default": {"pickle_type": "default"}},
        "dead": {"redis://": {}, "socket_timeout=0.1": {"socket_timeout": 0.1}},
        "missed": {"client_side=True": {}, "client_side=True, suppress=False": {"suppress": False}},
        "stored": {"redis://": {}, "secret, digestmod=sha256": {"secret": "a secret", "digestmod": "sha256"}},
        "pickle": {"redis://": {}, "secret, digestmod=sha256": {"secret": "a secret", "digestmod": "sha256"}},
    }
    collisions: ClassVar[list[tuple[library.Request, library.Request]]] = [
        ((("x:second:y", "z"), {}), (("x", "y:second:z"), {})),
    ]

    def memory(self, **options: Any) -> library.Cache:
        return Cache("mem://?size=100000", **options)

    def redis(self, url: str, **options: Any) -> library.Cache:
        return Cache(url, **options)

    def tiers(self, url: str, timeout: float | None = None, **options: Any) -> library.Cache:
        return Cache(url, client_side=True, **({"socket_timeout": timeout} if timeout else {}), **options)

    def tasks(self, **options: Any) -> library.Cache:
        return self.memory(**options)


LIBRARY = Cashews()
