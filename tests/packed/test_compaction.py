"""What `compact` promises: live entries stay bit for bit, hidden ones never come back, whenever it dies."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packed.histories import KEYS, Died, History, contents, die_at, live, records
from tests.packed.objects import entry, packed
from tests.properties.scale import SCALE
from tiercache import keys
from tiercache.errors import BackendUnavailable, ConfigurationError, PartialFailure
from tiercache.objectstore.classes import ClassRules
from tiercache.packed import lease, naming, rewriting, sending
from tiercache.testing import FakeClock

DAY = 86_400


@pytest.fixture
def clock():
    return FakeClock()


def filled(objects, clock, segments=4, each=5, **options):
    backend = packed(objects, clock=clock, **options)
    for number in range(segments):
        for item in range(each):
            key = f"n:{number}.{item}"
            backend.put(key, entry(key, key.encode() * 9, now=clock()))
        backend.flush()
        clock.advance(1)
    return backend


def test_small_segments_become_one_with_every_live_record_bit_for_bit_and_with_its_stamp(objects, clock):
    backend = filled(objects, clock)
    before = sorted((key, at.stamp, at.gone_at, data) for key, at, data in records(objects))
    report = backend.compact()
    assert len(objects.segments()) == 1
    assert sorted((key, at.stamp, at.gone_at, data) for key, at, data in records(objects)) == before
    assert (report.merged, report.written, report.deleted, report.entries, report.complete) == (4, 1, 4, 20, True)
    assert packed(objects, clock=clock).get("n:2.3").payload == b"n:2.3" * 9
    assert "4 of 4 segments deleted" in str(report)


async def test_it_can_be_awaited(objects, clock):
    assert (await filled(objects, clock).acompact()).written == 1


def test_called_again_it_finds_nothing_to_do(objects, clock):
    backend = filled(objects, clock)
    backend.compact()
    with objects.counted() as calls:
        report = backend.compact()
    assert (report.written, report.deleted, report.complete) == (0, 0, True)
    assert calls["read_range"] == 0


def test_what_is_overwritten_deleted_or_expired_loses_its_bytes(objects, clock):
    backend = packed(objects, clock=clock)
    for key, value, ttl in [("n:a", b"old" * 50, None), ("n:b", b"deleted" * 50, None), ("n:c", b"expired" * 50, 600)]:
        backend.put(key, entry(key, value, ttl=ttl, now=clock()))
    backend.flush()
    clock.advance(700)
    backend.put("n:a", entry("n:a", b"new" * 50, now=clock()))
    backend.delete("n:b")
    backend.flush()
    backend.compact()
    assert [key for key, at, _ in records(objects) if at.length] == ["n:a"]
    stored = b"".join(objects.bodies[name] for name in objects.segments())
    assert b"new" in stored
    assert not any(value in stored for value in (b"oldold", b"deleted", b"expired"))
    assert contents(objects, clock) == {}
    assert packed(objects, clock=clock).get("n:a").payload == b"new" * 50


def test_a_segment_whose_entries_are_all_overwritten_is_deleted_unread(objects, clock):
    backend = filled(objects, clock, segments=1, each=50, segment_bytes=4000)
    old = set(objects.segments())
    for item in range(50):
        backend.put(f"n:0.{item}", entry(f"n:0.{item}", b"again" * 200, now=clock()))
    backend.flush()
    read = []
    objects.before = lambda call, name: read.append(name) if call == "read_range" else None
    backend.compact()
    assert not old & set(objects.segments())
    assert not old & set(read)


def test_a_large_live_segment_is_left_as_it_is(objects, clock):
    backend = packed(objects, clock=clock, segment_bytes=4000)
    for number in range(4):
        backend.put(f"n:{number}", entry(f"n:{number}", bytes(range(250)) * 8, codec="x", now=clock()))
        backend.flush()
    before = objects.segments()
    names = [name for name in before if len(objects.bodies[name]) >= 2000]
    backend.compact()
    assert set(names) <= set(objects.segments())


def test_lives_and_classes_are_not_mixed(objects, clock):
    backend = packed(objects, clock=clock)
    for number in range(4):
        for ttl in (600, 20 * DAY, None):
            key = f"n:{number}.{ttl}"
            backend.put(key, entry(key, ttl=ttl, now=clock()))
        backend.flush()
    backend.compact()
    assert sorted(naming.parse("p/", name).bucket for name in objects.segments()) == ["1d", "30d", "keep"]


def test_a_tombstone_stays_for_a_day_and_goes_then(objects, clock):
    backend = packed(objects, clock=clock)
    backend.put("n:a", entry("n:a", now=clock()))
    backend.flush()
    clock.advance(1)
    backend.delete("n:a")
    backend.compact()
    assert [(key, at.length) for key, at, _ in records(objects)] == [("", 0)]
    clock.advance(3 * 3600)
    backend.compact()
    assert len(records(objects)) == 1
    clock.advance(DAY)
    backend.compact()
    assert records(objects) == []


def test_a_tombstone_that_must_stay_is_not_written_again_and_again(objects, clock):
    backend = packed(objects, clock=clock)
    backend.put("n:a", entry("n:a", now=clock()))
    backend.flush()
    clock.advance(1)
    backend.delete("n:a")
    backend.compact()
    before = objects.segments()
    assert backend.compact().written == 0
    assert objects.segments() == before


def test_a_tombstone_stays_as_long_as_it_hides_anything(objects, clock):
    backend = packed(objects, clock=clock, segment_bytes=4000)
    for number in range(3):
        key = f"n:{number}"
        backend.put(key, entry(key, bytes(range(250)) * 6, codec=key, attributes={"a": "b" * 1500}, now=clock()))
    backend.flush()
    [large] = [name for name in objects.segments() if len(objects.bodies[name]) > 2000][:1]
    hidden = next(key for key, at, _ in records(objects) if key and key.encode() in objects.bodies[large])
    clock.advance(1)
    backend.delete(hidden)
    clock.advance(3 * DAY)
    for _ in range(3):
        packed(objects, clock=clock, segment_bytes=4000).compact()
        assert packed(objects, clock=clock).get(hidden) is None


def test_a_reader_that_knows_the_old_segments_finds_the_values_in_the_new_one(objects, clock):
    backend = filled(objects, clock)
    reader, other = packed(objects, clock=clock), packed(objects, clock=clock)
    assert reader.get("n:0.0") is not None
    assert other.get("n:0.0") is not None
    backend.compact()
    assert reader.get("n:3.4").payload == b"n:3.4" * 9
    names = [f"n:{number}.{item}" for number in range(4) for item in range(5)]
    assert set(other.get_many(names)) == set(names)


def test_a_process_that_listed_before_and_reads_after_sees_no_old_value(objects, clock, monkeypatch):
    """The segment of the newer value goes between its listing and its tail: it must be looked for again."""
    backend = packed(objects, clock=clock, segment_bytes=4000)
    big = {"attributes": {"a": "b" * 2500}}
    backend.put("n:a", entry("n:a", b"old", now=clock()))
    backend.put("n:other", entry("n:other", now=clock(), **big))
    backend.flush()
    clock.advance(1)
    backend.put("n:a", entry("n:a", b"new", now=clock()))
    backend.flush()
    clock.advance(1)
    backend.put("n:b", entry("n:b", now=clock()))
    backend.flush()
    reader = packed(objects, clock=clock)
    begun, lock, tail_of = [], threading.Lock(), reader.discovery._tails.of

    def late(name, *args):
        with lock:
            if not begun:
                begun.append(name)
                assert backend.compact().deleted == 2
        return tail_of(name, *args)

    monkeypatch.setattr(reader.discovery._tails, "of", late)
    assert reader.get("n:a").payload == b"new"
    assert begun


def test_nothing_is_deleted_while_a_listing_does_not_show_what_replaces_it(objects, clock):
    backend = filled(objects, clock)
    backend.refresh()
    old = objects.segments()
    objects.lag = 3600.0
    for name in old:
        objects.written_at[name] -= 7200
    report = backend.compact()
    assert not report.complete
    assert set(old) <= set(objects.segments())
    objects.lag = 0.0
    backend.compact()
    assert not set(old) & set(objects.segments())


def test_a_second_compactor_returns_at_once_and_says_so(objects, clock):
    one, other = filled(objects, clock), packed(objects, clock=clock)
    reports = []

    def meanwhile(call, name):
        if call == "read_range" and not reports and "_segments/" in name and objects.calls["write"] == 5:
            objects.before = lambda call, name: None
            reports.append(other.compact())

    objects.before = meanwhile
    one.compact()
    assert reports[0].busy
    assert "another process" in str(reports[0])
    assert len(objects.segments()) == 1


def test_two_compactors_at_once_lose_nothing(objects, clock, monkeypatch):
    one, other = filled(objects, clock), packed(objects, clock=clock)
    other.refresh()
    monkeypatch.setattr(lease.Lease, "take", lambda self, deadline: True)
    monkeypatch.setattr(lease.Lease, "is_old", lambda self: False)
    begun = []

    def meanwhile(call, name):
        if call == "write" and "_segments/" in name and not begun:
            begun.append(name)
            other.compact()

    objects.before = meanwhile
    one.compact()
    live(objects)
    assert begun
    names = [f"n:{number}.{item}" for number in range(4) for item in range(5)]
    assert set(packed(objects, clock=clock).get_many(names)) == set(names)
    clock.advance(60)
    other.compact()
    assert len(objects.segments()) == 1
    assert set(packed(objects, clock=clock).get_many(names)) == set(names)


def test_the_lease_of_a_compactor_that_died_runs_out(objects, clock):
    backend = filled(objects, clock)
    dying = packed(objects, clock=clock)
    dying.refresh()
    die_at(objects, 3, after=False)
    with pytest.raises(Died):
        dying.compact()
    live(objects)
    assert backend.compact().busy
    clock.advance(lease.SECONDS + 1)
    assert not backend.compact().busy
    assert len(objects.segments()) == 1


def test_a_lease_that_was_taken_over_ends_the_compaction(objects, clock):
    backend = filled(objects, clock)
    other = packed(objects, clock=clock)

    def take_over(call, name):
        if call == "list_page":
            objects.before = lambda call, name: None
            clock.advance(lease.SECONDS + 1)
            assert lease.Lease(other.inner).take(None)

    objects.before = take_over
    report = backend.compact()
    assert report.busy
    assert report.written == 0
    assert len(objects.segments()) == 4


@pytest.mark.parametrize("budget", [20, 24, 30])
def test_the_budget_of_requests_holds_and_the_next_call_goes_on(objects, clock, budget):
    filled(objects, clock, segments=30, each=1)
    backend = packed(objects, clock=clock)
    backend.refresh()
    for _ in range(40):
        with objects.counted() as calls:
            report = backend.compact(max_requests=budget)
        assert sum(calls.values()) <= report.requests <= budget
        if report.complete:
            break
    assert report.complete
    assert len(objects.segments()) == 1
    assert len(backend.get_many([f"n:{number}.0" for number in range(30)])) == 30


def test_the_budget_of_bytes_holds(objects, clock):
    backend = filled(objects, clock, segments=60, each=4, segment_bytes=2000)
    report = backend.compact(max_bytes=32_000)
    assert report.read_bytes + report.written_bytes <= 32_000
    for _ in range(20):
        if report.complete:
            break
        report = backend.compact(max_bytes=32_000)
    assert report.complete
    names = [f"n:{number}.{item}" for number in range(60) for item in range(4)]
    assert set(packed(objects, clock=clock).get_many(names)) == set(names)


@pytest.mark.parametrize(
    "options", [{"max_requests": 3}, {"max_bytes": 10}, {"max_requests": True}, {"max_requests": -1}]
)
def test_a_budget_that_allows_nothing_is_refused(objects, clock, options):
    with pytest.raises(ConfigurationError, match="at least"):
        packed(objects, clock=clock).compact(**options)


@pytest.mark.parametrize("options", [{"early": "no"}, {"max_bytes": -1}, {"max_bytes": 1.5}, {"max_requests": "20"}])
def test_an_option_that_has_no_such_value_is_refused(objects, clock, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        packed(objects, clock=clock).compact(**options)


def test_segments_that_are_billed_for_longer_are_left_alone_unless_told(objects, clock, monkeypatch):
    for module in (sending, rewriting):  # ULIDs ascend in a process: those of other tests are in this clock's future
        monkeypatch.setattr(module, "new_ulid", naming.Ulids().new)
    backend = filled(objects, clock)
    backend.inner.rules = {"COLD": ClassRules(store="S", name="COLD", min_days=30)}
    backend.inner.storage_class = "COLD"
    report = backend.compact()
    assert (report.young, report.written) == (4, 0)
    assert backend.compact(early=True).written == 1
    clock.advance(31 * DAY)
    assert backend.compact().young == 0


def test_what_was_invalidated_is_dropped_and_nothing_of_other_prefixes(objects, clock):
    backend = packed(objects, clock=clock)
    for number in range(3):
        for space in ("n", "m"):
            key = f"{space}:{number}"
            backend.put(key, entry(key, tags=("red",) if number else (), now=clock()))
        backend.flush()
    backend.compact("n:", is_dead=lambda moment, tags: "red" in tags)
    assert sorted(key for key, at, _ in records(objects) if at.length) == ["m:0", "m:1", "m:2", "n:0"]


def test_progress_is_told_and_what_it_raises_ends_the_compaction(objects, clock):
    backend = filled(objects, clock)
    told = []
    backend.compact(progress=told.append)
    assert told[-1].written == 1

    def stop(report):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        backend.compact(progress=stop)
    assert backend.compact(progress=told.append).busy is False


def test_a_damaged_segment_is_left_alone(objects, clock):
    backend = filled(objects, clock)
    backend.refresh()
    name = objects.segments()[0]
    body = bytearray(objects.bodies[name])
    body[-1] ^= 1
    objects.bodies[name] = bytes(body)
    report = backend.compact()
    assert report.damaged == 1
    assert name in objects.segments()
    assert backend.get("n:3.0") is not None


def test_what_fails_is_counted_raised_and_tried_again_by_the_next_call(objects, clock):
    backend = filled(objects, clock)

    def fail(call, name):
        if call == "remove_many":
            raise BackendUnavailable("down")

    objects.before = fail
    with pytest.raises(PartialFailure) as failure:
        backend.compact()
    assert failure.value.results.failed == {"BackendUnavailable": 1}
    live(objects)
    backend.compact()
    assert len(objects.segments()) == 1


def test_a_full_catalogue_is_refused(objects, clock):
    filled(objects, clock)
    with pytest.raises(ConfigurationError, match="max_entries"):
        packed(objects, clock=clock, max_entries=3).compact()
    assert len(objects.segments()) == 4


def test_a_compactor_whose_clock_is_behind_keeps_what_others_wrote(objects, clock, monkeypatch):
    behind = FakeClock()
    clock.advance(3600 * 24 * 365 * 100)
    filled(objects, clock)
    monkeypatch.setattr(rewriting, "new_ulid", naming.Ulids().new)  # it is another process
    backend = packed(objects, clock=behind)
    backend.compact()
    assert len(objects.segments()) == 1
    names = [f"n:{number}.{item}" for number in range(4) for item in range(5)]
    assert set(packed(objects, clock=clock).get_many(names)) == set(names)
    assert len(list(backend.scan("n:"))) == 20


def test_a_tombstone_among_live_entries_stays_as_long_as_it_hides_anything(objects, clock):
    backend = packed(objects, clock=clock, segment_bytes=8000)
    big = {"attributes": {"a": "b" * 5000}}
    backend.put("n:a", entry("n:a", b"old", now=clock()))
    backend.put("n:large", entry("n:large", now=clock(), **big))
    backend.flush()
    [large] = objects.segments()
    clock.advance(1)
    backend.put("n:a", entry("n:a", b"short", ttl=600, now=clock()))
    backend.put("n:b", entry("n:b", now=clock()))
    backend.flush()
    backend.put("n:c", entry("n:c", now=clock()))
    backend.flush()
    clock.advance(2 * DAY)
    assert backend.compact().written == 1
    assert large in objects.segments()
    assert set(contents(objects, clock)) == set()
    assert packed(objects, clock=clock).get("n:a") is None
    assert packed(objects, clock=clock).get("n:b") is not None


def test_the_lease_is_an_entry_of_the_librarys_own():
    assert lease.KEY.startswith(keys.RESERVED + ":")


changes = st.one_of(
    st.tuples(
        st.just("put"), st.integers(0, 1), st.sampled_from(KEYS), st.sampled_from([500, 5 * DAY, 60 * DAY, None])
    ),
    st.tuples(st.just("delete"), st.integers(0, 1), st.sampled_from(KEYS)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("wait"), st.sampled_from([600, DAY + 1, 6 * DAY])),
    st.tuples(st.just("compact"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("sweep"), st.integers(0, 1)),
    st.tuples(st.just("die"), st.integers(0, 1), st.integers(1, 14), st.booleans()),
)


@settings(max_examples=60 * SCALE, deadline=None)
@given(st.sampled_from([600, 1500, 8 * 2**20]), st.lists(changes, min_size=3, max_size=25))
def test_whatever_happened_before_and_wherever_it_dies_a_fresh_process_finds_what_a_dict_has(segment_bytes, steps):
    history = History(segment_bytes)
    for name, *values in steps:
        if name == "put":
            history.put(*values)
            history.flush()
        elif name == "delete":
            history.delete(*values)
            history.flush()
        elif name == "flush":
            history.flush()
        elif name == "wait":
            history.clock.advance(values[0])
        else:
            history.flush()
            process = history.processes[values[0]]
            if name == "die":
                die_at(history.objects, values[1], after=values[2])
                try:
                    process.compact()
                except Died:
                    history.restart()
                live(history.objects)
            elif name == "compact":
                process.compact(early=values[1])
            else:
                process.sweep()
            assert contents(history.objects, history.clock) == history.must_be()
    history.flush()
    for process in history.processes:
        process.compact()
        found = {key: item.payload for key, item in process.get_many(KEYS).items()}
        assert found == history.must_be()
    assert contents(history.objects, history.clock) == history.must_be()


@pytest.mark.parametrize("after", [False, True])
def test_a_compaction_that_dies_at_any_call_leaves_what_must_be_there(after):
    for call in range(1, 30):
        history = History()
        for number, key in enumerate(KEYS):
            history.put(number % 2, key, (500, 5 * DAY, None)[number % 3])
            history.flush()
        history.put(0, KEYS[2], 500)
        history.put(1, KEYS[5], None)
        history.delete(0, KEYS[1])
        history.flush()
        history.clock.advance(2 * DAY)
        die_at(history.objects, call, after=after)
        died = False
        try:
            history.processes[0].compact()
        except Died:
            died = True
        history.restart()
        assert contents(history.objects, history.clock) == history.must_be()
        history.clock.advance(lease.SECONDS + 1)
        history.processes[1].compact()
        assert contents(history.objects, history.clock) == history.must_be()
        if not died:
            return
    pytest.fail("it made more calls than were tried")
