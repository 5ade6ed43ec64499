"""A batch whose segments are stored in part, or of which some entries are single objects: the keys that failed are
named, and what fails keeps nothing else from being stored."""

from __future__ import annotations

import time

import pytest

from tests.packed.objects import entry, packed
from tiercache import Cache, MemoryBackend, TierChain, keys
from tiercache.errors import BackendUnavailable, ConfigurationError, PartialFailure

OWN = f"{keys.RESERVED}:epochs:n"
DAY = "n:day"  # lives for a day
KEPT = "n:kept"  # lives for ever


def fails(objects, where, call=("write", "read", "stat", "remove_many"), error=None):
    """Let calls about some names fail."""
    error = error or BackendUnavailable("down")

    def before(name, of):
        if name in call and where(of):
            raise error

    objects.before = before
    return error


def made():
    return {DAY: entry(DAY, ttl=60), KEPT: entry(KEPT), OWN: entry(OWN)}


def deadline():
    return time.monotonic() + 300


@pytest.fixture
def backend(objects):
    backend = packed(objects, durable=True)
    backend.refresh()
    yield backend
    objects.before = lambda call, name: None
    backend.close()


def test_a_durable_batch_names_the_keys_whose_segment_was_not_stored(objects, backend):
    error = fails(objects, lambda name: "/1d/" in name)
    with pytest.raises(PartialFailure) as caught:
        backend.put_many(made(), deadline=deadline())
    assert caught.value.failed == {DAY: error}
    assert caught.value.results == {KEPT: True, OWN: True}
    fresh = packed(objects)
    assert set(fresh.get_many([DAY, KEPT, OWN])) == {KEPT, OWN}


def test_a_batch_of_deletes_names_the_keys_whose_tombstone_was_not_stored(objects, backend):
    backend.put_many(made())
    error = fails(objects, lambda name: "/1d/" in name)
    with pytest.raises(PartialFailure) as caught:
        backend.delete_many([DAY, KEPT, OWN], deadline=deadline())
    assert caught.value.failed == {DAY: error}
    assert caught.value.results == 2
    assert backend.get(DAY) is None  # hidden here, and still being tried
    assert set(packed(objects).get_many([DAY, KEPT, OWN])) == {DAY}


async def test_an_awaited_batch_names_them_too(objects, backend):
    fails(objects, lambda name: "/1d/" in name)
    with pytest.raises(PartialFailure) as caught:
        await backend.aput_many(made(), deadline=deadline())
    assert list(caught.value.failed) == [DAY]
    with pytest.raises(PartialFailure) as caught:
        await backend.adelete_many([DAY, KEPT], deadline=deadline())
    assert list(caught.value.failed) == [DAY]


def test_single_objects_that_fail_do_not_keep_the_others_from_being_stored(objects, backend):
    fails(objects, lambda name: "_segments/" not in name)
    with pytest.raises(PartialFailure) as caught:
        backend.put_many(made(), deadline=deadline())
    assert list(caught.value.failed) == [OWN]
    assert set(caught.value.results) == {DAY, KEPT}
    with pytest.raises(PartialFailure) as caught:
        backend.get_many([DAY, KEPT, OWN], deadline=deadline())
    assert list(caught.value.failed) == [OWN]
    assert set(caught.value.results) == {DAY, KEPT}
    with pytest.raises(PartialFailure) as caught:
        backend.delete_many([DAY, OWN], deadline=deadline())
    assert list(caught.value.failed) == [OWN]
    assert caught.value.results == 1
    assert set(packed(objects).get_many([DAY, KEPT])) == {KEPT}


def test_a_configuration_that_is_wrong_for_single_objects_is_said_when_the_others_are_stored(objects, backend):
    fails(objects, lambda name: "_segments/" not in name, error=ConfigurationError("no such class"))
    with pytest.raises(ConfigurationError, match="no such class"):
        backend.put_many(made(), deadline=deadline())
    objects.before = lambda call, name: None
    assert set(packed(objects).get_many([DAY, KEPT, OWN])) == {DAY, KEPT}


def test_a_catalogue_that_cannot_be_read_does_not_keep_single_objects_from_being_stored(objects):
    backend = packed(objects, durable=True)
    fails(objects, lambda name: True, call=("list_page",))
    with pytest.raises(PartialFailure) as caught:
        backend.put_many(made(), deadline=deadline())
    assert set(caught.value.failed) == {DAY, KEPT}
    assert caught.value.results == {OWN: True}
    with pytest.raises(BackendUnavailable):  # all of them, for one reason
        backend.put_many({KEPT: entry(KEPT)}, deadline=deadline())


def test_a_cache_misses_what_was_not_stored_in_one_tier_and_has_the_rest_there(objects, backend):
    fails(objects, lambda name: "/1d/" in name)
    chain = TierChain(MemoryBackend(), backend)
    with Cache(chain, namespace="n") as cache:
        cache.set_many({"a": 1, "b": 2}, ttl=60)
        cache.set_many({"c": 3})
        assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
        assert chain.tiers[1].snapshot().puts == 1
        assert chain.tiers[1].snapshot().missed == 2
        objects.before = lambda call, name: None
