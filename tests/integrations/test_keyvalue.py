"""`KeyValueStore` as py-key-value's own stores behave: what its users, and its wrappers and adapters, rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("key_value.aio")

from key_value.aio.adapters.pydantic import PydanticAdapter
from key_value.aio.errors import InvalidTTLError, SerializationError, StoreConnectionError
from key_value.aio.protocols.key_value import AsyncKeyValue
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.wrappers.fallback import FallbackWrapper
from key_value.aio.wrappers.prefix_keys import PrefixKeysWrapper
from pydantic import AnyHttpUrl, BaseModel

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.integrations.keyvalue import KeyValueStore
from tiercache.testing import FaultyBackend, Rule


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[Cache]:
    clock.now = datetime.now(UTC).timestamp()  # the library has a clock of its own
    with Cache(TierChain(MemoryBackend(clock=clock), Tier(RemoteBackend(clock)), clock=clock)) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> KeyValueStore:
    return KeyValueStore(cache, namespace="test")


def test_it_is_one_of_theirs(store: KeyValueStore) -> None:
    assert isinstance(store, AsyncKeyValue)


async def test_what_is_not_there_is_none(store: KeyValueStore) -> None:
    assert await store.get("k", collection="c") is None
    assert await store.ttl("k", collection="c") == (None, None)
    assert await store.get_many(["k", "l"]) == [None, None]
    assert await store.delete("k") is False
    assert await store.delete_many(["k", "l"]) == 0


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"text": "Grüße ✓ 😀", "empty": ""},
        {"int": 2**80, "negative": -1, "float": 0.1, "yes": True, "none": None},
        {"list": [1, [2, {"three": 3}]], "dict": {"a": {"b": {}}}},
        {"large": "x" * 1_000_000, "many": list(range(10_000))},
    ],
    ids=["empty", "text", "scalars", "nested", "large"],
)
async def test_a_value_comes_back_equal(store: KeyValueStore, value: dict[str, Any]) -> None:
    await store.put("k", value)
    assert await store.get("k") == value
    assert await store.get_many(["k"]) == [value]


@pytest.mark.parametrize("value", [{"url": AnyHttpUrl("https://example.org")}, {"now": datetime.now(UTC)}, {"b": b"x"}])
async def test_what_is_no_json_is_refused_in_their_words(store: KeyValueStore, value: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        await store.put("k", value)


async def test_a_value_replaces_another(store: KeyValueStore) -> None:
    for number in (1, 2):
        await store.put("k", {"n": number})
        assert await store.get("k") == {"n": number}


async def test_many_are_put_and_got_in_order(store: KeyValueStore) -> None:
    keys, values = [f"k{n}" for n in range(300)], [{"n": n} for n in range(300)]
    await store.put_many(keys, values, collection="c")
    assert await store.get_many([*reversed(keys), "none", keys[0]], collection="c") == [
        *reversed(values),
        None,
        values[0],
    ]
    assert await store.delete_many([*keys, "none"], collection="c") == 300
    assert await store.get_many(keys, collection="c") == [None] * 300


async def test_lists_of_unequal_length_are_refused(store: KeyValueStore) -> None:
    with pytest.raises(ValueError, match="different number"):
        await store.put_many(["a", "b"], [{}])


async def test_a_value_is_deleted_once(store: KeyValueStore) -> None:
    await store.put("k", {})
    assert await store.delete("k") is True
    assert await store.delete("k") is False


@pytest.mark.parametrize("name", ["c" * 5000, "c!@#$%^&*()/:☃", "a:b", " "])
async def test_keys_and_collections_may_be_any_text(store: KeyValueStore, name: str) -> None:
    await store.put(name, {"v": 1}, collection=name)
    assert await store.get(name, collection=name) == {"v": 1}
    assert await store.keys(collection=name) == [name]


async def test_collections_do_not_meet(store: KeyValueStore) -> None:
    for collection in ("a", "a:", "a:b", "b"):
        await store.put("k", {"of": collection}, collection=collection)
    await store.put("k", {"of": "default"})
    for collection in ("a", "a:", "a:b", "b"):
        assert await store.get("k", collection=collection) == {"of": collection}
        assert await store.keys(collection=collection) == ["k"]
    assert await store.get("k") == {"of": "default"}


async def test_namespaces_do_not_meet(cache: Cache) -> None:
    one, other = KeyValueStore(cache, namespace="one"), KeyValueStore(cache, namespace="other")
    await one.put("k", {"v": 1})
    assert await other.get("k") is None
    assert await other.keys() == []


def test_there_is_no_store_without_a_namespace(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match="names whose values they are"):
        KeyValueStore(cache, namespace="")


async def test_keys_are_listed(store: KeyValueStore) -> None:
    await store.put_many(["a", "b", "c"], [{}, {}, {}], collection="c")
    assert sorted(await store.keys(collection="c")) == ["a", "b", "c"]
    assert len(await store.keys(collection="c", limit=2)) == 2


async def test_a_collection_is_destroyed(store: KeyValueStore) -> None:
    await store.put_many(["a", "b"], [{}, {}], collection="c")
    await store.put("a", {}, collection="d")
    assert await store.destroy_collection("c")
    assert not await store.destroy_collection("c")
    assert await store.get_many(["a", "b"], collection="c") == [None, None]
    assert await store.get("a", collection="d") == {}


async def test_a_ttl_is_kept_and_told(store: KeyValueStore, clock: FakeClock) -> None:
    await store.put("k", {"v": 1}, ttl=100)
    await store.put_many(["l"], [{"v": 2}], ttl=100)
    value, ttl = await store.ttl("k")
    assert value == {"v": 1}
    assert ttl == pytest.approx(100, abs=20)
    assert (await store.ttl_many(["k", "l", "none"]))[2] == (None, None)
    clock.advance(99)
    assert await store.get_many(["k", "l"]) == [{"v": 1}, {"v": 2}]
    clock.advance(2)
    assert await store.get_many(["k", "l"]) == [None, None]
    assert await store.get("k") is None


async def test_without_a_ttl_a_value_lives_as_long_as_the_cache_says(clock: FakeClock) -> None:
    with Cache(MemoryBackend(clock=clock), ttl="1m", clock=clock) as cache:
        store = KeyValueStore(cache, namespace="n")
        await store.put("k", {})
        assert await store.ttl("k") == ({}, None)
        clock.advance(61)
        assert await store.get("k") is None


@pytest.mark.parametrize("ttl", [0, -100, True])
async def test_a_ttl_that_is_none_is_refused(store: KeyValueStore, ttl: Any) -> None:
    with pytest.raises(InvalidTTLError):
        await store.put("k", {}, ttl=ttl)


async def test_what_expired_on_its_way_removes_what_was_there(store: KeyValueStore) -> None:
    from key_value.aio.stores.base import ManagedEntry

    await store.put("k", {})
    past = datetime.fromtimestamp(0, UTC)
    await store._put_managed_entry(
        collection=store.default_collection, key="k", managed_entry=ManagedEntry(value={"v": 1}, expires_at=past)
    )
    assert await store.get("k") is None


async def test_many_tasks_use_it_at_once(store: KeyValueStore) -> None:
    async def work(worker: int) -> None:
        for number in range(5):
            key = f"{worker} {number}"
            assert await store.get(key) is None
            await store.put(key, {"n": number})
            assert await store.get(key) == {"n": number}
            assert await store.delete(key)

    await asyncio.gather(*[work(worker) for worker in range(10)])


async def test_what_others_stored_is_a_miss(store: KeyValueStore, cache: Cache) -> None:
    await store.put("k", {"v": 1})
    (name,) = cache.keys()
    texts = ("[", '{"value": 1}', "[" * 100_000)
    for other in (1, {"key": "l", "value": "{}"}, *({"key": "k", "value": text} for text in texts)):
        cache.set(name, other)
        assert await store.get("k") is None


# With what the library puts around a store.


async def test_models_come_back_through_their_adapter(store: KeyValueStore) -> None:
    class User(BaseModel):
        name: str
        born: datetime

    user = User(name="Ada", born=datetime(1815, 12, 10, tzinfo=UTC))
    users = PydanticAdapter(key_value=PrefixKeysWrapper(store, prefix="user"), pydantic_model=User)
    await users.put("ada", user, ttl=60)
    assert await users.get("ada") == user


async def test_a_tier_that_fails_is_as_none() -> None:
    broken = FaultyBackend(MemoryBackend(), rules=[Rule("unavailable")])
    with Cache(broken) as cache:
        store = KeyValueStore(cache, namespace="n")
        await store.put("k", {})
        await store.put_many(["k"], [{}])
        assert await store.get("k") is None
        assert await store.get_many(["k"]) == [None]
        assert await store.keys() == []
        assert await store.delete("k") is False


async def test_a_strict_cache_fails_in_their_words() -> None:
    broken = FaultyBackend(MemoryBackend(), rules=[Rule("unavailable")])
    with Cache(TierChain(Tier(broken, name="broken"), strict=True)) as cache:
        store = KeyValueStore(cache, namespace="n")
        with pytest.raises(StoreConnectionError):
            await store.put("k", {})
        with pytest.raises(StoreConnectionError):
            await store.get("other")
        fallback = FallbackWrapper(primary_key_value=store, fallback_key_value=MemoryStore())
        assert await fallback.get("k") is None
