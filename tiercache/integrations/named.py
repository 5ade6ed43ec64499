"""Names of entries in collections: what stores of keys and values call a set of keys that are listed together.

The libraries' own keys may be whole texts, of any length, which have no place in the names of objects: an entry is
named by a digest, and holds its key, which is compared when it is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any
from urllib.parse import quote

from ..errors import ConfigurationError
from ..keys import digest

_AT_A_TIME = 256


class Names:
    """The names of one adapter's entries in a cache.

    Args:
        adapter: what they begin with.
        namespace: keeps stores apart that would use the same keys for different things.
        why: what the namespace stands for, for the message to those who gave none.

    Raises:
        ConfigurationError: there is no namespace.
    """

    __slots__ = ("_start",)

    def __init__(self, adapter: str, namespace: str, why: str) -> None:
        if not isinstance(namespace, str) or not namespace:
            raise ConfigurationError(f"namespace must be a text that names {why}")
        self._start = f"{adapter}:{_quoted(namespace)}:"

    def prefix(self, collection: str) -> str:
        """Return what the names in a collection begin with, and no others do."""
        return f"{self._start}{_quoted(collection)}:"

    def name(self, collection: str, key: str) -> str:
        """Return the name of an entry."""
        return f"{self.prefix(collection)}{digest(key)}"


def _quoted(text: str) -> str:
    """Return a text without colons; a long one by its digest."""
    quoted = quote(text, safe="/ ", errors="surrogatepass")
    return quoted if len(quoted) <= 200 else f"{quoted[:100]}!{digest(text)}"


def record(key: str, value: Any) -> dict[str, Any]:
    """Return what is stored under the name of a key."""
    return {"key": key, "value": value}


def is_record(found: Any, key: str | None = None) -> bool:
    """Whether it is what is stored under the name of a key (of this one)."""
    if not isinstance(found, dict) or found.keys() != {"key", "value"} or not isinstance(found["key"], str):
        return False
    return key is None or found["key"] == key


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names in lists of as many as are read at a time."""
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == _AT_A_TIME:
            yield batch
            batch = []
    yield batch


async def abatches(names: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    """`batches`, to iterate with `async for`."""
    batch: list[str] = []
    async for name in names:
        batch.append(name)
        if len(batch) == _AT_A_TIME:
            yield batch
            batch = []
    yield batch
