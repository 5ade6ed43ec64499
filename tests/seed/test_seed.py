"""What the ancestor's own tests promised of its cache of memory, kept under today's names."""

from __future__ import annotations

import pytest

from tiercache import Cache, EvictionPolicy, MemoryBackend
from tiercache.llm import CacheKeyBuilder, LLMCache, chat_key


@pytest.fixture
def cache():
    with Cache(MemoryBackend(max_entries=100), ttl=3600) as cache:
        yield cache


def test_a_value_is_set_with_a_ttl_read_deleted_and_then_a_miss(cache):
    cache.set("key1", "value1", ttl=60)
    assert cache.get("key1") == "value1"
    assert cache.delete("key1") is True
    assert cache.get("key1") is None


def test_a_memory_of_100_entries_holds_50_with_their_values(cache):
    for number in range(50):
        cache.set(f"key{number}", f"value{number}")
    assert len(cache.chain.memory) == 50
    assert [cache.get(f"key{number}") for number in range(50)] == [f"value{number}" for number in range(50)]


def test_a_chat_request_has_the_same_key_twice_and_it_tells_the_model():
    request = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.7}
    assert chat_key(request) == chat_key(dict(reversed(request.items())))
    assert chat_key(request).startswith("chat:gpt-4:")


def test_a_miss_a_write_and_a_hit_are_one_hit_and_one_miss_of_memory(cache):
    assert cache.get("key") is None
    cache.set("key", "value")
    assert cache.get("key") == "value"
    stats = cache.stats()
    assert (stats.tiers["memory"].hits, stats.tiers["memory"].misses) == (1, 1)
    assert stats.hit_rate > 0
    assert stats.tiers["memory"].hit_rate > 0


def test_a_key_that_is_built_starts_with_its_prefix():
    assert CacheKeyBuilder("test").with_part("part").add_num(3).build().startswith("test:")


def test_the_policies_print_as_their_short_names():
    policies = [EvictionPolicy.LRU, EvictionPolicy.LFU, EvictionPolicy.TTL, EvictionPolicy.FIFO]
    assert [f"{policy}" for policy in policies] == ["lru", "lfu", "ttl", "fifo"]


def test_size_ttl_and_policy_are_configured_and_take_effect(clock):
    memory = MemoryBackend(max_entries=5000, eviction=EvictionPolicy.LFU, clock=clock)
    cache = Cache(memory, ttl=1800, clock=clock)
    assert (memory.max_entries, memory.eviction, cache.ttl) == (5000, EvictionPolicy.LFU, 1800)
    cache.set("used", 1)
    for _ in range(3):
        cache.get("used")
    for number in range(5000):
        cache.set(str(number), number)
    assert len(memory) == 5000
    assert cache.get("used") == 1
    assert cache.lookup("used").ttl == 1800
    clock.advance(1800)
    assert cache.get("used") is None


def test_an_llm_cache_of_memory_misses_stores_a_chat_answer_and_then_has_it():
    request = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
    message = {"role": "assistant", "content": "Hi"}
    answer = {"id": "response-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    with LLMCache.memory_only() as llm:
        assert llm.get_chat(request) is None
        llm.set_chat(request, answer)
        assert llm.get_chat(request)["id"] == "response-1"
