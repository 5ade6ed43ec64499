"""`Cache.compact` and `Cache.sweep` reach packed tiers, and compaction knows what the cache has invalidated."""

from __future__ import annotations

import pytest

from tests.packed.histories import records
from tests.packed.objects import packed
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError


def filled(objects, namespace="n"):
    tier = packed(objects)
    cache = Cache(TierChain(MemoryBackend("1MiB"), tier), namespace=namespace)
    for number in range(4):
        cache.set(f"{number}", b"value %d" % number, tags=["red"] if number % 2 else [])
        tier.flush()
    return cache


def stored(objects):
    return sorted(key for key, at, _ in records(objects) if at.length)


def test_entries_of_a_tag_that_was_invalidated_lose_their_bytes(objects):
    with filled(objects) as cache:
        cache.invalidate_tags(["red"])
        told = []
        reports = cache.compact(progress=lambda tier, report: told.append(tier))
        assert [report.written for report in reports.values()] == [1]
        assert set(told) == set(reports)
        assert stored(objects) == ["n:0", "n:2"]
        assert cache.get("0") == b"value 0"
        assert cache.get("1") is None


async def test_entries_of_other_namespaces_stay_and_it_can_be_awaited(objects):
    filled(objects, "other").close()
    with filled(objects) as cache:
        cache.clear()
        await cache.acompact()
    assert stored(objects) == [f"other:{number}" for number in range(4)]


def test_a_sweep_reaches_packed_tiers(objects):
    with filled(objects) as cache:
        for number in range(4):
            cache.set(f"{number}", b"again")
        cache.chain.tiers[1].backend.flush()
        [report] = cache.sweep().values()
    assert (report.examined, report.deleted) == (5, 4)


def test_a_tier_that_fails_is_left_out(objects):
    with filled(objects) as cache:

        def fail(call, name):
            if call == "list_page":
                raise BackendUnavailable("down")

        objects.before = fail
        assert cache.compact() == {}
        objects.before = lambda call, name: None


def test_a_budget_that_allows_nothing_is_refused(objects):
    with filled(objects) as cache, pytest.raises(ConfigurationError, match="max_requests"):
        cache.compact(max_requests=1)
