"""Chains with keys: what the stores hold, who can read it, how keys are changed, and which stores are refused."""

from __future__ import annotations

import os
from collections import Counter

import boto3
import pytest
from moto import mock_aws

from tests.sealed_stores import Stores, do
from tests.support import RemoteBackend
from tiercache import Backend, Cache, KeyRing, MemoryBackend, Tier, TierChain, envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import ConfigurationError
from tiercache.sealing.sealed import SealedEnvelope

OLD, NEW = os.urandom(32), os.urandom(32)
REMOTE = ["disk", "redis", "s3"]
EACH = pytest.mark.parametrize("store", REMOTE)
FACES = pytest.mark.parametrize("face", ["sync", "async"])
SECRETS = {"tags": ["tag-canary"], "attributes": {"model": "model-canary", "attribute-canary": 1}}


@pytest.fixture(scope="module")
def s3():
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def store_set(tmp_path, redis_url, s3):
    made = Stores(tmp_path / "disk", redis_url, s3)
    yield made
    made.close()


def ring(**options: object) -> KeyRing:
    return KeyRing({"new": NEW, "old": OLD}, **options)  # type: ignore[arg-type]


def errors(cache: Cache, tier: str) -> dict[str, int]:
    return {kind: count for kind, count in cache.stats().tiers[tier].errors.items() if count}


# What a reader of the store sees


@FACES
@EACH
async def test_values_tags_and_attributes_are_in_no_store(store_set: Stores, store: str, face: str):
    cache = Cache(store_set.chain("memory", store, keys=ring()))
    value = {"answer": "value-canary", "text": "value-canary " * 1000}
    await do(face, cache, "set", "the-key", value, ttl=3600, **SECRETS)
    await do(face, cache, "set_many", {"other-key": "value-canary"}, ttl=3600, **SECRETS)
    await do(face, cache, "touch", "the-key", ttl=7200)
    await do(face, cache, "get_or_set", "third-key", lambda: "value-canary", **SECRETS)
    stored = store_set.raw(store)
    assert b"canary" not in stored
    assert stored.count(b"the-key") >= 1, "keys are names: everybody sees them"
    fresh = Cache(store_set.chain("memory", store, keys=ring()))
    assert await do(face, fresh, "get", "the-key") == value
    found = await do(face, fresh, "metadata", "other-key")
    assert (found.tags, found.attributes["model"], found.key_id) == (("tag-canary",), "model-canary", "new")


@EACH
def test_the_search_finds_what_is_not_sealed(store_set: Stores, store: str):
    Cache(store_set.chain(store)).set("k", "value-canary", **SECRETS)
    assert b"value-canary" in store_set.raw(store)
    assert b"tag-canary" in store_set.raw(store)


def test_a_long_key_is_in_the_bucket_as_far_as_its_name_goes(store_set: Stores):
    cache = Cache(store_set.chain("s3", keys=ring()))
    key = "x" * 1000 + "key-canary"
    cache.set(key, "value-canary")
    assert b"canary" not in store_set.raw("s3")
    assert cache.get(key) == "value-canary"
    assert list(cache.keys()) == [key], "the envelope knows it"
    assert list(Cache(store_set.chain("s3", keys=KeyRing({"other": OLD}))).keys()) == []


@EACH
def test_a_tagged_entry_can_be_read_by_everybody_and_changed_by_nobody(store_set: Stores, store: str):
    cache = Cache(store_set.chain(store, keys=ring(encrypt=False)))
    cache.set("k", "value-canary")
    assert b"value-canary" in store_set.raw(store)
    (body,) = store_set.bodies(store)
    store_set.replace_all(store, body.replace(b"value-canary", b"value-forged"))
    assert cache.get("k") is None
    assert errors(cache, store) == {"CorruptEntry": 1}


def test_memory_holds_plain_text():
    cache = Cache(TierChain(MemoryBackend(), keys=ring()))
    cache.set("k", "value")
    assert cache.get("k") == "value"


# What a writer to the store can do


@FACES
@EACH
async def test_a_plain_entry_is_a_counted_miss_that_the_next_write_replaces(store_set: Stores, store: str, face: str):
    Cache(store_set.chain(store)).set("k", "forged")
    before = store_set.bodies(store)
    cache = Cache(store_set.chain(store, keys=ring()))
    assert await do(face, cache, "get", "k") is None
    assert await do(face, cache, "get_many", ["k"]) == {}
    assert await do(face, cache, "contains", "k") is False, "not even its metadata are believed"
    assert errors(cache, store) == {"NotSealed": 3}
    assert cache.stats().tiers[store].misses >= 1
    assert store_set.bodies(store) == before, "nobody deletes it"
    assert await do(face, cache, "get_or_set", "k", lambda: "ours") == "ours"
    assert await do(face, cache, "get", "k") == "ours"


