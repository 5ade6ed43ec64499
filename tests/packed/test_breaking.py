"""What must hold when a store refuses, lags or forbids, and when threads meet at the worst moment."""

from __future__ import annotations

import threading
import time

import pytest

from tests.packed.objects import MemoryObjects, entry, packed, payload, until
from tiercache.errors import AccessDenied, BackendError, BackendUnavailable, PartialFailure
from tiercache.objectstore import Upload
from tiercache.packed import sending, writer
from tiercache.packed.newest import Newest


class Conflicting(MemoryObjects):
    """A store that refuses the first conditional writes of segments for the sake of others, and keeps nothing."""

    conflicts = 1

    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        if "_segments/" in upload.name and self.conflicts:
            self.conflicts -= 1
            return False
        return super().write(upload, if_absent=if_absent, if_match=if_match, deadline=deadline)


# A refusal is no proof that a segment is stored


def test_a_segment_that_was_refused_and_is_not_there_is_stored_by_another_attempt():
    objects = Conflicting()
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    backend.flush()
    assert len(objects.segments()) == 1
    assert payload(packed(objects), "n:1") == b"payload"
    assert backend.writer.counters.recognised == 0


def test_a_compaction_deletes_nothing_before_what_replaces_it_is_there():
    objects = Conflicting()
    objects.conflicts = 0
    backend = packed(objects)
    for number in range(4):
        backend.put(f"n:{number}", entry(f"n:{number}"))
        backend.flush()
    objects.conflicts = 1
    backend.compact()
    other = packed(objects)
    assert [payload(other, f"n:{number}") for number in range(4)] == [b"payload"] * 4


# What replaced or deleted a value hides it at every moment


def test_what_is_given_up_leaves_no_moment_in_which_the_older_value_is_read(objects, monkeypatch):
    backend = packed(objects)
    backend.put("n:1", entry("n:1", b"old"))
    backend.flush()
    seen: list[bytes | None] = []
    restore = backend.changes.restore

    def watched(batch):
        seen.append(payload(backend, "n:1"))
        restore(batch)
        seen.append(payload(backend, "n:1"))

    monkeypatch.setattr(backend.changes, "restore", watched)
    monkeypatch.setattr(sending, "build", lambda records: (_ for _ in ()).throw(ValueError("too large")))
    backend.put("n:1", entry("n:1", b"new"))
    with pytest.raises(BackendError):
        backend.flush()
    assert seen == [b"new", None]
    assert payload(backend, "n:1") is None


def test_what_is_given_up_does_not_let_an_older_value_through_that_is_still_being_stored(objects, monkeypatch):
    backend = packed(objects)
    reached, gate, build = threading.Event(), threading.Event(), sending.build

    def before(call: str, name: str) -> None:
        if call == "write":
            reached.set()
            assert gate.wait(30)

    objects.before = before
    backend.put("n:1", entry("n:1", b"old"))
    (old,) = backend.writer.pending.seal()[:1] or list(backend.writer.pending)
    assert reached.wait(30)

    def build_tombstones(records):
        if records[0].data:
            raise ValueError("too large")
        return build(records)

    monkeypatch.setattr(sending, "build", build_tombstones)
    backend.put("n:1", entry("n:1", b"new"))
    backend.writer.pending.seal()
    until(lambda: payload(backend, "n:1") is None)
    gate.set()
    until(lambda: old.written.done())
    assert payload(backend, "n:1") is None
    backend.flush()
    assert payload(packed(objects), "n:1") is None


def test_a_delete_awaits_its_tombstone_though_the_value_was_just_stored(objects, monkeypatch):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    known, hides = Newest.hides, []

    def late(self, digest):
        found = known(self, digest)
        if not hides:
            hides.append(found)
            # As if the segment had been stored between this look and the next: only with the lock held nothing moves.
            if not backend.writer.pending._room._is_owned():
                backend.writer.flush(None)
        return found

    monkeypatch.setattr(Newest, "hides", late)
    backend.changes.bury_many(["n:1"], None)
    assert payload(packed(objects), "n:1") is None


