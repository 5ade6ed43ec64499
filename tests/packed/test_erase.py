"""What `erase` promises: no segment holds a byte of the key's values, and all else is as it was."""

from __future__ import annotations

import time

import pytest

from tests.packed.histories import records
from tests.packed.objects import entry, packed
from tiercache import keys
from tiercache.errors import BackendUnavailable, CorruptEntry
from tiercache.packed import lease
from tiercache.testing import FakeClock

SECRET = "n:somebody@example.org"


@pytest.fixture
def clock():
    return FakeClock()


def holds(objects, *needles):
    stored = b"".join(objects.bodies.values())
    return any(needle in stored for needle in needles) or any(key == SECRET for key, _, _ in records(objects))


def write(backend, clock, versions=3):
    for version in range(versions):
        backend.put(SECRET, entry(SECRET, b"secret %d" % version, now=clock()))
        backend.put(f"n:{version}", entry(f"n:{version}", b"other %d" % version, now=clock()))
        backend.flush()
        clock.advance(1)


def test_every_value_of_the_key_goes_and_every_other_entry_stays(objects, clock):
    backend, reader = packed(objects, clock=clock), packed(objects, clock=clock)
    write(backend, clock)
    assert reader.get(SECRET) is not None
    assert holds(objects, b"secret 0")
    others = {key: (at.stamp, data) for key, at, data in records(objects) if key != SECRET}
    assert backend.erase(SECRET) == 3
    assert not holds(objects, b"secret", SECRET.encode())
    kept = {key: (at.stamp, data) for key, at, data in records(objects) if key}
    assert kept == others
    for process in (backend, reader, packed(objects, clock=clock)):
        assert set(process.get_many(["n:0", "n:1", "n:2", SECRET])) == {"n:0", "n:1", "n:2"}


def test_what_waits_is_never_written(objects, clock):
    backend = packed(objects, clock=clock)
    backend.put(SECRET, entry(SECRET, b"secret", now=clock()))
    backend.put("n:0", entry("n:0", now=clock()))
    assert backend.erase(SECRET) == 0
    backend.flush()
    assert not holds(objects, b"secret", SECRET.encode())
    assert packed(objects, clock=clock).get("n:0") is not None


def test_what_another_process_stored_unnoticed_goes_as_well(objects, clock):
    backend, other = packed(objects, clock=clock), packed(objects, clock=clock)
    backend.refresh()
    write(other, clock)
    assert backend.erase(SECRET) == 3
    assert not holds(objects, b"secret")


def test_what_another_process_stores_later_is_hidden_until_it_is_erased_again(objects, clock):
    backend, other = packed(objects, clock=clock), packed(objects, clock=clock)
    other.put(SECRET, entry(SECRET, b"secret", now=clock()))
    clock.advance(1)
    backend.erase(SECRET)
    other.flush()
    assert packed(objects, clock=clock).get(SECRET) is None
    assert backend.erase(SECRET) == 1
    assert not holds(objects, b"secret")


def test_a_key_that_is_not_there_costs_no_rewriting(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    before = set(objects.segments())
    assert backend.erase("n:absent") == 0
    assert before <= set(objects.segments())


async def test_it_can_be_awaited(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    assert await backend.aerase(SECRET) == 3


def test_it_can_be_put_again(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    backend.erase(SECRET)
    backend.put(SECRET, entry(SECRET, b"anew", now=clock()))
    backend.flush()
    assert packed(objects, clock=clock).get(SECRET).payload == b"anew"


def test_tombstones_of_other_keys_stay_in_force(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    backend.delete("n:1")
    backend.erase(SECRET)
    assert packed(objects, clock=clock).get("n:1") is None


def test_it_waits_for_a_compaction_and_says_when_that_takes_too_long(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    assert lease.Lease(packed(objects, clock=clock).inner).take(None)
    with pytest.raises(BackendUnavailable, match="another process is compacting"):
        backend.erase(SECRET, deadline=time.monotonic() + 0.5)
    clock.advance(lease.SECONDS + 1)
    assert backend.erase(SECRET) == 3


def test_segments_that_nobody_can_read_are_named(objects, clock):
    backend = packed(objects, clock=clock)
    write(backend, clock)
    name = objects.segments()[0]
    objects.bodies[name] = objects.bodies[name][:-1] + b"?"
    with pytest.raises(CorruptEntry, match="1 segments are damaged"):
        packed(objects, clock=clock).erase(SECRET)
    del objects.bodies[name]
    assert not holds(objects, b"secret")


def test_an_entry_of_the_librarys_own_is_deleted(objects, clock):
    backend = packed(objects, clock=clock)
    key = f"{keys.RESERVED}:epochs:n"
    backend.put(key, entry(key, now=clock()))
    assert backend.erase(key) == 1
    assert backend.get(key) is None
