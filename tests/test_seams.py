"""Where journals, processes that fork or end, and what is heard of other processes meet, in one chain."""

from __future__ import annotations

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.flow import drive
from tiercache.journal.hearsay import ask
from tiercache.journal.journal import Journal
from tiercache.journal.missed import KEY, Report, entry_of

WAIT = 10


def entry(value: str, created_at: float) -> Entry:
    return Entry(value.encode(), Metadata(key="n:k", created_at=created_at))


def test_a_forked_child_does_not_read_what_the_parent_is_about_to_replace() -> None:
    journal = Journal()
    journal.queue("n:k", entry("new", 2.0))
    journal.after_fork()
    assert not journal.pending  # the parent writes it
    assert journal.refuses("n:k", entry("old", 1.0).metadata)
    assert not journal.refuses("n:k", entry("new", 2.0).metadata)
    assert not journal.refuses("n:k", entry("newer", 3.0).metadata)


def test_a_change_missed_while_the_names_of_others_are_forgotten_is_remembered() -> None:
    journal = Journal(limit=2)
    journal.on_overflow.append(lambda namespace: journal.missed_change(["n:1"]))  # missed again, after the mark
    journal.missed_change(["n:1", "n:2", "n:3"])
    assert "n:1" in journal.pending
    assert "n:2" not in journal.pending


def test_what_was_heard_of_a_tier_holds_while_nobody_can_be_asked(clock: FakeClock) -> None:
    upper, lower = RemoteBackend(clock, name="upper"), RemoteBackend(clock, name="lower")
    tiers = [Tier(upper, name="upper", breaker=False), Tier(lower, name="lower", breaker=False)]
    with Cache(TierChain(*tiers, clock=clock), namespace="n") as cache:
        lower.entries["n:k"] = entry("old", clock() - 1)
        upper.entries[KEY] = entry_of(Report(missing={"lower": {"another": clock()}}))
        assert cache.get("k") is None  # another process holds a change of it
        upper.break_down()
        drive(ask(cache.chain.missed, cache.chain.side_by_side, tiers[1]))
        assert cache.get("k") is None
        upper.faults.clear()
        upper.entries[KEY] = entry_of(Report())
        drive(ask(cache.chain.missed, cache.chain.side_by_side, tiers[1]))
        assert cache.get("k") == b"old"


def test_entries_that_are_not_written_before_the_end_leave_nothing_older(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiercache.chain.DRAIN_TIMEOUT", 0.3)
    upper, lower = RemoteBackend(clock, name="upper"), RemoteBackend(clock, name="lower")

    def process() -> Cache:
        behind = Tier(lower, name="lower", write="behind", breaker=False)
        return Cache(TierChain(Tier(upper, name="upper", breaker=False), behind, clock=clock), namespace="n")

    lower.entries["n:k"] = entry("old", clock() - 1)
    with process() as here:
        lower.break_down()
        here.set("k", "new")
    lower.faults.clear()
    del upper.entries["n:k"]  # evicted
    with process() as there:
        assert there.get("k") is None
