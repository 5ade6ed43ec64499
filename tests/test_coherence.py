"""What one process changes leaves the memory of the others; here two chains stand for two processes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.carriers import Carrier, Hub, Process
from tests.support import RemoteBackend
from tiercache import Cache, Tier, TierChain
from tiercache.coherence import listening as coherence
from tiercache.coherence import notice, telling
from tiercache.entry import CLOCK_SKEW
from tiercache.errors import AccessDenied, BackendUnavailable

WAIT = 10


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def two(clock, hub):
    return Process(clock, hub), Process(clock, hub)


def eventually(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


CHANGES = {
    "set": lambda cache: cache.aset("k", "new"),
    "set_many": lambda cache: cache.aset_many({"k": "new", "other": 1}),
    "delete": lambda cache: cache.adelete("k"),
    "delete_many": lambda cache: cache.adelete_many(["k", "other"]),
    "touch": lambda cache: cache.atouch("k", ttl=10),
}
BLOCKING = {
    "set": lambda cache: cache.set("k", "new"),
    "set_many": lambda cache: cache.set_many({"k": "new", "other": 1}),
    "delete": lambda cache: cache.delete("k"),
    "delete_many": lambda cache: cache.delete_many(["k", "other"]),
    "touch": lambda cache: cache.touch("k", ttl=10),
}


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_the_memory_of_another_process(two, name, face):
    here, there = two
    here.cache.set("k", "old")
    assert there.cache.get("k") == "old"
    assert there.holds("k")
    if face == "sync":
        BLOCKING[name](here.cache)
    else:
        asyncio.run(CHANGES[name](here.cache))
    assert not there.holds("k")
    assert there.cache.get("k") == here.cache.get("k")


@pytest.mark.parametrize("face", ["sync", "async"])
@pytest.mark.parametrize("name", ["clear", "invalidate_tags"])
def test_an_invalidation_leaves_the_memory_of_another_process(two, name, face):
    here, there = two
    here.cache.set("k", "old", tags=["t"])
    here.cache.set("other", "stays")
    assert there.cache.get_many(["k", "other"]) == {"k": "old", "other": "stays"}
    arguments = [["t"]] if name == "invalidate_tags" else []
    if face == "sync":
        getattr(here.cache, name)(*arguments)
    else:
        asyncio.run(getattr(here.cache, f"a{name}")(*arguments))
    eventually(lambda: not there.holds("k"))
    assert there.cache.get("k") is None
    assert there.holds("other") is (name == "invalidate_tags")


def test_an_invalidation_that_was_not_heard_holds_after_the_gap(two, hub):
    here, there = two
    here.cache.set("k", "old", tags=["t"])
    assert there.cache.get("k") == "old"
    hub.cut()
    here.cache.invalidate_tags(["t"])
    hub.mend()
    assert there.cache.get("k") is None


def test_an_invalidation_that_could_not_be_told_is_told_later(two, hub):
    here, there = two
    here.cache.set("k", "old", tags=["t"])
    assert there.cache.get("k") == "old"
    hub.error = BackendUnavailable("down")  # for those who send
    here.cache.invalidate_tags(["t"])
    eventually(lambda: here.carrier.trace.count("carrier.announce") >= 4)  # it is tried again
    hub.error = None
    eventually(lambda: there.cache.get("k") is None)


def test_a_computed_value_replaces_what_another_process_remembers(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.entries.clear()  # evicted there
    here.cache.get_or_set("k", lambda: "new")
    assert there.cache.get("k") == "new"


def test_a_process_keeps_what_it_wrote_itself(two):
    here, _ = two
    here.cache.set("k", "v")
    assert here.cache.lookup("k").tier == "memory"


def test_two_chains_of_one_process_hear_each_other_and_not_themselves(two):
    here, there = two
    here.cache.set("k", 1)
    there.cache.set("k", 2)
    assert not here.holds("k")
    assert there.holds("k")
    assert (here.coherence.counters.heard, there.coherence.counters.heard) == (1, 0)


def test_a_copy_up_is_no_change(two, hub):
    here, there = two
    here.cache.set("k", "v")
    sent = len(hub.messages)
    assert there.cache.get("k") == "v"
    there.cache.drain()
    assert len(hub.messages) == sent
    assert here.holds("k")


def test_a_notice_holds_keys_and_times_and_no_value(two, hub, clock):
    here, _ = two
    here.cache.set("the-key", "the-value", attributes={"model": "secret"})
    (message,) = hub.messages
    said = notice.read(message)
    assert said is not None
    assert said.changes == {"n:the-key": clock.now}
    assert b"the-value" not in message
    assert b"secret" not in message
    assert "the-key" not in repr(said)


def test_a_large_batch_is_cut_into_notices_of_bounded_size(two, hub):
    here, there = two
    keys = [f"k{number}" for number in range(2 * notice.MAX_KEYS + 1)]
    here.cache.set_many(dict.fromkeys(keys, 0))
    assert sorted(there.cache.get_many(keys)) == sorted(keys)
    hub.messages.clear()
    here.cache.delete_many(keys)
    assert len(hub.messages) == 3
    assert there.cache.get_many(keys) == {}
    assert max(map(len, notice.written(bytes(16), {"k" * 60_000 + str(n): 0.0 for n in range(100)}))) < 1.1 * (1 << 20)


def test_the_newest_wins_whoever_is_heard_last(two, clock):
    _, there = two
    there.cache.set("k", "old")
    message = notice.written(bytes(16), {"n:k": clock.now})[0]
    there.coherence.heard(message)
    assert not there.holds("k")  # of the same moment: it may be the older one
    clock.advance(CLOCK_SKEW + 1)
    there.cache.set("k", "new")
    there.coherence.heard(message)
    assert there.holds("k")  # later than that, whichever clock is ahead


# What is under way when a notice arrives.


@pytest.fixture
def deep(clock, hub):
    """Two processes with a third tier, of which the second one's is slow; it alone holds the old value."""
    below = [RemoteBackend(clock, name="below"), RemoteBackend(clock, name="below")]
    below[1].entries = below[0].entries
    here, there = (Process(clock, hub, Tier(store, name="below", timeout=None)) for store in below)
    here.cache.set("k", "old")
    here.memory.clear()
    hub.entries.clear()
    there.cache.get("nothing")  # the first read asks the tiers for more than its key
    return here, there, below[1]


