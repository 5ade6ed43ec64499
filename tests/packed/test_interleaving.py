"""Whatever another process does in the middle of a compaction, and with no lease between them, a dict agrees."""

from __future__ import annotations

import threading
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packed.histories import KEYS, History, contents
from tests.properties.scale import SCALE
from tiercache.packed import lease

DAY = 86_400
LIVES = st.sampled_from([500, 5 * DAY, 60 * DAY, None])
changes = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from(KEYS), LIVES),
    st.tuples(st.just("delete"), st.integers(0, 1), st.sampled_from(KEYS)),
    st.tuples(st.just("wait"), st.sampled_from([600, DAY + 1, 6 * DAY])),
    st.tuples(st.just("compact"), st.integers(0, 1)),
    st.tuples(st.just("sweep"), st.integers(0, 1)),
)
meddling = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.just(1), st.sampled_from(KEYS), LIVES),
        st.tuples(st.just("delete"), st.just(1), st.sampled_from(KEYS)),
        st.tuples(st.just("erase"), st.just(1), st.sampled_from(KEYS)),
        st.tuples(st.just("wait"), st.sampled_from([1, 700])),
        st.tuples(st.just("compact"), st.just(1)),
        st.tuples(st.just("sweep"), st.just(1)),
        st.tuples(st.just("read"), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


def apply(history, name, *values):
    if name == "put":
        history.put(*values)
        history.processes[values[0]].flush()
    elif name == "delete":
        history.delete(*values)
        history.processes[values[0]].flush()
    elif name == "erase":
        history.processes[values[0]].erase(values[1])
        history.expected.pop(values[1], None)
        history.clock.advance(1)
    elif name == "wait":
        history.clock.advance(values[0])
    elif name == "read":  # who meets a segment that is gone forgets it; a thread that looks cannot wait for itself
        if not threading.current_thread().name.startswith(("tiercache-segments", "tiercache-tails")):
            history.processes[values[0]].get_many(KEYS)
    else:
        getattr(history.processes[values[0]], name)()


@settings(max_examples=60 * SCALE, deadline=None)
@given(
    st.sampled_from([600, 1500, 8 * 2**20]),
    st.lists(changes, min_size=4, max_size=16),
    st.sampled_from(["compact", "sweep", "erase"]),
    st.integers(1, 25),
    meddling,
)
def test_what_others_do_meanwhile_brings_nothing_back_and_loses_nothing(segment_bytes, before, what, call, meanwhile):
    history, made = History(segment_bytes), 0
    for change in before:
        history.flush()
        apply(history, *change)
    history.flush()

    def meddle(*_):
        nonlocal made
        made += 1
        if made == call:
            for change in meanwhile:
                apply(history, *change)

    first = history.processes[0]
    with (
        mock.patch.object(lease.Lease, "take", return_value=True),
        mock.patch.object(lease.Lease, "is_old", return_value=False),
    ):
        history.objects.before = meddle
        if what == "erase":
            first.erase("n:none")
        else:
            getattr(first, what)()
        history.objects.before = lambda call, name: None
        assert contents(history.objects, history.clock) == history.must_be()
        for _ in range(2):
            history.clock.advance(DAY + 1)
            for process in history.processes:
                process.compact()
                process.sweep()
            assert contents(history.objects, history.clock) == history.must_be()
