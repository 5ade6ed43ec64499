"""LiteLLM: `DualCache` where a row stores, `litellm.acompletion` with its cache where a row computes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar
from urllib.parse import urlsplit

import library
import litellm
from library import MISS, NotOfferedError, Options, Work, answered
from litellm.caching.dual_cache import DualCache
from litellm.caching.in_memory_cache import InMemoryCache
from litellm.caching.redis_cache import RedisCache

logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
litellm.suppress_debug_info = True


class Store(library.Cache):
    """One of its stores."""

    def __init__(self, store: Any) -> None:
        self.store = store

    async def get(self, key: str) -> Any:  # type: ignore[override]
        found = await self.store.async_get_cache(key)
        return MISS if found is None else found

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:  # type: ignore[override]
        await self.store.async_set_cache(key, value, **({} if ttl is None else {"ttl": ttl}))

    async def delete(self, key: str) -> None:  # type: ignore[override]
        if hasattr(self.store, "async_delete_cache"):
            await self.store.async_delete_cache(key)
        else:
            self.store.delete_cache(key)

    def held(self) -> int:
        return len(self.store.cache_dict)

    async def lose_memory(self) -> None:  # type: ignore[override]
        self.store.in_memory_cache.flush_cache()

    async def close(self) -> None:  # type: ignore[override]
        redis = self.store if isinstance(self.store, RedisCache) else getattr(self.store, "redis_cache", None)
        if redis is not None:
            await redis.disconnect()


class _Provider(litellm.CustomLLM):
    """A model that does a row's work, or answers with its own request."""

    works: ClassVar[dict[str, Work]] = {}

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        prompt, response = kwargs["messages"][0]["content"], kwargs["model_response"]
        asked = sorted(kwargs["optional_params"].items())
        text = await self.works[prompt].arun() if prompt in self.works else answered(kwargs["model"], prompt, asked)
        response.choices[0].message.content = text
        return response

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        prompt, response = kwargs["messages"][0]["content"], kwargs["model_response"]
        response.choices[0].message.content = self.works[prompt].run()
        return response


class Completions(library.Cache):
    """Chat completions, cached in memory."""

    def __init__(self) -> None:
        litellm.custom_provider_map = [{"provider": "peers", "custom_handler": _Provider()}]
        litellm.cache = litellm.Cache(type="local")  # type: ignore[arg-type]
        self._keys: dict[str, str] = {}

    async def compute(self, key: str, work: Work) -> Any:
        _Provider.works[key] = work
        answer = await litellm.acompletion(**self._request(key))
        await asyncio.sleep(0.05)  # it stores in a task that it does not wait for
        return answer.choices[0].message.content

    async def delete(self, key: str) -> None:  # type: ignore[override]
        memory: Any = litellm.cache.cache  # type: ignore[union-attr]
        if key not in self._keys:
            raise LookupError("ask for this key once before it is deleted: LiteLLM tells the key with the answer")
        memory.delete_cache(self._keys[key])

    def clear(self) -> None:
        litellm.cache.cache.flush_cache()  # type: ignore[union-attr]

    async def learn(self, key: str) -> None:
        """Find out the key of a request: it comes with the answer."""
        _Provider.works[key] = Work(lambda: "an answer to learn the key from")
        answer = await litellm.acompletion(**self._request(key))
        await asyncio.sleep(0.05)
        (self._keys[key],) = set(litellm.cache.cache.cache_dict) - set(self._keys.values())  # type: ignore[union-attr]
        del answer
        await self.delete(key)

    async def ask(self, **request: Any) -> Any:
        answer = await litellm.acompletion(**request)
        await asyncio.sleep(0.05)
        return answer.choices[0].message.content

    def _request(self, key: str) -> dict[str, Any]:
        return {"model": "peers/model", "messages": [{"role": "user", "content": key}], "caching": True}


class BlockingCompletions(Completions):
    """The same from threads."""

    def compute(self, key: str, work: Work) -> Any:  # type: ignore[override]
        _Provider.works[key] = work
        return litellm.completion(**self._request(key)).choices[0].message.content


_TWO_REQUESTS = (
    {"model": "peers/m", "messages": [{"role": "user", "content": "hi"}], "user": "ann", "stop": "b"},
    {"model": "peers/m", "messages": [{"role": "user", "content": "hi"}], "user": "annstop: b"},
)


class LiteLLM(library.Library):
    """The key of a request is made of its fields; values are responses."""

    name = "LiteLLM"
    distribution = "litellm"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "dead": {"RedisCache": {}, "socket_timeout=0.1": {"socket_timeout": 0.1}},
    }
    least_ttl = 1.0  # RedisCache takes whole seconds
    collisions: ClassVar[list[tuple[library.Request, library.Request]]] = [
        (((), _TWO_REQUESTS[0]), ((), _TWO_REQUESTS[1])),
    ]
    own_requests_only = True
    keyword_request: ClassVar[dict[str, Any]] = {
        "model": "peers/m",
        "messages": [{"role": "user", "content": "hi"}],
        "user": "ann",
        "stop": "b",
    }

    def memory(self, computing: bool = False, **options: Any) -> library.Cache:
        return Completions() if computing else Store(InMemoryCache(max_size_in_memory=100_000))

    def redis(self, url: str, **options: Any) -> library.Cache:
        return Store(_redis(url, **options))

    def tiers(self, url: str, timeout: float | None = None, **options: Any) -> library.Cache:
        return Store(DualCache(InMemoryCache(), _redis(url, **options)))

    def tasks(self, **options: Any) -> library.Cache:
        return Completions()

    def threads(self, **options: Any) -> library.Cache:
        return BlockingCompletions()

    def keyed(self, bench: Any) -> library.Cache:
        return bench.open(self.tasks)  # type: ignore[no-any-return]

    def mixed(self) -> tuple[library.Cache, library.Cache]:
        raise NotOfferedError("it shares no computations: the rows of tasks and of threads say what it does")


def _redis(url: str, **options: Any) -> RedisCache:
    where = urlsplit(url)
    return RedisCache(host=where.hostname, port=where.port, **options)


LIBRARY = LiteLLM()