# What waits too long is never stored


def test_what_is_older_than_can_be_stored_is_given_up_before_it_is_tried(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    (batch,) = backend.writer.pending
    batch.age.since -= writer.MAX_HOLD + 1
    with pytest.raises(BackendUnavailable):
        backend.flush()
    assert objects.segments() == []
    assert backend.writer.counters.dropped == 1


def test_a_buffer_is_sealed_long_before_it_is_too_old_to_be_stored(objects):
    backend = packed(objects, flush_after="7d")
    backend.put("n:1", entry("n:1"))
    (batch,) = backend.writer.pending
    batch.age.since -= writer.LONGEST_WAIT
    backend._tick()
    until(lambda: objects.segments())


# One kind of segments does not stop the others


def test_segments_that_a_store_forbids_do_not_keep_others_from_being_stored(objects):
    def before(call: str, name: str) -> None:
        if call == "write" and "/1d/" in name:
            raise AccessDenied("not here")

    objects.before = before
    backend = packed(objects)
    for number in range(2 * writer.THREADS):
        backend.put(f"n:{number}", entry(f"n:{number}", ttl=60))
        backend.writer.pending.seal()
    backend.put("n:keep", entry("n:keep"))
    backend.writer.pending.seal()
    until(lambda: objects.segments())
    objects.before = lambda call, name: None
    backend.flush()


def test_tombstones_for_whom_no_thread_is_left_are_not_buried_for_ever(objects, monkeypatch):
    backend = packed(objects, segment_bytes=300)
    backend.put_many({f"n:{number}": entry(f"n:{number}") for number in range(50)})
    backend.flush()

    def refuse(*call):
        raise BackendUnavailable("the worker pool is full")

    with monkeypatch.context() as full:
        full.setattr(backend.writer._pool, "submit", refuse)
        with pytest.raises(BackendError):
            backend.delete_many([f"n:{number}" for number in range(50)], deadline=time.monotonic() + 30)
    assert [payload(backend, f"n:{number}") for number in range(50)] == [None] * 50
    backend.flush()
    other = packed(objects)
    assert [payload(other, f"n:{number}") for number in range(50)] == [None] * 50


# What was found is not lost, and nothing blocks or storms


def test_what_was_read_is_kept_when_the_store_cannot_be_listed_for_the_rest(objects):
    backend = packed(objects)
    for key in ("n:1", "n:2"):
        backend.put(key, entry(key))
        backend.flush()
    del objects.bodies[objects.segments()[0]]

    def before(call: str, name: str) -> None:
        if call == "list_page":
            raise BackendUnavailable("down")

    objects.before = before
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(["n:1", "n:2"])
    assert list(caught.value.failed) == ["n:1"]
    assert list(caught.value.results) == ["n:2"]


async def test_an_awaited_get_sends_no_request_from_the_loop_though_the_entry_is_stored_meanwhile(objects, monkeypatch):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    backend.refresh()
    here, of = threading.get_ident(), backend.newest.of

    def stored_after(digest):
        place = of(digest)
        backend.flush()
        return place

    monkeypatch.setattr(backend.newest, "of", stored_after)
    asked = []
    objects.before = lambda call, name: asked.append(threading.get_ident()) if call == "read_range" else None
    found = await backend.aget("n:1")
    assert found is not None
    assert here not in asked


def test_a_store_that_cannot_be_listed_is_not_asked_again_by_each_operation(objects):
    backend = packed(objects, refresh=1000)
    backend.put("n:1", entry("n:1"))
    backend.flush()
    backend.discovery._fresh_at, backend.discovery._again_at = time.monotonic() - 1500, 0.0
    asked = []

    def before(call: str, name: str) -> None:
        if call == "list_page":
            asked.append(name)
            raise BackendUnavailable("down")

    objects.before = before
    for _ in range(50):
        backend.get("n:1")
        look = backend.discovery._look
        until(look.done)
    assert len(asked) == 1