@EACH
def test_a_keyed_entry_is_less_than_encryption_asks_for(store_set: Stores, store: str):
    Cache(store_set.chain(store, keys=ring(encrypt=False))).set("k", "v")
    cache = Cache(store_set.chain(store, keys=ring()))
    assert cache.get("k") is None
    assert errors(cache, store) == {"NotSealed": 1}
    assert Cache(store_set.chain(store, keys=ring(accept_unencrypted=True))).get("k") == "v"


@FACES
@pytest.mark.parametrize("encrypt", [True, False])
@EACH
async def test_the_entry_of_another_key_or_namespace_is_a_miss(store_set: Stores, store: str, encrypt: bool, face: str):
    chain = store_set.chain(store, keys=ring(encrypt=encrypt))
    theirs, mine = Cache(chain, namespace="theirs"), Cache(chain, namespace="mine")
    theirs.set("k", "their answer")
    (body,) = store_set.bodies(store)
    mine.set("k", "my answer")
    mine.set("other", "another answer")
    store_set.replace_all(store, body)
    assert await do(face, mine, "get_many", ["k", "other"]) == {}
    assert await do(face, mine, "get", "k") is None
    assert await do(face, theirs, "get", "k") == "their answer", "under its own key it is what it was"


@FACES
@EACH
async def test_an_entry_that_is_put_back_lives_no_longer_than_it_would_have(
    store_set: Stores, store: str, face: str, clock
):
    """A writer to the store can restore an older envelope of the same key; its end is sealed in it."""
    chain = store_set.chain(store, keys=ring())
    for tier in chain.tiers:
        for thing in (tier.backend, getattr(tier.backend, "_layout", None)):
            for name in ("clock", "_clock"):
                if hasattr(thing, name):
                    setattr(thing, name, clock)
    chain.clock = clock
    cache = Cache(chain)
    await do(face, cache, "set", "k", "first", ttl=60)
    (old,) = store_set.bodies(store)
    await do(face, cache, "set", "k", "second", ttl=3600)
    store_set.replace_all(store, old)
    assert await do(face, cache, "get", "k") == "first", "this is not stopped: SECURITY.md says so"
    clock.advance(61)
    assert await do(face, cache, "get", "k") is None
    assert await do(face, cache, "get_many", ["k"]) == {}


def test_two_tenants_with_rings_of_their_own_cannot_read_each_other(store_set: Stores):
    ours = Cache(store_set.chain("redis", keys=KeyRing({"a": NEW})))
    ours.set("k", "confidential")
    theirs = Cache(store_set.chain("redis", keys=KeyRing({"b": OLD})))
    assert theirs.get("k") is None
    assert errors(theirs, "redis") == {"UnknownKey": 1}


# Another key


@FACES
@EACH
async def test_what_an_unknown_key_sealed_is_counted_and_stays(store_set: Stores, store: str, face: str):
    Cache(store_set.chain(store, keys=KeyRing({"newer": NEW}))).set("k", "of a newer release")
    before = store_set.bodies(store)
    for keys in (KeyRing({"old": OLD}), None):
        cache = Cache(store_set.chain(store, keys=keys))
        assert await do(face, cache, "get", "k") is None
        assert await do(face, cache, "get_many", ["k"]) == {}
        assert errors(cache, store) == {"UnknownKey": 2}
    assert store_set.bodies(store) == before
    assert Cache(store_set.chain(store, keys=KeyRing({"newer": NEW}))).get("k") == "of a newer release"


@FACES
async def test_an_unknown_key_in_an_upper_tier_is_not_replaced_by_a_copy_from_below(store_set: Stores, face: str):
    """As with a later release's format: those who have the key still read it there."""
    Cache(store_set.chain("redis", keys=KeyRing({"newer": NEW}))).set("k", "upper")
    Cache(store_set.chain("s3", keys=KeyRing({"old": OLD}))).set("k", "lower")
    before = store_set.bodies("redis")
    cache = Cache(store_set.chain("redis", "s3", keys=KeyRing({"old": OLD})))
    assert await do(face, cache, "get", "k") == "lower"
    assert cache.drain(30)
    assert store_set.bodies("redis") == before


