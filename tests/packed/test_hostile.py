"""What packed segments do where order, clocks, listings and forks are against them: no wrong value, nothing lost."""

from __future__ import annotations

import faulthandler
import gc
import os
import threading
import time
import tracemalloc

import pytest

from tests.packed.objects import entry, packed, payload
from tests.properties.scale import SCALE
from tiercache.errors import BackendUnavailable
from tiercache.packed import names, naming
from tiercache.testing import FakeClock

HOUR = 3600.0
GUARD = 60


@pytest.fixture(params=["whole", "incremental"])
def listing(request, monkeypatch):
    """Both ways of listing: all names, or those behind the last ones."""
    if request.param == "incremental":
        monkeypatch.setattr(names, "BUCKETS", ())  # a listing of one page is as dear as that of the one bucket left

        def since(self):
            cursor = self._cursors.get("keep")
            start = f"{self._start}keep/"
            after = None
            if cursor is not None:
                after = start + naming.first_ulid(naming.ulid_time(cursor) - names.MARGIN)
            yield from (found for found in self._pages_of(start, after) if found is not None)

        monkeypatch.setattr(names.Names, "_since", since)
        whole = names.Names._whole

        def many_pages(self):
            yield from whole(self)
            self._pages = 1000

        monkeypatch.setattr(names.Names, "_whole", many_pages)
    return request.param


def stuck(objects, name_of_first=None):
    """Hold back the first segment that is written, until the event is set."""
    gate, reached = threading.Event(), threading.Event()

    def hold(call, name):
        if call == "write" and not reached.is_set():
            reached.set()
            gate.wait(GUARD)

    objects.before = hold
    return gate, reached


def test_a_delete_waits_for_what_hides_an_older_value_that_is_being_stored(objects):
    backend = packed(objects)
    backend.refresh()
    gate, reached = stuck(objects)
    backend.put("n:1", entry("n:1", b"old"))
    flush = threading.Thread(target=backend.flush)
    flush.start()
    assert reached.wait(GUARD)
    backend.put("n:1", entry("n:1", b"new"))  # waits in the next buffer, where the delete takes it out
    backend.delete("n:1")
    gate.set()
    flush.join(GUARD)
    # The process dies here: what it had not stored is lost.
    assert packed(objects).get("n:1") is None