def test_a_load_that_another_process_overtook_is_not_stored(deep, hub):
    here, there, below = deep
    with ThreadPoolExecutor() as threads:
        reached, go_on = below.hold("get")
        reader = threads.submit(there.cache.get, "k")
        assert reached.wait(WAIT)  # the old value is in its hands
        here.cache.delete("k")
        go_on.set()
        assert reader.result(WAIT) == "old"  # it began before
    there.cache.drain()
    assert not there.holds("k")
    assert hub.entries == {}
    assert there.cache.get("k") is None


def test_a_copy_on_its_way_up_is_removed_again(deep, hub):
    here, there, _ = deep
    reached, go_on = there.carrier.hold("put")
    assert there.cache.get("k") == "old"
    assert reached.wait(WAIT)  # about to be written between the processes
    here.cache.delete("k")
    go_on.set()
    there.cache.drain()
    assert hub.entries == {}
    assert there.cache.get("k") is None


def test_nobody_joins_a_computation_that_another_process_overtook(two):
    here, there = two
    computing, go_on = threading.Event(), threading.Event()

    def slow():
        computing.set()
        assert go_on.wait(WAIT)
        return "old"

    with ThreadPoolExecutor() as threads:
        first = threads.submit(there.cache.get_or_set, "k", slow)
        assert computing.wait(WAIT)
        here.cache.delete("k")
        assert there.cache.get_or_set("k", lambda: "new") == "new"
        go_on.set()
        assert first.result(WAIT) == "old"
    assert there.cache.get("k") == "new"


# Gaps.


