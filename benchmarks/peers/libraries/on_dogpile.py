"""dogpile.cache: `get_or_create`, whose mutex is always on."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import library
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.util import kwarg_function_key_generator
from library import MISS, NotOfferedError, Options, Work, answered


class Cache(library.Cache):
    """A region. Its time to live is the region's, looked at when a value is read."""

    def __init__(self, backend: str, region: dict[str, Any] | None = None, **arguments: Any) -> None:
        self.arguments = arguments
        self.region = make_region(**(region or {}))
        self.region.configure(backend, expiration_time=60, arguments=arguments)
        self._ask = self.region.cache_on_arguments()(answer)

    def get(self, key: str) -> Any:
        value = self.region.get(key)
        return MISS if value is NO_VALUE else value

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        if ttl is not None:
            self.region.expiration_time = ttl
        self.region.set(key, value)

    def delete(self, key: str) -> None:
        self.region.delete(key)

    def compute(self, key: str, work: Work) -> Any:
        return self.region.get_or_create(key, work.run)

    def ask(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._ask(*args, **kwargs)
        except ValueError as error:
            raise NotOfferedError("its default key generator takes no keyword arguments, and says so") from error

    def clear(self) -> None:
        self.region.invalidate()

    def held(self) -> int:
        return len(self.region.actual_backend._cache)


def answer(first: Any = None, second: Any = None) -> str:
    return answered(first, second)


_JSON = {"region": {"serializer": lambda value: json.dumps(value).encode(), "deserializer": json.loads}}


class Dogpile(library.Library):
    """Its Redis backend pickles unless it is given a serializer."""

    name = "dogpile.cache"
    distribution = "dogpile.cache"
    settings: ClassVar[dict[str, dict[str, Options]]] = {
        "memory": {"memory": {}, "memory_pickle": {"backend": "dogpile.cache.memory_pickle"}},
        "dead": {"redis": {}, "socket_timeout=0.1": {"socket_timeout": 0.1}},
        "keys": {
            "cache_on_arguments()": {},
            "kwarg_function_key_generator": {"region": {"function_key_generator": kwarg_function_key_generator}},
        },
        "stored": {"redis (pickle)": {}, "redis, serializer=json": _JSON},
        "pickle": {"redis (pickle)": {}, "redis, serializer=json": _JSON},
    }
    ttl_is_the_regions = True
    pickle_frame = staticmethod(lambda data: b'{"ct": 9e9, "v": 2}|' + data)

    def memory(self, backend: str = "dogpile.cache.memory", **options: Any) -> library.Cache:
        return Cache(backend, **options)

    def redis(self, url: str, **options: Any) -> library.Cache:
        return Cache("dogpile.cache.redis", url=url, **options)

    def threads(self) -> library.Cache:
        return self.memory()


LIBRARY = Dogpile()
