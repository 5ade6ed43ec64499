"""What fails is tried again: under a name that others still look for, by few threads, and not when it is too old."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from tests.packed.objects import entry, packed, payload, until
from tiercache.errors import BackendTimeout, BackendUnavailable, CacheClosed
from tiercache.packed import backend as module
from tiercache.packed import names, naming, sending, writer
from tiercache.packed.age import Age
from tiercache.packed.segment import digest_of
from tiercache.testing import FakeClock

PATIENCE = 30.0
MINUTE, HOUR = 60.0, 3600.0
DIGEST = digest_of("n:1")


@pytest.fixture
def clock():
    return FakeClock()


def within():
    return time.monotonic() + PATIENCE


class Store:
    """Loses the answers to writes of one key's segments, whether they arrive or not."""

    def __init__(self, objects, monkeypatch):
        self.uploads, self.write = [], objects.write
        self.fails = self.arrives = False
        monkeypatch.setattr(objects, "write", self._write)

    def _write(self, upload, **options):
        fails = self.fails and b"n:1" in upload.body
        self.uploads.append(upload)
        written = self.write(upload, **options) if self.arrives or not fails else False
        if fails:
            raise BackendTimeout("lost")
        return written


@pytest.fixture
def store(objects, monkeypatch):
    return Store(objects, monkeypatch)


def failed_once(backend, store, clock, *, arrives=False):
    """Put an entry whose first attempt fails."""
    store.fails, store.arrives = True, arrives
    backend.put("n:1", entry("n:1", now=clock()))
    with pytest.raises(BackendTimeout):
        backend.flush(deadline=time.monotonic() + 0.05)
    until(lambda: len(backend.writer._retries))


# Under which name


def test_what_is_stored_late_has_a_late_name_and_keeps_its_stamp(objects, store, clock):
    backend, reader = packed(objects, clock=clock), packed(objects, clock=clock)
    failed_once(backend, store, clock)
    stamp = backend.newest.stamp(DIGEST)
    clock.advance(20 * MINUTE)
    store.fails = False
    backend.flush(deadline=within())
    [name] = objects.segments()
    parts = naming.parse("p/", name)
    assert parts is not None
    assert naming.ulid_time(parts.ulid) >= clock() - MINUTE > clock() - names.MARGIN
    assert payload(reader) == b"payload"
    assert reader.newest.stamp(DIGEST) == stamp


def test_others_find_it_with_their_next_look_among_the_last_names(objects, store, clock, monkeypatch):
    whole = names.Names._whole

    def many_pages(self):
        yield from whole(self)
        self._pages = 1000

    monkeypatch.setattr(names.Names, "_whole", many_pages)
    backend, reader, third = (packed(objects, clock=clock) for _ in range(3))
    reader.refresh()
    failed_once(backend, store, clock)
    clock.advance(30 * MINUTE)
    third.put("n:2", entry("n:2", now=clock()))
    third.flush()
    reader.refresh()
    store.fails = False
    backend.flush(deadline=within())
    reader.refresh()
    assert payload(reader) == b"payload"


def test_a_segment_whose_answer_was_lost_long_ago_is_recognised_and_not_stored_again(objects, store, clock):
    backend = packed(objects, clock=clock)
    failed_once(backend, store, clock, arrives=True)
    clock.advance(20 * MINUTE)
    backend.flush(deadline=within())
    assert objects.segments() == [store.uploads[0].name]
    assert backend.writer.counters.recognised == 1
    assert payload(backend) == payload(packed(objects, clock=clock)) == b"payload"


def test_within_minutes_the_name_stays(objects, store, clock):
    backend = packed(objects, clock=clock)
    failed_once(backend, store, clock)
    clock.advance(2 * MINUTE)
    store.fails = False
    backend.flush(deadline=within())
    assert len({upload.name for upload in store.uploads}) == 1
    assert objects.calls["stat"] == 0