def test_a_delete_takes_an_older_value_out_of_every_buffer(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1", b"secret" * 50, ttl=60))
    backend.put("n:1", entry("n:1", b"secret" * 50))
    backend.delete("n:1")
    backend.flush()
    assert not any(b"n:1" in body for body in objects.bodies.values())


def test_a_delete_in_a_full_catalogue_is_stored_at_once(objects):
    packed(objects, durable=True).put_many({f"n:{number}": entry(f"n:{number}") for number in range(4)})
    backend = packed(objects, max_entries=1)
    for number in range(4):
        backend.delete(f"n:{number}")
    fresh = packed(objects)
    assert [payload(fresh, f"n:{number}") for number in range(4)] == [None] * 4


def test_a_clock_that_is_ahead_does_not_keep_the_others_from_being_seen(objects, listing):
    clock, ahead = FakeClock(), FakeClock()
    ahead.advance(5 * HOUR)
    reader, wrong, right = (packed(objects, clock=each) for each in (clock, ahead, clock))
    reader.refresh()
    wrong.put("n:0", entry("n:0", now=ahead()))
    wrong.flush()
    reader.refresh()
    right.put("n:1", entry("n:1", now=clock()))
    right.flush()
    reader.refresh()
    assert payload(reader) == b"payload"
    assert payload(reader, "n:0") is None  # it comes from the future, which no entry does


def test_what_a_clock_hours_behind_names_is_found_at_the_next_whole_listing(objects, listing, monkeypatch):
    # Until then it is a miss, or the older value: as if its writer had not flushed.
    clock, behind = FakeClock(), FakeClock()
    clock.advance(5 * HOUR)
    reader, right, wrong = (packed(objects, clock=each) for each in (clock, clock, behind))
    right.put("n:0", entry("n:0", now=clock()))
    right.flush()
    reader.refresh()
    # Above every ULID of this process the next one ascends: another process has a sequence of its own.
    monkeypatch.setattr("tiercache.packed.sending.new_ulid", naming.Ulids().new)
    wrong.put("n:1", entry("n:1", now=behind()))
    wrong.flush()
    reader.refresh()
    assert payload(reader) == (b"payload" if listing == "whole" else None)
    monkeypatch.setattr(names, "WHOLE_EVERY", 0.0)
    reader.refresh()
    assert payload(reader) == b"payload"


def test_what_was_told_of_does_not_hide_what_was_stored_before(objects, listing):
    clock = FakeClock()
    reader, one, other = (packed(objects, clock=clock) for _ in range(3))
    reader.refresh()
    one.put("n:1", entry("n:1", now=clock()))
    one.flush()
    clock.advance(HOUR / 2)  # nobody used the reader meanwhile, and the news were lost
    other.on_sealed = reader.heard
    other.put("n:2", entry("n:2", now=clock()))
    other.flush()
    end = time.monotonic() + GUARD
    while len(reader.discovery.known()) < 1:
        assert time.monotonic() < end
        time.sleep(0.005)
    reader.refresh()
    assert payload(reader) == payload(reader, "n:2") == b"payload"


def test_a_tail_that_failed_is_read_with_the_next_look(objects, listing):
    clock = FakeClock()
    reader, writer = packed(objects, clock=clock), packed(objects, clock=clock)
    reader.refresh()
    writer.put("n:1", entry("n:1", now=clock()))
    writer.flush()
    [first] = objects.segments()
    clock.advance(HOUR / 2)
    writer.put("n:2", entry("n:2", now=clock()))
    writer.flush()

    def fail(call, name):
        if name == first:
            raise BackendUnavailable("down")

    objects.before = fail
    with pytest.raises(BackendUnavailable):
        reader.refresh()
    objects.before = lambda call, name: None
    reader.refresh()
    assert payload(reader) == payload(reader, "n:2") == b"payload"


def test_a_segment_of_a_clock_that_is_behind_stays_known_while_listings_lag(objects, monkeypatch):
    clock, behind = FakeClock(), FakeClock()
    clock.advance(5 * HOUR)
    monkeypatch.setattr("tiercache.packed.sending.new_ulid", naming.Ulids().new)
    writer = packed(objects, clock=behind)
    writer.put("n:1", entry("n:1", now=behind()))
    reader = packed(objects, clock=clock)
    reader.refresh()
    writer.on_sealed = reader.heard
    objects.lag = 3600
    writer.flush()
    end = time.monotonic() + GUARD
    while not reader.discovery.known():
        assert time.monotonic() < end
        time.sleep(0.005)
    reader.refresh()
    assert payload(reader) == b"payload"


def test_a_stamp_beyond_what_an_index_holds_is_the_highest_one(objects, monkeypatch):
    monkeypatch.setattr("tiercache.packed.sending.new_ulid", naming.Ulids().new)  # that of all tests stays as it is
    moment = FakeClock()
    moment.advance(2**48)
    backend = packed(objects, clock=moment)
    for value in (b"a", b"b"):
        backend.put("n:1", entry("n:1", value, now=moment()))
        backend.flush(deadline=time.monotonic() + GUARD)
    assert payload(backend) == payload(packed(objects, clock=moment)) == b"b"


def test_an_error_that_nobody_expects_does_not_leave_a_flush_waiting(objects):
    backend = packed(objects)
    backend.refresh()

    def fail(call, name):
        if call == "write":
            raise RuntimeError("a bug of an SDK")

    objects.before = fail
    backend.put("n:1", entry("n:1"))
    with pytest.raises(BackendUnavailable, match="unexpected RuntimeError"):
        backend.flush(deadline=time.monotonic() + GUARD)
    assert backend.get("n:1") is None
    assert backend.writer.pending.bytes == 0


def test_sixteen_threads_read_what_they_wrote(objects):
    backend = packed(objects, segment_bytes=4000, max_pending_bytes=20_000, flush_after=0.02)
    wrong: list[object] = []

    def work(number):
        for turn in range(60):
            key = f"n:{number}-{turn % 7}"
            value = f"{key} {turn}".encode() * 10
            backend.put(key, entry(key, value))
            found = backend.get_many([key])
            if found[key].payload != value:
                wrong.append((key, turn))
            if turn % 5 == 0:
                backend.delete(key)
                if backend.get(key) is not None:
                    wrong.append((key, turn, "deleted"))
            if turn % 20 == 0:
                backend.flush()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert not wrong
    backend.flush()
    assert backend.writer.pending.bytes == 0
    fresh = packed(objects)
    for number in range(16):
        for slot in range(7):
            key = f"n:{number}-{slot}"
            assert payload(fresh, key) == payload(backend, key)


def in_child(check):
    """Fork; return whether the child's check held."""
    child = os.fork()
    if child:
        end = time.monotonic() + GUARD
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0
            if time.monotonic() > end:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return False
            time.sleep(0.01)
    code = 1
    try:
        faulthandler.dump_traceback_later(GUARD // 2)  # of a child that hangs
        code = 0 if check() else 2
    finally:
        os._exit(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_does_not_write_what_its_parent_waits_with_and_both_go_on(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))

    def child():
        backend.flush()
        untouched = objects.segments() == []
        backend.put("n:2", entry("n:2"))
        backend.flush()
        return untouched and payload(backend, "n:2") == b"payload" and len(objects.segments()) == 1

    assert in_child(child)
    backend.flush()
    assert payload(packed(objects)) == b"payload"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_a_segment_is_taken_in_reads_it_anew(objects, monkeypatch):
    writer = packed(objects, durable=True)
    writer.put("n:1", entry("n:1"))
    backend = packed(objects)
    merge, inside, gate = backend.discovery.catalogue._merge, threading.Event(), threading.Event()

    def slow(*arguments):
        inside.set()
        gate.wait(GUARD)
        merge(*arguments)

    monkeypatch.setattr(backend.discovery.catalogue, "_merge", slow)
    look = backend.discovery.look()
    assert inside.wait(GUARD)
    assert in_child(lambda: payload(backend) == b"payload")
    gate.set()
    look.result(GUARD)
    assert payload(backend) == b"payload"


def test_many_flushes_leave_no_memory_behind(objects):
    backend = packed(objects)
    cycles = 100_000 if SCALE > 1 else 3_000

    def held(turns):
        for turn in range(turns):
            backend.put("n:1", entry("n:1", b"%d" % turn))
            backend.flush()
            for name in objects.segments():  # as `compact` does
                objects.bodies.pop(name)
            objects.classes.clear(), objects.written_at.clear(), objects.etags.clear()
            for segment in backend.discovery.known():
                if segment is not backend.discovery.known()[-1]:
                    backend.discovery.forget(segment)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held(500)
        after = held(cycles)
    finally:
        tracemalloc.stop()
    assert after - before < 200_000
    assert len(backend.discovery.segments) == 1
    assert backend.writer.pending.bytes == 0
