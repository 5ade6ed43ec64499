"""The peers' memory caches, each filled with the same values and asked in its own documented way.

A peer that is not installed, or that no longer works as it did, is left out and reported, never an error.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Get = Callable[[str], Any]
AGet = Callable[[str], Awaitable[Any]]
Values = Mapping[str, Any]


def ordered_dict(values: Values) -> Get:
    """What an LRU costs at least in Python: `get` and `move_to_end`, no expiry, no counters."""
    table = OrderedDict(values)
    find, touch = table.get, table.move_to_end

    def get(key: str) -> Any:
        value = find(key)
        if value is not None:
            touch(key)
        return value

    return get


def cachetools_lru(values: Values) -> Get:
    import cachetools

    cache: Any = cachetools.LRUCache(maxsize=len(values))
    cache.update(values)
    return cache.get  # type: ignore[no-any-return]


def cachetools_ttl(values: Values) -> Get:
    import cachetools

    cache: Any = cachetools.TTLCache(maxsize=len(values), ttl=3600)
    cache.update(values)
    return cache.get  # type: ignore[no-any-return]


def cachebox_lru(values: Values) -> Get:
    import cachebox

    cache: Any = cachebox.LRUCache(len(values))
    for key, value in values.items():
        cache[key] = value
    return cache.get  # type: ignore[no-any-return]


def cachebox_vttl(values: Values) -> Get:
    import cachebox

    cache: Any = cachebox.VTTLCache(len(values))
    for key, value in values.items():
        cache.insert(key, value, 3600)
    return cache.get  # type: ignore[no-any-return]


def litellm_dual(values: Values) -> Get:
    return _dual_cache(values).get_cache  # type: ignore[no-any-return]


async def litellm_dual_async(values: Values) -> AGet:
    return _dual_cache(values).async_get_cache  # type: ignore[no-any-return]


def _dual_cache(values: Values) -> Any:
    from litellm.caching.dual_cache import DualCache
    from litellm.caching.in_memory_cache import InMemoryCache

    cache = DualCache(InMemoryCache(max_size_in_memory=len(values) + 1, default_ttl=3600))
    for key, value in values.items():
        cache.set_cache(key, value)
    return cache


async def cashews_memory(values: Values) -> AGet:
    import cashews

    cache: Any = cashews.Cache()
    cache.setup(f"mem://?size={len(values) + 1}")
    for key, value in values.items():
        await cache.set(key, value, expire=3600)
    return cache.get  # type: ignore[no-any-return]


async def aiocache_memory(values: Values) -> AGet:
    import aiocache

    cache: Any = aiocache.SimpleMemoryCache()
    for key, value in values.items():
        await cache.set(key, value)
    return cache.get  # type: ignore[no-any-return]


async def key_value_memory(values: Values) -> AGet:
    """Its values are JSON objects, so each is wrapped in one, bytes as text."""
    from key_value.aio.stores.memory import MemoryStore

    cache: Any = MemoryStore(max_entries_per_collection=len(values) + 1)
    for key, value in values.items():
        await cache.put(key, {"value": value.decode() if isinstance(value, bytes) else value})
    return cache.get  # type: ignore[no-any-return]


SYNC: dict[str, Callable[[Values], Get]] = {
    "OrderedDict": ordered_dict,
    "cachebox LRU": cachebox_lru,
    "cachebox VTTL": cachebox_vttl,
    "cachetools LRU": cachetools_lru,
    "cachetools TTL": cachetools_ttl,
    "LiteLLM DualCache": litellm_dual,
}
ASYNC: dict[str, Callable[[Values], Awaitable[AGet]]] = {
    "LiteLLM DualCache (async)": litellm_dual_async,
    "cashews": cashews_memory,
    "aiocache": aiocache_memory,
    "py-key-value": key_value_memory,
}
MODULES = {"key_value": "py-key-value-aio"} | {
    name: name for name in ("litellm", "cashews", "aiocache", "diskcache", "cachetools", "cachebox")
}


def missing() -> dict[str, str]:
    """Return the peers that cannot be imported, and why."""
    reasons = {}
    for module, name in MODULES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(module)
        except Exception as error:
            reasons[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return reasons


def fill(values: Values) -> dict[str, Get]:
    """Return the blocking peers that are there, filled."""
    found = {}
    for name, make in SYNC.items():
        try:
            get = make(values)
            _expect(get(next(iter(values))), values)
        except Exception as error:
            _report(name, error)
        else:
            found[name] = get
    return found


async def afill(values: Values) -> dict[str, AGet]:
    """Return the asynchronous peers that are there, filled."""
    found = {}
    for name, make in ASYNC.items():
        try:
            get = await make(values)
            _expect(await get(next(iter(values))), values)
        except Exception as error:
            _report(name, error)
        else:
            found[name] = get
    return found


def _expect(got: Any, values: Values) -> None:
    wanted = next(iter(values.values()))
    if got not in (wanted, {"value": wanted}, {"value": wanted.decode() if isinstance(wanted, bytes) else wanted}):
        raise LookupError("it does not give back what was stored")


def _report(name: str, error: Exception) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name} is left out: {type(error).__name__}: {error}")