@FACES
async def test_keys_are_rotated_without_a_miss(store_set: Stores, face: str):
    steps = [KeyRing({"old": OLD}), KeyRing({"old": OLD, "new": NEW}), ring()]
    for number, keys in enumerate(steps):
        cache = Cache(store_set.chain("memory", *REMOTE, keys=keys))
        await do(face, cache, "set", f"k{number}", number)
        for earlier in range(number + 1):
            assert await do(face, cache, "get", f"k{earlier}") == earlier
        assert sum(cache.stats().tiers[name].misses for name in REMOTE) == 0
    last = Cache(store_set.chain("disk", keys=KeyRing({"new": NEW})))
    assert [last.get(f"k{number}") for number in range(3)] == [None, None, 2]


def test_a_copy_upwards_seals_anew_what_an_old_key_sealed(store_set: Stores):
    Cache(store_set.chain("s3", keys=KeyRing({"old": OLD}))).set("k", "v")
    cache = Cache(store_set.chain("redis", "s3", keys=ring()))
    assert cache.get("k") == "v"
    assert cache.drain(30)
    assert Cache(store_set.chain("redis", keys=KeyRing({"new": NEW}))).get("k") == "v"


@FACES
@pytest.mark.parametrize("encrypt", [True, False])
async def test_a_copy_upwards_is_the_same_bytes(store_set: Stores, encrypt: bool, face: str):
    Cache(store_set.chain("s3", keys=ring(encrypt=encrypt))).set("k", "v" * 5000)
    cache = Cache(store_set.chain("memory", "disk", "redis", "s3", keys=ring(encrypt=encrypt)))
    assert await do(face, cache, "get", "k") == "v" * 5000
    assert cache.drain(30)
    assert store_set.bodies("disk") == store_set.bodies("redis") == store_set.bodies("s3")


# Introducing keys


@FACES
@EACH
async def test_keys_are_introduced_without_losing_what_is_there(store_set: Stores, store: str, face: str):
    Cache(store_set.chain(store)).set("k", "from before")
    moving = Cache(store_set.chain(store, keys=ring(accept_plain=True)))
    assert await do(face, moving, "get", "k") == "from before"
    assert await do(face, moving, "touch", "k", ttl=3600) is True
    assert Cache(store_set.chain(store, keys=ring())).get("k") == "from before", "written again, it is sealed"


def test_what_was_accepted_plain_is_sealed_on_its_way_up(store_set: Stores):
    Cache(store_set.chain("s3")).set("k", "value-canary")
    cache = Cache(store_set.chain("redis", "s3", keys=ring(accept_plain=True)))
    assert cache.get("k") == "value-canary"
    assert cache.drain(30)
    assert b"value-canary" not in store_set.raw("redis")


def test_an_older_release_leaves_sealed_entries_alone(store_set: Stores):
    """One without keys, that is: flags it does not know are a format of later days to it."""
    Cache(store_set.chain("redis", keys=ring())).set("k", "sealed")
    before = store_set.bodies("redis")
    without = Cache(store_set.chain("redis"))
    assert without.get("k") is None
    assert store_set.bodies("redis") == before


# Which stores take keys


class OwnForm(RemoteBackend):
    """A store of somebody else, which inherits from Backend and keeps entries as it likes."""


class Structural:
    """A store that inherits from nothing."""

    def __getattr__(self, name: str) -> object:
        if name in ("envelope", "seal_with", "rules"):
            raise AttributeError(name)
        return {"scheme": "own", "timeout": 1.0, "concurrency": 1, "persistent": True}.get(name, lambda *_, **__: None)