def test_the_name_is_not_changed_while_it_is_unknown_whether_the_segment_is_there(objects, store, clock):
    backend = packed(objects, clock=clock)
    failed_once(backend, store, clock, arrives=True)
    store.fails = False
    clock.advance(20 * MINUTE)
    gate = threading.Event()

    def before(call, name):
        if call == "stat" and not gate.is_set():
            raise BackendUnavailable("down")

    objects.before = before
    with pytest.raises(BackendUnavailable):
        backend.flush(deadline=time.monotonic() + 0.05)
    gate.set()
    backend.flush(deadline=within())
    assert len(objects.segments()) == 1


@pytest.mark.parametrize("then", ["nothing", "put", "delete"])
def test_an_attempt_that_arrives_after_its_batch_was_renamed_changes_nothing(objects, store, clock, then):
    backend, reader = packed(objects, clock=clock), packed(objects, clock=clock)
    failed_once(backend, store, clock)
    store.fails = False
    clock.advance(20 * MINUTE)
    backend.flush(deadline=within())
    reader.refresh()
    if then == "put":
        backend.put("n:1", entry("n:1", b"new", now=clock()))
    if then == "delete":
        backend.delete("n:1")
    backend.flush(deadline=within())
    assert store.write(store.uploads[0], if_absent=True, if_match=None, deadline=None)
    expected = {"nothing": b"payload", "put": b"new", "delete": None}[then]
    for process in (backend, reader, packed(objects, clock=clock)):
        process.refresh()
        assert payload(process) == expected
    clock.advance(3 * 86_400)
    for _ in range(2):
        backend.compact(early=True)
        assert payload(backend) == payload(packed(objects, clock=clock)) == expected


# In how many threads


def test_an_outage_takes_few_threads_however_many_batches_failed(objects):
    backend = packed(objects, durable=True)
    backend.refresh()

    def down(call, name):
        if call == "write":
            raise BackendUnavailable("down")

    objects.before = down
    before, most = threading.active_count(), 0
    for number in range(300):
        with pytest.raises(BackendUnavailable):
            backend.put(f"n:{number}", entry(f"n:{number}"), deadline=within())
        most = max(most, threading.active_count())
    assert most <= before + writer.THREADS + 1
    objects.before = lambda call, name: None
    backend.flush(deadline=within())
    assert len(packed(objects).get_many([f"n:{number}" for number in range(300)])) == 300
    assert not len(backend.writer._retries)


def test_while_retries_hang_what_comes_anew_is_tried_at_once(objects):
    backend = packed(objects, durable=True)
    backend.refresh()
    gate, hanging, seen = threading.Event(), threading.Event(), set()

    def down(call, name):
        if call != "write":
            return
        if name in seen:  # a retry
            hanging.set()
            gate.wait(PATIENCE)
        seen.add(name)
        raise BackendUnavailable("down")

    objects.before = down
    for number in range(20):
        with pytest.raises(BackendUnavailable):
            backend.put(f"n:{number}", entry(f"n:{number}"), deadline=within())
    assert hanging.wait(PATIENCE)
    backend.writer._retries.hurry()
    for number in range(20, 40):
        with pytest.raises(BackendUnavailable, match="down"):
            backend.put(f"n:{number}", entry(f"n:{number}"), deadline=within())
    assert not gate.is_set()
    objects.before = lambda call, name: None
    gate.set()
    backend.flush(deadline=within())


def test_what_failed_is_tried_again_though_nobody_asks(objects, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.001)
    backend = packed(objects)
    failures = iter(range(3))

    def fail(call, name):
        if call == "write" and next(failures, None) is not None:
            raise BackendUnavailable("down")

    objects.before = fail
    backend.put("n:1", entry("n:1"))
    backend.writer.pending.seal()
    until(lambda: objects.segments())
    until(lambda: not backend.has_pending)


def test_where_there_is_no_thread_for_another_attempt_it_is_made_later(objects, monkeypatch):
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.001)
    backend = packed(objects)
    objects.before = fail_once("write")
    submit, refused = backend.writer._pool.submit, []

    def refuse(function, *arguments):
        if function == backend.writer._send_again and len(refused) < 2:
            refused.append(function)
            raise BackendUnavailable("no worker thread can be started")
        return submit(function, *arguments)

    monkeypatch.setattr(backend.writer._pool, "submit", refuse)
    backend.put("n:1", entry("n:1"))
    backend.writer.pending.seal()
    until(lambda: objects.segments())
    assert len(refused) == 2