def test_memory_is_dropped_when_notices_stop_and_again_when_they_are_back(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.cut()
    assert not there.holds("k")
    there.cache.get("k")
    assert there.holds("k")
    hub.mend()
    assert not there.holds("k")
    assert there.coherence.counters.gaps == 1
    there.cache.get("k")
    here.cache.set("k", "new")
    assert there.cache.get("k") == "new"


def test_an_old_value_is_not_served_after_a_gap(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.cut()
    assert there.cache.get("k") == "old"
    here.cache.set("k", "new")  # cannot be told
    hub.mend()
    assert there.cache.get("k") == "new"


def test_while_notices_do_not_arrive_copies_stay_in_memory_for_a_second(two, hub, clock):
    here, there = two
    hub.cut()
    here.cache.set("k", "old")
    assert there.cache.lookup("k").tier == "carrier"
    assert there.cache.lookup("k").tier == "memory"
    here.cache.set("k", "new")
    clock.advance(coherence.BLIND_TTL)
    assert there.cache.get("k") == "new"


def test_a_value_that_only_memory_could_take_stays_its_whole_life(two, hub, clock):
    here, _ = two
    hub.cut()
    here.carrier.break_down()
    here.cache.set("k", "v", ttl=60)
    here.cache.set_many({"l": "w"}, ttl=60)
    calls = []
    here.cache.get_or_set("m", lambda: calls.append(1))
    clock.advance(59)
    assert here.cache.get_many(["k", "l"]) == {"k": "v", "l": "w"}
    assert here.cache.get_or_set("m", lambda: calls.append(1)) is None
    assert len(calls) == 1
    clock.advance(1)
    assert here.cache.get("k") is None


def test_a_load_that_began_before_the_notices_came_back_is_not_stored(two, hub):
    here, there = two
    here.cache.set("k", "old")
    hub.cut()
    with ThreadPoolExecutor() as threads:
        reached, go_on = there.carrier.hold("get")
        reader = threads.submit(there.cache.get, "k")
        assert reached.wait(WAIT)
        here.cache.set("k", "new")
        hub.mend()
        go_on.set()
        assert reader.result(WAIT) == "old"
    there.carrier.gates.clear()
    assert there.cache.get("k") == "new"


def test_what_is_no_notice_drops_everything(two):
    _, there = two
    for number, message in enumerate((b"", b"\xc1", bytes(40), notice._encoder.encode([2, bytes(16), {}, False]))):
        there.cache.set("k", "v")
        there.coherence.heard(message)
        assert not there.holds("k")
        assert there.coherence.counters.unreadable == number + 1


def test_a_notice_with_fields_of_a_later_release_is_read(two):
    _, there = two
    there.cache.set("k", "v")
    there.cache.set("other", "v")
    there.coherence.heard(notice._encoder.encode([1, bytes(16), {"n:k": 0.0}, False, {}, {}, "more"]))
    assert there.holds("other")
    assert there.coherence.counters.unreadable == 0


# The first operation.


def test_nothing_is_asked_before_the_first_operation(two, hub):
    assert hub.listeners == []


def test_a_carrier_that_does_not_answer_costs_the_first_caller_its_deadline_once(clock, hub):
    hub.answers = False
    here = Process(clock, hub)
    here.cache.set("k", "v")
    started = time.monotonic()
    for number in range(100):
        here.cache.set(f"k{number}", "v")
    assert time.monotonic() - started < 100 * here.carrier.timeout
    assert here.cache.lookup("k").tier == "memory"


def test_a_carrier_that_is_down_from_the_start_leaves_memory_in_use(clock, hub):
    hub.error = BackendUnavailable("down")
    here = Process(clock, hub)
    here.carrier.break_down()
    here.cache.set("k", "v")
    clock.advance(100)
    assert here.cache.lookup("k").tier == "memory"


def test_the_first_operation_joins_awaited_too(clock, hub):
    here = Process(clock, hub)

    async def main():
        await here.cache.aset("k", "v")
        await here.cache.aget_or_set("l", lambda: "w")
        return (await here.cache.alookup("k")).tier, (await here.cache.alookup("l")).tier

    assert asyncio.run(main()) == ("memory", "memory")
    assert here.carrier.trace.count("listen") == 1


def test_the_value_computed_by_the_first_operation_is_stored(clock, hub):
    here = Process(clock, hub)
    here.cache.get_or_set("k", lambda: "v")
    assert here.cache.lookup("k").tier == "memory"


# What cannot be told.


def test_what_could_not_be_told_is_told_by_itself_later(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.error = BackendUnavailable("down")  # for those who send; the listeners do not notice
    here.cache.set("k", "new")
    assert there.cache.get("k") == "old"
    eventually(lambda: here.carrier.trace.count("carrier.announce") >= 3)  # it is tried again
    hub.error = None
    eventually(lambda: there.cache.get("k") == "new")


def test_what_could_not_be_told_is_told_with_the_next_change(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.error = BackendUnavailable("down")
    here.cache.set("k", "new")
    hub.error = None
    here.cache.set("other", 1)
    assert there.cache.get("k") == "new"


def test_what_could_not_be_told_is_told_at_the_close(two, hub):
    here, there = two
    there.cache.set("k", "old")
    hub.error = BackendUnavailable("down")
    here.cache.delete("k")
    hub.error = None
    here.chain.close()
    assert there.cache.get("k") is None


def test_more_than_can_be_remembered_stands_for_everything(two, hub, monkeypatch):
    monkeypatch.setattr(telling, "MAX_OWED", 3)
    here, there = two
    there.cache.set_many(dict.fromkeys("abcdef", "old"))
    hub.error = BackendUnavailable("down")
    here.cache.delete_many(list("abcde"))
    hub.error = None
    here.cache.set("x", 1)
    assert not any(map(there.holds, "abcdef"))


def test_a_change_that_is_cancelled_under_way_is_told(two, hub):
    here, there = two
    there.cache.set("k", "old")
    here.carrier.faults["put"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        here.cache.set("k", "new")
    eventually(lambda: not there.holds("k"))


def test_a_user_who_may_not_send_is_not_refused_with_each_write(two, hub, caplog):
    here, _ = two
    hub.error = AccessDenied("may not")
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            here.cache.set("k", number)
    assert here.carrier.trace.count("carrier.announce") == 1
    assert len([record for record in caplog.records if "may not" in record.message]) == 1


def test_a_strict_chain_raises_what_keeps_it_from_telling(clock, hub):
    here = Process(clock, hub, strict=True)
    here.cache.set("k", "v")
    hub.error = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable):
        here.cache.set("k", "w")


# Who takes part.


def test_a_chain_that_is_not_coherent_neither_sends_nor_hears(clock, hub):
    here, there = Process(clock, hub), Process(clock, hub, coherent=False)
    there.cache.set("k", "old")
    assert hub.messages == []
    here.cache.set("k", "new")
    assert there.cache.get("k") == "old"
    assert len(hub.listeners) == 1


def test_a_chain_without_memory_sends_and_does_not_listen(clock, hub):
    there = Process(clock, hub)
    there.cache.set("k", "old")
    job = Cache(TierChain(Carrier(clock, hub), clock=clock), namespace="n")
    job.delete("k")
    assert there.cache.get("k") is None
    assert len(hub.listeners) == 1


def test_a_chain_that_only_reads_the_carrier_hears_and_does_not_send(clock, hub):
    reading = Process(clock, hub)
    reading.chain.tiers[1].write = "never"
    writing = Process(clock, hub)
    writing.cache.set("k", "old")
    assert reading.cache.get("k") == "old"
    sent = len(hub.messages)
    reading.cache.delete("k")
    assert len(hub.messages) == sent
    reading.cache.get("k")
    writing.cache.set("k", "new")
    assert reading.cache.get("k") == "new"


def test_a_closed_chain_hears_no_more_and_does_not_mind(two, hub):
    here, there = two
    here.cache.set("k", "v")
    there.cache.get("k")
    listener = there.coherence
    there.chain.close()
    assert listener not in hub.listeners
    listener.heard(hub.messages[0])  # it was on its way
    listener.lost(BackendUnavailable("late"))
