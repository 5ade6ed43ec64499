"""Contract cases of object stores: the largest payload that a backend takes, alone and in a chain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from ..cache import Cache
from ..chain import TierChain
from ..errors import EntryTooLarge
from ..memory import MemoryBackend
from ..objectstore import ObjectStoreBackend
from ..stats import TierStats
from ..tier import Tier
from .contract_object_hooks import ObjectStoreHooks


class LimitCases(ObjectStoreHooks):
    """`max_entry_bytes`: what is larger stays out, and is counted."""

    def test_the_largest_payload_is_written_and_read_with_one_request_each(self, backend: ObjectStoreBackend) -> None:
        key, payload = self.key(), os.urandom(backend.max_entry_bytes)
        self.store(backend, key)
        with self.sent(backend) as requests:
            assert backend.put(key, self.entry(key, payload)) is True
        assert len(requests) == 1
        with self.sent(backend) as requests:
            got = backend.get(key)
        assert len(requests) == 1
        assert got is not None
        assert got.payload == payload

    @pytest.mark.parametrize("condition", [{}, {"if_absent": True}, {"if_match": "version"}], ids=str)
    def test_a_larger_payload_is_refused_before_any_request(
        self, backend: ObjectStoreBackend, condition: dict[str, Any]
    ) -> None:
        key = self.key()
        self.store(backend, key)
        too_large = self.entry(key, bytes(backend.max_entry_bytes + 1))
        with self.sent(backend) as requests, pytest.raises(EntryTooLarge, match="max_entry_bytes"):
            backend.put(key, too_large, **condition)
        assert requests == []
        assert self.payload(backend, key) == key.encode()

    def test_in_a_chain_a_larger_entry_skips_the_tier_and_is_counted(self, backend: ObjectStoreBackend) -> None:
        with self.chained(backend, 1000) as cache:
            cache.set("large", bytes(2000))
            cache.set("small", b"small")
            assert cache.get("large") == bytes(2000)
            counted = self.counted(cache)
            assert (counted.skipped, counted.puts) == (1, 1)
            assert counted.errors == {}
            assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, "ns:small")]

    def test_in_a_chain_the_larger_entries_of_a_batch_skip_the_tier(self, backend: ObjectStoreBackend) -> None:
        with self.chained(backend, 1000) as cache:
            values = {"one": bytes(2000), "two": b"small", "three": bytes(3000)}
            cache.set_many(values)
            assert cache.get_many(values) == values
            assert (self.counted(cache).skipped, self.counted(cache).puts) == (2, 1)
            assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, "ns:two")]

    def test_in_a_chain_a_larger_entry_removes_the_smaller_one_that_it_replaces(
        self, backend: ObjectStoreBackend
    ) -> None:
        with self.chained(backend, 1000) as cache:
            cache.set("k", b"small")
            cache.set("k", bytes(2000))
            assert cache.get("k") == bytes(2000)
            assert self.raw_names(backend, backend.prefix) == []

    @contextmanager
    def chained(self, backend: ObjectStoreBackend, limit: int) -> Iterator[Cache]:
        """Yield a cache in memory and in the store, which takes so many bytes an entry."""
        small = self.sibling(backend, backend.prefix)
        small.max_entry_bytes = limit
        chain = TierChain(MemoryBackend(clock=self.now), Tier(small, name="store"), clock=self.now)
        with closing(Cache(chain, namespace="ns")) as cache:
            yield cache

    def counted(self, cache: Cache) -> TierStats:
        """Return the counters of the store's tier."""
        return cache.stats().tiers["store"]