def test_a_backend_with_failed_batches_that_is_closed_leaves_nothing_behind(objects, monkeypatch):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    backend = packed(objects)
    backend.refresh()

    def down(call, name):
        if call == "write":
            raise BackendUnavailable("down")

    objects.before = down
    backend.put("n:1", entry("n:1"))
    backend.close()
    assert backend.writer.counters.dropped == 1
    assert not backend.has_pending
    gone = weakref.ref(backend)
    del backend

    def is_gone():
        gc.collect()
        return gone() is None

    until(is_gone)


# Not when it is too old


def test_a_process_that_was_frozen_does_not_store_what_it_held(objects, clock):
    """The monotonic clock of a suspended machine stands still; the wall clock goes on."""
    frozen, other = packed(objects, clock=clock), packed(objects, clock=clock)
    frozen.put("n:1", entry("n:1", now=clock()))
    clock.advance(1)
    other.delete("n:1")
    other.flush()
    clock.advance(3 * 86_400)
    other.compact(early=True)  # the tombstone goes
    with pytest.raises(BackendUnavailable, match="for an hour"):
        frozen.flush(deadline=within())
    assert frozen.writer.counters.dropped == 1
    for process in (frozen, other, packed(objects, clock=clock)):
        process.refresh()
        assert process.get("n:1") is None


def test_a_buffer_that_waited_while_the_machine_was_suspended_takes_nothing_for_long(objects, clock):
    backend = packed(objects, clock=clock, flush_after=300)
    backend.put("n:1", entry("n:1", now=clock()))
    clock.advance(writer.LONGEST_WAIT)
    backend._tick()
    until(lambda: objects.segments())


def test_an_age_is_the_greater_one_of_two_clocks(clock):
    age = Age(clock)
    clock.advance(HOUR)
    assert age.seconds() >= HOUR
    clock.now -= 3 * HOUR
    age.since -= 5
    assert HOUR > age.seconds() >= 5


# Closing


def test_what_is_put_while_it_closes_is_refused_and_what_waited_is_stored(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    writing, gate = threading.Event(), threading.Event()

    def slow(call, name):
        if call == "write":
            writing.set()
            gate.wait(PATIENCE)

    objects.before = slow
    closing = threading.Thread(target=backend.close)
    closing.start()
    assert writing.wait(PATIENCE)
    for put in (
        lambda: backend.put("n:2", entry("n:2")),
        lambda: backend.put_many({"n:2": entry("n:2")}),
        lambda: backend.delete("n:1"),
        lambda: backend.changes.put("n:2", entry("n:2"), None),  # one that had begun before
    ):
        with pytest.raises(CacheClosed):
            put()
    gate.set()
    closing.join(PATIENCE)
    assert set(packed(objects).get_many(["n:1", "n:2"])) == {"n:1"}


def test_a_put_that_waits_for_room_is_refused_when_it_closes(objects, monkeypatch):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    backend = packed(objects, segment_bytes=10_000, max_pending_bytes=10_000)
    backend.refresh()

    def down(call, name):
        if call == "write":
            raise BackendUnavailable("down")

    objects.before = down
    refused = []

    def fill():
        for number in range(100):
            key = f"n:{number}"
            try:
                backend.put(key, entry(key, attributes={"a": "b" * 3000}), deadline=time.monotonic() + 10 * PATIENCE)
            except CacheClosed:
                refused.append(number)
                return

    filling = threading.Thread(target=fill)
    filling.start()
    until(lambda: backend.writer.counters.failed)
    backend.close()
    filling.join(PATIENCE)
    assert refused
    assert backend.writer.counters.dropped == refused[0]  # what was taken and not stored is counted


def test_all_that_is_lost_by_closing_is_said(objects, monkeypatch, caplog):
    """Also what there was no thread for."""
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))

    def refuse(*call):
        raise BackendUnavailable("the worker pool is full")

    monkeypatch.setattr(backend.writer._pool, "submit", refuse)
    backend.close()
    assert "1 entries were not stored" in caplog.text


def fail_once(call):
    left = [call]

    def before(name, of):
        if name in left:
            left.remove(name)
            raise BackendUnavailable("down")

    return before
