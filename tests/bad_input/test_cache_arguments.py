"""Wrong arguments: each is a clear error that says what to do and tells no key and no value; nothing stored is lost."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import math
import traceback
from datetime import timedelta

import numpy as np
import pytest

from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.errors import (
    BackendUnavailable,
    CacheClosed,
    ConfigurationError,
    InvalidKey,
    TiercacheError,
    UncacheableValue,
)

SECRET = "hunter2"


def unused():
    raise AssertionError("the factory must not be called")


@pytest.fixture
def cache(clock, tmp_path):
    """A cache on memory and disk with a value under `key`, which must still be in both when the test is over."""
    chain = TierChain(MemoryBackend(clock=clock), DiskBackend(tmp_path / "c.sqlite3", clock=clock), clock=clock)
    with Cache(chain, namespace="n") as cache:
        cache.set("key", b"stored before", ttl="1h", tags=["t"])
        before = [tier.backend.get("n:key") for tier in chain.tiers]
        yield cache
        assert [tier.backend.get("n:key") for tier in chain.tiers] == before
        assert [entry.payload for entry in before] == [b"stored before"] * 2
        assert all(not tier.errors for tier in cache.stats().tiers.values())


def no_secret(error):
    """Whether what ends up in a log, the error and all that is shown of its causes, keeps the secret."""
    return SECRET not in "".join(traceback.format_exception(error))


WITH_A_KEY = {
    "get": lambda cache, key: cache.get(key),
    "lookup": lambda cache, key: cache.lookup(key),
    "set": lambda cache, key: cache.set(key, 1),
    "get_or_set": lambda cache, key: cache.get_or_set(key, unused),
    "delete": lambda cache, key: cache.delete(key),
    "contains": lambda cache, key: cache.contains(key),
    "metadata": lambda cache, key: cache.metadata(key),
    "touch": lambda cache, key: cache.touch(key, 60),
    "get_many": lambda cache, key: cache.get_many(["key", key]),
    "get_or_set_many": lambda cache, key: cache.get_or_set_many(["key", key], lambda missing: unused()),
    "lookup_many": lambda cache, key: cache.lookup_many(["key", key]),
    "delete_many": lambda cache, key: cache.delete_many(["key", key]),
    "warm": lambda cache, key: cache.warm(["key", key]),
    "aget": lambda cache, key: cache.aget(key),
    "alookup": lambda cache, key: cache.alookup(key),
    "aset": lambda cache, key: cache.aset(key, 1),
    "aget_or_set": lambda cache, key: cache.aget_or_set(key, unused),
    "adelete": lambda cache, key: cache.adelete(key),
    "acontains": lambda cache, key: cache.acontains(key),
    "ametadata": lambda cache, key: cache.ametadata(key),
    "atouch": lambda cache, key: cache.atouch(key, 60),
    "aget_many": lambda cache, key: cache.aget_many(["key", key]),
    "aget_or_set_many": lambda cache, key: cache.aget_or_set_many(["key", key], lambda missing: unused()),
    "alookup_many": lambda cache, key: cache.alookup_many(["key", key]),
    "adelete_many": lambda cache, key: cache.adelete_many(["key", key]),
    "awarm": lambda cache, key: cache.awarm(["key", key]),
}
WITH_ITEMS = {
    "set_many": lambda cache, items, **options: cache.set_many(items, **options),
    "warm_with": lambda cache, items, **options: cache.warm_with(items, **options),
    "aset_many": lambda cache, items, **options: cache.aset_many(items, **options),
    "awarm_with": lambda cache, items, **options: cache.awarm_with(items, **options),
}
WITH_OPTIONS = {
    "set": lambda cache, **options: cache.set("key", 1, **options),
    "set_many": lambda cache, **options: cache.set_many({"key": 1, "new": 1}, **options),
    "get_or_set": lambda cache, **options: cache.get_or_set("absent", unused, **options),
    "get_or_set_many": lambda cache, **options: cache.get_or_set_many(["absent"], lambda missing: unused(), **options),
    "cached": lambda cache, **options: cache.cached(**options)(unused)(),
    "aset": lambda cache, **options: cache.aset("key", 1, **options),
    "aset_many": lambda cache, **options: cache.aset_many({"key": 1, "new": 1}, **options),
    "aget_or_set": lambda cache, **options: cache.aget_or_set("absent", unused, **options),
    "aget_or_set_many": lambda cache, **options: cache.aget_or_set_many(
        ["absent"], lambda missing: unused(), **options
    ),
}


async def done(operation, *args, **kwargs):
    result = operation(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


# Keys

STRANGE_KEYS = {
    "NUL": "a\0b",
    "parent folder": "..",
    "path out": "../../etc/passwd",
    "root": "/",
    "emoji": "🔑 naïve 日本",
    "newlines": "a\nb\r\n\tc",
    "blank": " ",
    "wildcards": "*?[a]%_",
    "separators": "a:b::c",
    "10 kB": "k" * 10_000,
    "10 kB of Unicode": "é" * 5_000,
    "64 KiB with its namespace": "k" * (65_536 - len("n:")),
    "SQL": "'; DROP TABLE entries; --",
}


@pytest.mark.parametrize("key", STRANGE_KEYS.values(), ids=STRANGE_KEYS)
def test_strange_keys_work_in_every_tier(cache, key):
    cache.set(key, "value")
    cache.chain.memory.delete(f"n:{key}")
    assert cache.get(key) == "value"
    assert key in list(cache.keys())
    assert cache.metadata(key).key.endswith(f":{key}")
    assert cache.delete(key) is True
    assert cache.get(key) is None


BAD_KEYS = {
    "empty": ("", InvalidKey, "must not be empty"),
    "64 KiB without its namespace": (SECRET + "k" * (65_536 - len(SECRET)), InvalidKey, "use a digest"),
    "70 KB": (SECRET * 10_000, InvalidKey, "use a digest"),
    "70 KB of Unicode": (f"{SECRET}é" * 8_000, InvalidKey, "use a digest"),
    "lone surrogate": (f"{SECRET}\ud800", InvalidKey, "valid Unicode"),
    "None": (None, TypeError, "must be a str"),
    "int": (5, TypeError, "must be a str"),
    "float": (math.nan, TypeError, "must be a str"),
    "bytes": (SECRET.encode(), TypeError, "must be a str"),
    "tuple": (("key", SECRET), TypeError, "must be a str"),
    "list": (["key", SECRET], TypeError, "must be a str"),
    "dict": ({"key": SECRET}, TypeError, "must be a str"),
    "array": (np.array(["key", SECRET]), TypeError, "must be a str"),
}


@pytest.mark.parametrize("operation", WITH_A_KEY)
@pytest.mark.parametrize("bad", BAD_KEYS)
async def test_a_bad_key_is_refused_by_every_operation(cache, operation, bad):
    key, kind, advice = BAD_KEYS[bad]
    with pytest.raises(kind, match=advice) as caught:
        await done(WITH_A_KEY[operation], cache, key)
    assert no_secret(caught.value)


@pytest.mark.parametrize("operation", WITH_ITEMS)
@pytest.mark.parametrize("bad", [bad for bad in BAD_KEYS if bad not in ("list", "dict", "array")])
async def test_of_items_with_a_bad_key_none_is_stored(cache, operation, bad):
    key, kind, advice = BAD_KEYS[bad]
    with pytest.raises(kind, match=advice) as caught:
        await done(WITH_ITEMS[operation], cache, {"new": 1, "key": 2, key: 3})
    assert no_secret(caught.value)
    assert cache.get("new") is None


@pytest.mark.parametrize("operation", ["get_many", "lookup_many", "delete_many", "warm"])
@pytest.mark.parametrize("awaited", ["", "a"])
async def test_one_key_in_place_of_a_list_of_keys_is_refused(cache, operation, awaited):
    cache.set_many(dict.fromkeys("key", 1))
    with pytest.raises(TypeError, match="list of str") as caught:
        await done(getattr(cache, awaited + operation), SECRET)
    assert no_secret(caught.value)
    assert cache.get_many(list("key")) == dict.fromkeys("key", 1)


@pytest.mark.parametrize("namespace", ["", "a:b", "a/b", "a b", "é", "a\n", None, 5, ["a"]])
def test_a_bad_namespace_is_refused(namespace):
    with pytest.raises(ConfigurationError, match="letters, digits"):
        Cache(MemoryBackend(), namespace=namespace)


# Values


class Telling:
    """What a repr would betray."""

    def __repr__(self):
        return SECRET

    __str__ = __repr__


def endless():
    value = [SECRET]
    value.append(value)
    return value


BAD_VALUES = {
    "object": Telling,
    "class": lambda: Telling,
    "function": lambda: unused,
    "generator": lambda: (character for character in SECRET),
    "file": lambda: io.StringIO(SECRET),
    "lone surrogate": lambda: f"{SECRET}\ud800",
    "inside": lambda: {"answer": [SECRET, {"choices": (1, Telling())}]},
    "as a key": lambda: {"answer": {Telling(): SECRET}},
    "in a set": lambda: {Telling()},
    "endless": endless,
    "array of objects": lambda: np.array([SECRET, None], dtype=object),
}


@pytest.mark.parametrize("operation", ["set", "aset", "set_many", "aset_many", "warm_with", "awarm_with"])
@pytest.mark.parametrize("bad", BAD_VALUES)
async def test_a_value_that_no_codec_takes_is_refused_and_leaves_the_older_one(cache, operation, bad):
    value = BAD_VALUES[bad]()
    arguments = ("key", value) if operation in ("set", "aset") else ({"new": 1, "key": value},)
    with pytest.raises(UncacheableValue, match="cannot be cached") as caught:
        await done(getattr(cache, operation), *arguments)
    assert isinstance(caught.value, TypeError)
    assert no_secret(caught.value)
    assert cache.get("new") is None


def test_the_error_names_the_place_inside_the_value(cache):
    with pytest.raises(UncacheableValue, match=r"\$\.answer\[1\]\.choices\[1\] is a .*Telling"):
        cache.set("key", BAD_VALUES["inside"]())


@pytest.mark.parametrize("operation", ["get_or_set", "aget_or_set"])
@pytest.mark.parametrize("bad", BAD_VALUES)
async def test_a_computed_value_that_no_codec_takes_is_handed_through_and_counted(cache, operation, bad):
    value = BAD_VALUES[bad]()
    assert await done(getattr(cache, operation), "absent", lambda: value) is value
    assert cache.stats().uncacheable == 1
    assert cache.contains("absent") is False


# Times to live

BAD_TTLS = {
    "zero": 0,
    "negative": -1,
    "NaN": math.nan,
    "infinite": math.inf,
    "minus infinity": -math.inf,
    "beyond a float": 10**400,
    "no time": timedelta(0),
    "back in time": timedelta(seconds=-1),
    "empty": "",
    "no duration": "12 bananas",
    "negative text": "-5s",
    "zero text": "0s",
    "bool": True,
    "bytes": b"5",
    "list": [5],
    "object": object(),
}


@pytest.mark.parametrize("operation", WITH_OPTIONS)
@pytest.mark.parametrize("option", ["ttl", "stale_for"])
@pytest.mark.parametrize("bad", BAD_TTLS)
async def test_a_bad_ttl_is_refused(cache, operation, option, bad):
    with pytest.raises(ConfigurationError, match=option) as caught:
        await done(WITH_OPTIONS[operation], cache, **{option: BAD_TTLS[bad]})
    assert isinstance(caught.value, ValueError)
    assert cache.get("new") is None


@pytest.mark.parametrize("bad", BAD_TTLS)
async def test_a_bad_ttl_is_refused_by_touch_and_leaves_the_old_end(cache, bad):
    with pytest.raises(ConfigurationError, match="ttl"):
        cache.touch("key", BAD_TTLS[bad])
    with pytest.raises(ConfigurationError, match="ttl"):
        await cache.atouch("key", BAD_TTLS[bad])


@pytest.mark.parametrize("bad", BAD_TTLS)
def test_a_bad_ttl_is_refused_by_caches_and_tiers(bad):
    with pytest.raises(ConfigurationError, match="ttl"):
        Cache(MemoryBackend(), ttl=BAD_TTLS[bad])
    with pytest.raises(ConfigurationError, match="max_ttl"):
        Tier(MemoryBackend(), max_ttl=BAD_TTLS[bad])
    with pytest.raises(ConfigurationError, match="timeout"):
        Tier(MemoryBackend(), timeout=BAD_TTLS[bad])


# Tags and attributes

BAD_TAGS = [SECRET, SECRET.encode(), None, 5, [5], [None], [SECRET, b"t"], [["t"]], [f"{SECRET}\ud800"]]
BAD_ATTRIBUTES = [
    SECRET,
    5,
    [SECRET],
    [("model", SECRET)],
    {1: SECRET},
    {"a": [SECRET]},
    {"a": {"b": SECRET}},
    {"a": Telling()},
    {"a": SECRET.encode()},
    {"a": 2**64},
    {"a": -(2**63) - 1},
    {f"{SECRET}\ud800": 1},
    {"a": f"{SECRET}\ud800"},
]


@pytest.mark.parametrize("operation", WITH_OPTIONS)
@pytest.mark.parametrize("tags", BAD_TAGS, ids=ascii)
async def test_bad_tags_are_refused(cache, operation, tags):
    with pytest.raises(ConfigurationError, match="tags must be") as caught:
        await done(WITH_OPTIONS[operation], cache, tags=tags)
    assert no_secret(caught.value)
    assert cache.get("new") is None


@pytest.mark.parametrize("operation", WITH_OPTIONS)
@pytest.mark.parametrize("attributes", BAD_ATTRIBUTES, ids=ascii)
async def test_bad_attributes_are_refused(cache, operation, attributes):
    with pytest.raises(ConfigurationError, match=r"attributes m|in attributes") as caught:
        await done(WITH_OPTIONS[operation], cache, attributes=attributes)
    assert no_secret(caught.value)
    assert cache.get("new") is None


def test_attributes_at_the_edge_of_what_is_stored_are_stored(cache):
    attributes = {"large": 2**64 - 1, "small": -(2**63), "": "", "🔑": None, "inf": math.inf}
    cache.set("new", 1, attributes=attributes, tags=["", "🏷"])
    assert [tier.backend.get("n:new").metadata.attributes for tier in cache.chain.tiers] == [attributes, attributes]


# Factories


@pytest.mark.parametrize("wrapped", [False, True], ids=["async def", "lambda that returns a coroutine"])
def test_an_async_factory_is_refused_where_nobody_awaits(cache, wrapped):
    async def factory():
        return 1

    with pytest.raises(TypeError, match="aget_or_set"):
        cache.get_or_set("absent", (lambda: factory()) if wrapped else factory)
    assert cache.contains("absent") is False


def test_after_a_refused_factory_the_key_can_be_computed(cache):
    async def factory():
        return 1

    with pytest.raises(TypeError):
        cache.get_or_set("absent", factory)
    assert cache.get_or_set("absent", lambda: 2) == 2


# Tiers and chains


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"promote": "sometimes"}, "always, second_hit, never"),
        ({"promote": None}, "always, second_hit, never"),
        ({"write": "behind the back"}, "through, behind, never"),
        ({"write": True}, "through, behind, never"),
        ({"name": ""}, "name must be"),
        ({"name": 5}, "name must be"),
        ({"max_entry_bytes": "12 bananas"}, "max_entry_bytes.*256MiB"),
        ({"max_entry_bytes": 0}, "max_entry_bytes.*positive"),
        ({"max_entry_bytes": -1}, "max_entry_bytes.*positive"),
        ({"max_entry_bytes": 1.5}, "max_entry_bytes.*whole number"),
    ],
)
def test_a_tier_refuses_an_option_that_is_none(options, advice):
    with pytest.raises(ConfigurationError, match=advice):
        Tier(MemoryBackend(), **options)


class Incomplete:
    def get(self, key):
        return None

    def __repr__(self):
        return SECRET


@pytest.mark.parametrize(
    ("backend", "advice"),
    [
        (f"redis://:{SECRET}@localhost", "from_urls"),
        (MemoryBackend, "pass an instance"),
        (Incomplete(), "Incomplete is not a Backend: it has no .*put"),
        ({}, "dict is not a Backend"),
        (5, "int is not a Backend"),
        (None, "NoneType is not a Backend"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
@pytest.mark.parametrize("make", [Tier, TierChain, lambda backend: TierChain(MemoryBackend(), backend)])
def test_what_is_no_backend_is_refused_without_its_repr(make, backend, advice):
    with pytest.raises(ConfigurationError, match=advice) as caught:
        make(backend)
    assert no_secret(caught.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_backend_that_stands_in_a_chain_twice_is_refused(wrapped):
    memory = MemoryBackend()
    with pytest.raises(ConfigurationError, match="twice; make one for each tier"):
        TierChain(memory, Tier(memory, name="again") if wrapped else memory)


def test_two_tiers_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="give each Tier another name"):
        TierChain(Tier(MemoryBackend(), name="fast"), Tier(MemoryBackend(), name="fast"))
    with pytest.raises(ConfigurationError, match="give each Tier another name"):
        TierChain(MemoryBackend(), Tier(MemoryBackend(), name="memory"))


# A cache that is closed


@pytest.mark.parametrize("operation", WITH_A_KEY)
async def test_a_closed_cache_says_so(clock, operation):
    cache = Cache(MemoryBackend(clock=clock))
    cache.set("key", 1)
    cache.close()
    with pytest.raises(CacheClosed, match="create a new one"):
        await done(WITH_A_KEY[operation], cache, "key")


@pytest.mark.parametrize(
    "operation", [*(lambda cache, f=f: f(cache, {"key": 1}) for f in WITH_ITEMS.values()), Cache.clear, Cache.aclear]
)
async def test_a_closed_cache_says_so_to_writers(clock, operation):
    cache = Cache(TierChain(MemoryBackend(clock=clock), RemoteBackend(clock)))
    cache.close()
    with pytest.raises(CacheClosed, match="create a new one"):
        await done(operation, cache)


async def test_a_closed_cache_lists_no_keys(clock):
    cache = Cache(MemoryBackend(clock=clock))
    await cache.aclose()
    with pytest.raises(CacheClosed):
        list(cache.keys())
    with pytest.raises(CacheClosed):
        [key async for key in cache.akeys()]
    with pytest.raises(CacheClosed):
        cache.check()


async def test_a_closed_cache_may_be_closed_again_and_still_tells_its_statistics(clock, tmp_path):
    cache = Cache(TierChain(MemoryBackend(clock=clock), DiskBackend(tmp_path / "c.sqlite3")))
    cache.set("key", 1)
    cache.close()
    cache.close()
    await cache.aclose()
    assert cache.stats().puts == 1
    assert cache.drain(0) is True
    assert not any(health.ok for health in cache.health().values())
    assert repr(cache) == "<Cache 'default' on <TierChain memory -> disk>>"


# A backend that raises what it should not

RANDOM_ERRORS = [KeyError(SECRET), ValueError(SECRET), OSError(5, SECRET), AssertionError(SECRET), RuntimeError(SECRET)]
ON_A_BROKEN_TIER = {
    "get": (lambda cache: cache.get("absent"), None),
    "get what memory has": (lambda cache: cache.get("key"), 1),
    "lookup": (lambda cache: cache.lookup("absent").hit, False),
    "set": (lambda cache: cache.set("new", 1), None),
    "get_or_set": (lambda cache: cache.get_or_set("new", lambda: 5), 5),
    "delete": (lambda cache: cache.delete("key"), True),
    "contains": (lambda cache: cache.contains("absent"), False),
    "metadata": (lambda cache: cache.metadata("absent"), None),
    "touch": (lambda cache: cache.touch("absent", 5), False),
    "get_many": (lambda cache: cache.get_many(["absent", "key"]), {"key": 1}),
    "set_many": (lambda cache: cache.set_many({"new": 1}), None),
    "delete_many": (lambda cache: cache.delete_many(["key"]), 0),
    "keys": (lambda cache: list(cache.keys()), ["key"]),
    "warm": (lambda cache: cache.warm(["absent"]), 0),
    "clear": (lambda cache: cache.clear(), None),
    "aget": (lambda cache: cache.aget("absent"), None),
    "aset": (lambda cache: cache.aset("new", 1), None),
    "aget_or_set": (lambda cache: cache.aget_or_set("new", lambda: 5), 5),
    "adelete": (lambda cache: cache.adelete("key"), True),
    "aget_many": (lambda cache: cache.aget_many(["absent", "key"]), {"key": 1}),
    "aset_many": (lambda cache: cache.aset_many({"new": 1}), None),
    "akeys": (lambda cache: listed(cache.akeys()), ["key"]),
    "aclear": (lambda cache: cache.aclear(), None),
}
NEVER_ASKS_IT = {"get what memory has"}


async def listed(keys):
    return [key async for key in keys]


def broken(clock, error, *, strict):
    remote = RemoteBackend(clock)
    cache = Cache(TierChain(MemoryBackend(clock=clock), remote, strict=strict, clock=clock))
    cache.set("key", 1)
    remote.break_down(error)
    remote.marks_faults = remote.faults
    return cache


@pytest.mark.parametrize("operation", ON_A_BROKEN_TIER)
@pytest.mark.parametrize("error", RANDOM_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_backend_that_raises_anything_is_left_out_and_counted(clock, caplog, operation, error):
    cache = broken(clock, error, strict=False)
    call, expected = ON_A_BROKEN_TIER[operation]
    with caplog.at_level(logging.WARNING, "tiercache"):
        assert await done(call, cache) == expected
    counted = cache.stats().tiers["remote"].errors
    assert set(counted) == (set() if operation in NEVER_ASKS_IT else {"BackendUnavailable"})
    assert len(caplog.records) == len(counted)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("operation", sorted(set(ON_A_BROKEN_TIER) - NEVER_ASKS_IT))
@pytest.mark.parametrize("error", RANDOM_ERRORS, ids=lambda error: type(error).__name__)
async def test_in_a_strict_chain_it_is_raised_as_one_of_our_errors_with_its_cause(clock, operation, error):
    cache = broken(clock, error, strict=True)
    with pytest.raises(BackendUnavailable, match=f"unexpected {type(error).__name__} in the remote backend") as caught:
        await done(ON_A_BROKEN_TIER[operation][0], cache)
    assert caught.value.__cause__ is error
    assert SECRET not in str(caught.value)


async def test_the_health_of_such_a_backend_says_what_is_wrong(clock):
    cache = broken(clock, KeyError(SECRET), strict=False)
    for health in (cache.health(), await cache.ahealth()):
        assert health["memory"].ok is True
        assert health["remote"].ok is False
        assert "unexpected KeyError" in health["remote"].error
        assert SECRET not in repr(health)
    with pytest.raises(TiercacheError, match="unexpected KeyError"):
        cache.check()


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_backend_that_fails_to_close_keeps_no_other_from_closing(clock, caplog, awaited):
    class Stubborn(RemoteBackend):
        def close(self):
            raise OSError(5, SECRET)

    memory = MemoryBackend(clock=clock)
    cache = Cache(TierChain(Stubborn(clock), memory, clock=clock))
    await done(cache.aclose if awaited else cache.close)
    with pytest.raises(CacheClosed):
        memory.get("key")
    assert "unexpected OSError" in caplog.text
    assert SECRET not in caplog.text


async def test_cancellation_is_no_failure_of_a_tier(clock):
    cache = broken(clock, None, strict=False)
    cache.chain.tiers[1].backend.faults["get"] = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await cache.aget("absent")
    assert cache.stats().tiers["remote"].errors == {}