class Sealed(RemoteBackend):
    """A store of somebody else that lets an envelope make its bytes."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.rows: dict[str, bytes] = {}
        self.envelope: envelope.Envelope = envelope.PLAIN

    def seal_with(self, envelope: envelope.Envelope) -> None:
        self.envelope = envelope

    def get(self, key, *, deadline=None):
        return self.envelope.decode(self.rows[key], key) if key in self.rows else None

    def put(self, key, entry, *, if_absent=False, if_match=None, deadline=None):
        self.rows[key] = self.envelope.encode(entry)
        return True


@pytest.mark.parametrize("make", [OwnForm, lambda clock: Structural()], ids=["inherits", "structural"])
def test_a_store_that_cannot_seal_is_refused(make, clock):
    backend: Backend = make(clock)
    for tiers in ([backend], [MemoryBackend(), Tier(backend, name="own")]):
        with pytest.raises(ConfigurationError, match="stores entries in a form of its own and cannot seal them"):
            TierChain(*tiers, keys=ring())


def test_somebody_elses_store_can_take_keys(clock):
    backend = Sealed(clock)
    cache = Cache(TierChain(backend, keys=ring(), clock=clock))
    cache.set("k", "value-canary")
    assert cache.get("k") == "value-canary"
    assert b"value-canary" not in backend.rows["default:k"]


def test_a_wrapper_passes_the_keys_on(clock):
    class Wrapper(RemoteBackend):
        def __getattr__(self, name: str) -> object:
            return getattr(self.__dict__["inner"], name)

    wrapper, inner = Wrapper(clock), Sealed(clock)
    wrapper.inner = inner
    TierChain(wrapper, keys=ring())
    assert isinstance(inner.envelope, SealedEnvelope)


@pytest.mark.parametrize("keys", [NEW, {"a": NEW}, "TIERCACHE_KEYS"], ids=["bytes", "dict", "str"])
def test_keys_that_are_no_ring_are_refused(keys, tmp_path):
    with pytest.raises(ConfigurationError, match="keys must be a KeyRing, not of type"):
        TierChain(MemoryBackend(), keys=keys)


def test_a_backend_has_the_keys_of_one_chain(store_set: Stores):
    backend, keys = store_set.make("redis"), ring()
    TierChain(backend, keys=keys)
    TierChain(Tier(backend, name="again"), keys=keys)
    with pytest.raises(ConfigurationError, match="keys of another chain"):
        TierChain(backend, keys=ring())


def test_keys_go_with_urls(tmp_path):
    chain = TierChain.from_urls("memory://", f"disk://{tmp_path}/cache.sqlite3", keys=ring())
    with Cache(chain) as cache:
        cache.set("k", "value-canary")
        assert isinstance(chain.tiers[1].backend.envelope, SealedEnvelope)  # type: ignore[attr-defined]
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


# What object stores tell beside an entry


def test_no_mirror_is_believed(store_set: Stores):
    """A writer to the bucket can set any user metadata; `head` reads the entry, with one GET."""
    cache = Cache(store_set.chain("s3", keys=ring(encrypt=False)))
    cache.set("k", "v", ttl=3600, attributes={"model": "ours"})
    (name,) = store_set._names()
    answer = store_set.s3.get_object(Bucket=store_set.bucket, Key=name)
    forged = answer["Metadata"] | {"attributes": '{"model":"forged"}', "expires": "9999999999.0"}
    store_set.s3.put_object(Bucket=store_set.bucket, Key=name, Body=answer["Body"].read(), Metadata=forged)
    metadata = cache.metadata("k")
    assert metadata is not None
    assert metadata.attributes == {"model": "ours"}
    assert metadata.expires_at < 9e9


@pytest.mark.parametrize("before", [None, KeyRing({"theirs": OLD})], ids=["plain", "of another key"])
def test_what_cannot_be_read_is_there_for_those_alone_who_have_its_key(store_set: Stores, before: KeyRing | None):
    """`delete` and `put(if_absent=True)` agree with `get`; what others can read gives way to an explicit put only."""
    Cache(store_set.chain("s3", keys=before)).set("k", "theirs")
    backend = store_set.make("s3")
    TierChain(backend, keys=ring())
    entry = Entry(b"ours", Metadata(key="default:k", created_at=1.7e9))
    assert backend.put("default:k", entry, if_absent=True) is (before is None)
    assert backend.put("default:k", entry) is True
    assert backend.delete("default:k") is True


def test_without_keys_a_head_tells_what_a_get_tells(store_set: Stores):
    """Tagged, all metadata stand in the mirror; a chain without keys cannot check them."""
    Cache(store_set.chain("s3", keys=ring(encrypt=False))).set("k", "v")
    without = Cache(store_set.chain("s3"))
    assert without.metadata("k") is None
    assert errors(without, "s3") == {"UnknownKey": 1}


def test_expired_objects_are_swept_without_a_key(store_set: Stores, clock):
    """Times are in the mirror, for lifecycle rules and sweeps, which need not have the keys."""
    writer = store_set.make("s3")
    writer.clock = clock  # type: ignore[attr-defined]
    entry = Entry(b"v", Metadata(key="n:k", created_at=clock.now, expires_at=clock.now + 10))
    TierChain(writer, keys=ring(), clock=clock)
    writer.put("n:k", entry)
    clock.advance(11)
    sweeper = store_set.make("s3")
    sweeper.clock = clock  # type: ignore[attr-defined]
    report = sweeper.sweep()  # type: ignore[attr-defined]
    assert Counter(deleted=report.deleted, unknown=report.unknown) == Counter(deleted=1)
