"""What a `PackedBackend` promises beyond the contract: when it asks the store, what others see, what is never lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.packed.objects import entry, packed, payload, until
from tiercache import keys
from tiercache.errors import BackendTimeout, BackendUnavailable, CacheClosed, ConfigurationError
from tiercache.packed import naming
from tiercache.testing import FakeClock


def test_an_entry_is_readable_at_once_and_written_with_the_others_in_one_object(objects):
    backend = packed(objects)
    for number in range(500):
        backend.put(f"n:{number}", entry(f"n:{number}", b"%d" % number))
    assert payload(backend, "n:7") == b"7"
    assert objects.segments() == []
    backend.flush()
    assert len(objects.segments()) == 1
    with objects.counted() as calls:
        assert payload(backend, "n:7") == b"7"
    assert calls == {"read_range": 1}


def test_a_full_buffer_is_written_without_being_asked(objects):
    backend = packed(objects, segment_bytes=20_000)
    for number in range(100):
        backend.put(f"n:{number}", entry(f"n:{number}", bytes([number]) * 200, codec=f"c{number}"))
    until(lambda: objects.segments())


def test_what_waits_is_written_after_flush_after(objects):
    backend = packed(objects, flush_after=0.05)
    backend.put("n:1", entry("n:1"))
    until(lambda: objects.segments())
    assert payload(backend, "n:1") == b"payload"


def test_close_writes_what_waits(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    backend.close()
    backend.close()
    assert payload(packed(objects), "n:1") == b"payload"
    with pytest.raises(CacheClosed):
        backend.get("n:1")


def test_durable_waits_until_the_segment_is_stored(objects):
    backend = packed(objects, durable=True)
    backend.put("n:1", entry("n:1"))
    assert len(objects.segments()) == 1
    backend.put_many({f"n:{number}": entry(f"n:{number}") for number in range(100)})
    assert len(objects.segments()) == 2


def test_a_miss_is_no_request(objects):
    backend = packed(objects)
    assert payload(backend, "n:absent") is None
    with objects.counted() as calls:
        for number in range(1000):
            assert backend.get(f"n:{number}") is None
        assert backend.get_many([f"n:{number}" for number in range(1000)]) == {}
    assert not calls


async def test_an_awaited_miss_is_no_request_and_no_thread(objects):
    backend = packed(objects)
    assert await backend.aget("n:absent") is None
    before = threading.active_count()
    with objects.counted() as calls:
        assert await backend.aget("n:absent") is None
    assert not calls
    assert threading.active_count() <= before


def test_what_has_expired_is_no_request(objects):
    clock = FakeClock()
    backend = packed(objects, clock=clock)
    backend.put("n:1", entry("n:1", ttl=10, now=clock()))
    backend.flush()
    clock.advance(11)
    backend.refresh()
    with objects.counted() as calls:
        assert backend.get("n:1") is None
    assert not calls


def test_near_entries_come_with_one_request(objects):
    backend = packed(objects, segment_bytes="64MiB", max_pending_bytes="64MiB")
    keys = [f"n:{number:04}" for number in range(40)]
    for number, key in enumerate(keys):
        backend.put(key, entry(key, bytes([number]) * 64 * 1024, codec="x", attributes={"n": number}))
    backend.flush()
    [name] = objects.segments()
    assert len(objects.bodies[name]) < 100_000  # payloads of one byte are compressed
    other = packed(objects)
    other.refresh()
    with objects.counted() as calls:
        assert len(other.get_many(keys)) == 40
    assert calls == {"read_range": 1}


def test_another_process_sees_it_after_it_has_looked(objects):
    one, other = packed(objects), packed(objects)
    assert other.get("n:1") is None
    one.put("n:1", entry("n:1"))
    one.flush()
    assert other.get("n:1") is None
    other.refresh()
    assert payload(other, "n:1") == b"payload"


def test_a_look_is_due_while_the_backend_is_used_and_no_listing_while_it_is_not(objects):
    one, other = packed(objects), packed(objects, refresh=0.05)
    assert other.get("n:1") is None
    one.put("n:1", entry("n:1"))
    one.flush()
    until(lambda: payload(other, "n:1") == b"payload")
    with objects.counted() as calls:
        time.sleep(0.2)
    assert not calls


def test_news_of_a_segment_make_it_known_without_a_listing(objects):
    one, other = packed(objects), packed(objects)
    assert other.get("n:1") is None
    one.on_sealed = other.heard
    with objects.counted() as calls:
        one.put("n:1", entry("n:1"))
        one.flush()
        until(lambda: payload(other, "n:1"))
    assert calls["list_page"] == 1  # of the one that writes


def test_the_newest_write_wins_whoever_made_it_and_whichever_segment_came_first(objects):
    clock = FakeClock()
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    one.put("n:1", entry("n:1", b"old", now=clock()))
    clock.advance(1)
    other.put("n:1", entry("n:1", b"new", now=clock()))
    other.flush()
    clock.advance(1)
    one.flush()  # its segment is the later one
    for backend in (one, other, packed(objects, clock=clock)):
        backend.refresh()
        assert payload(backend, "n:1") == b"new"


def test_a_writer_whose_clock_is_behind_overwrites_what_it_has_seen(objects):
    ahead, behind = FakeClock(), FakeClock()
    ahead.advance(200)
    one, other = packed(objects, clock=ahead), packed(objects, clock=behind)
    one.put("n:1", entry("n:1", b"old", now=ahead()))
    one.flush()
    assert payload(other, "n:1") == b"old"
    other.put("n:1", entry("n:1", b"new", now=behind()))
    other.flush()
    one.refresh()
    assert payload(one, "n:1") == b"new"


def test_a_deleted_entry_is_gone_for_others_when_they_have_looked(objects):
    one, other = packed(objects), packed(objects)
    one.put("n:1", entry("n:1"))
    one.flush()
    assert payload(other, "n:1") == b"payload"
    assert one.delete("n:1") is True
    assert one.get("n:1") is None
    other.refresh()
    assert other.get("n:1") is None
    assert packed(objects).get("n:1") is None
    assert one.delete("n:1") is False


def test_an_entry_deleted_while_it_waits_is_never_written(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1", b"secret" * 100))
    assert backend.delete("n:1") is True
    backend.flush()
    assert not any(b"n:1" in body for body in objects.bodies.values())
    assert packed(objects).get("n:1") is None


def test_a_delete_beats_what_another_process_put_before_and_writes_later(objects):
    clock = FakeClock()
    one, other = packed(objects, clock=clock), packed(objects, clock=clock)
    one.put("n:1", entry("n:1", now=clock()))
    clock.advance(1)
    other.delete("n:1")
    other.flush()
    clock.advance(1)
    one.flush()
    for backend in (one, other, packed(objects, clock=clock)):
        backend.refresh()
        assert backend.get("n:1") is None


def test_a_value_with_a_short_life_hides_the_older_one_for_as_long_as_that_one_lives(objects):
    clock = FakeClock()
    backend = packed(objects, clock=clock)
    backend.put("n:1", entry("n:1", b"for ever", now=clock()))
    backend.flush()
    backend.put("n:1", entry("n:1", b"an hour", ttl=3600, now=clock()))
    backend.flush()
    buckets = [naming.parse("p/", name).bucket for name in objects.segments()]
    assert buckets == ["keep", "keep"]
    clock.advance(4000)
    assert packed(objects, clock=clock).get("n:1") is None


def test_entries_wait_with_those_that_live_as_long(objects):
    backend = packed(objects)
    for number, ttl in enumerate([60, 86_000, 600_000, 2_000_000, 7_000_000, 30_000_000, 40_000_000, None]):
        backend.put(f"n:{number}", entry(f"n:{number}", ttl=ttl))
    backend.flush()
    buckets = [naming.parse("p/", name) for name in objects.segments()]
    assert sorted((each.bucket, each.count) for each in buckets) == [
        ("1d", 2),
        ("30d", 1),
        ("365d", 1),
        ("7d", 1),
        ("90d", 1),
        ("keep", 2),
    ]


def test_a_segment_that_is_gone_is_forgotten_and_looked_for_once(objects):
    one, other = packed(objects), packed(objects)
    one.put("n:1", entry("n:1"))
    one.flush()
    assert payload(other, "n:1") == b"payload"
    objects.bodies.clear()
    with objects.counted() as calls:
        assert other.get("n:1") is None
        assert other.get("n:1") is None
    assert calls == {"read_range": 1, "list_page": 1}


@pytest.mark.parametrize(
    "read", [payload, lambda backend: backend.get_many(["n:1"]), lambda backend: [*backend.scan()]]
)
def test_a_segment_is_not_forgotten_while_its_bucket_is_missing(objects, read):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    backend.flush()
    bodies, objects.bodies = objects.bodies, {}

    def no_bucket(call, name):
        if call == "list_page":
            raise ConfigurationError("the bucket is missing")

    objects.before = no_bucket
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            read(backend)
    objects.bodies, objects.before = bodies, lambda call, name: None
    with objects.counted() as calls:
        assert payload(backend) == b"payload"
    assert calls == {"read_range": 1}


def test_a_segment_that_was_missed_in_error_is_found_again_at_once(objects):
    backend = packed(objects)
    backend.put("n:1", entry("n:1"))
    backend.flush()
    (name,) = objects.segments()
    body = objects.bodies.pop(name)
    objects.before = lambda call, _: objects.bodies.update({name: body}) if call == "list_page" else None
    assert payload(backend) == b"payload"


def test_what_was_merged_is_no_miss_while_somebody_looks_for_it(objects):
    one, other = packed(objects), packed(objects)
    one.put_many({key: entry(key) for key in ("n:1", "n:2")})
    one.flush()
    one.put("n:3", entry("n:3"))
    one.flush()
    other.refresh()
    one.compact()
    listing, go_on = threading.Event(), threading.Event()

    def hold(call, name):
        if call == "list_page":
            listing.set()
            assert go_on.wait(30)

    objects.before = hold
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(payload, other, "n:1")
        assert listing.wait(30)
        before = objects.calls["read_range"]
        second = pool.submit(payload, other, "n:2")
        until(lambda: second.done() or objects.calls["read_range"] > before)
        go_on.set()
        assert [first.result(30), second.result(30)] == [b"payload", b"payload"]


def test_an_archived_segment_is_a_miss(objects):
    one = packed(objects)
    one.put("n:1", entry("n:1"))
    one.flush()
    objects.archived.update(objects.segments())
    assert one.get("n:1") is None
    assert packed(objects).get("n:1") is None


def test_a_lost_acknowledgement_is_recognised(objects, monkeypatch):
    backend = packed(objects)
    backend.refresh()
    lost, write = [], objects.write

    def lose(upload, **options):
        written = write(upload, **options)
        if not lost:
            lost.append(upload.name)
            raise BackendTimeout("lost")
        return written

    monkeypatch.setattr(objects, "write", lose)
    backend.put("n:1", entry("n:1"))
    backend.flush(deadline=time.monotonic() + 30)
    assert backend.writer.counters.recognised == 1
    assert objects.segments() == lost
    assert payload(packed(objects), "n:1") == b"payload"


def test_what_fails_is_tried_again_and_readable_meanwhile(objects):
    backend = packed(objects)
    failures = iter(range(3))

    def fail(call, name):
        if call == "write" and next(failures, None) is not None:
            raise BackendUnavailable("down")

    backend.refresh()
    objects.before = fail
    backend.put("n:1", entry("n:1"))
    with pytest.raises(BackendUnavailable, match="down"):
        backend.flush(deadline=time.monotonic() + 0.05)
    assert payload(backend, "n:1") == b"payload"
    backend.flush(deadline=time.monotonic() + 60)
    assert backend.writer.counters.failed == 3
    assert payload(packed(objects), "n:1") == b"payload"


def test_a_durable_put_that_cannot_be_stored_says_so(objects):
    backend = packed(objects, durable=True)
    backend.refresh()

    def fail(call, name):
        if call == "write":
            raise BackendUnavailable("down")

    objects.before = fail
    with pytest.raises(BackendUnavailable, match="down"):
        backend.put("n:1", entry("n:1"), deadline=time.monotonic() + 0.2)


@pytest.mark.parametrize(("when_full", "error"), [("wait", BackendTimeout), ("drop", BackendUnavailable)])
def test_what_waits_is_bounded(objects, when_full, error):
    backend = packed(objects, segment_bytes=10_000, max_pending_bytes=20_000, when_full=when_full)
    backend.refresh()
    down = threading.Event()
    down.set()

    def fail(call, name):
        if call == "write" and down.is_set():
            raise BackendUnavailable("down")

    objects.before = fail

    def put_many():
        for number in range(100):
            key = f"n:{number}"
            backend.put(key, entry(key, key.encode() * 300, codec=key), deadline=time.monotonic() + 0.3)
            assert backend.writer.pending.bytes <= 20_000

    with pytest.raises(error, match="store is slower"):
        put_many()
    down.clear()
    backend.flush(deadline=time.monotonic() + 60)
    backend.put("n:again", entry("n:again"))


def test_many_kinds_of_entries_share_the_room(objects):
    backend = packed(objects, segment_bytes=20_000, max_pending_bytes=20_000)
    for number in range(60):
        key = f"n:{number}"
        ttl = (3600, 500_000, 2_000_000, None)[number % 4]
        backend.put(key, entry(key, ttl=ttl, attributes={"a": "b" * 1000}), deadline=time.monotonic() + 30)
    assert len(backend.get_many([f"n:{number}" for number in range(60)])) == 60


def test_the_librarys_own_entries_are_single_objects(objects):
    backend = packed(objects)
    key = f"{keys.RESERVED}:epochs:n"
    assert backend.put(key, entry(key), if_absent=True) is True
    assert packed(objects).put(key, entry(key), if_absent=True) is False
    assert objects.segments() == []
    assert packed(objects).get(key) is not None
    assert set(backend.get_many([key, "n:1"])) == {key}
    assert backend.delete(key) is True


def test_a_catalogue_that_cannot_be_loaded_is_no_miss(objects):
    packed(objects).put("n:1", entry("n:1"))
    backend = packed(objects)

    def fail(call, name):
        if call == "list_page":
            raise BackendUnavailable("down")

    objects.before = fail
    with pytest.raises(BackendUnavailable):
        backend.get("n:1")
    objects.before = lambda call, name: None
    assert backend.get("n:1") is None


def test_a_slow_load_costs_the_deadline_and_goes_on(objects):
    gate = threading.Event()
    objects.before = lambda call, name: call == "list_page" and gate.wait(30)
    backend = packed(objects)
    with pytest.raises(BackendTimeout):
        backend.get("n:1", deadline=time.monotonic() + 0.05)
    gate.set()
    assert backend.get("n:1") is None
    assert objects.calls["list_page"] == 1


def test_conditional_writes_hold_among_the_threads_of_a_process(objects):
    backend = packed(objects)
    wins = []

    def put(number):
        if backend.put("n:1", entry("n:1", b"%d" % number), if_absent=True):
            wins.append(number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert payload(backend, "n:1") == b"%d" % wins[0]


def test_a_scan_shows_what_waits_and_what_is_stored_once(objects):
    backend = packed(objects)
    for number in range(30):
        backend.put(f"n:{number:02}", entry(f"n:{number:02}"))
    backend.flush()
    for number in range(25, 35):
        backend.put(f"n:{number:02}", entry(f"n:{number:02}", b"again"))
    backend.delete("n:03")
    expected = [f"n:{number:02}" for number in range(35) if number != 3]
    for full in (False, True):
        assert sorted(key for key, _ in backend.scan(full=full)) == expected
    backend.flush()
    with objects.counted() as calls:
        assert sorted(key for key, _ in packed(objects).scan("n:")) == expected
    assert calls["list_page"] == 1
    assert calls["read_range"] == 2 * len(objects.segments())


@pytest.mark.parametrize(
    "options",
    [
        {"segment_bytes": "nonsense"},
        {"flush_after": -1},
        {"when_full": "later"},
        {"durable": 1},
        {"max_entries": 0},
        {"segment_bytes": "8MiB", "max_pending_bytes": "1MiB"},
    ],
)
def test_options_that_are_none_are_refused(objects, options):
    with pytest.raises(ConfigurationError):
        packed(objects, **options)


def test_only_an_object_store_can_be_packed():
    from tiercache import MemoryBackend
    from tiercache.packed import PackedBackend

    with pytest.raises(ConfigurationError, match=r"as in PackedBackend\(S3Backend\('my-bucket'\)\), not of a Mem"):
        PackedBackend(MemoryBackend())
    with pytest.raises(ConfigurationError, match="not of the class MemoryBackend"):
        PackedBackend(MemoryBackend)
