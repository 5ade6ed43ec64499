"""Where journals, processes that fork or end, and what is heard of other processes meet, in one chain."""

from __future__ import annotations

from tiercache.entry import Entry, Metadata
from tiercache.journal import Journal

WAIT = 10


def entry(value: str, created_at: float) -> Entry:
    return Entry(value.encode(), Metadata(key="n:k", created_at=created_at))


def test_a_forked_child_does_not_read_what_the_parent_is_about_to_replace() -> None:
    journal = Journal()
    journal.queue("n:k", entry("new", 2.0))
    journal.after_fork()
    assert not journal.pending  # the parent writes it
    assert journal.refuses("n:k", entry("old", 1.0))
    assert not journal.refuses("n:k", entry("new", 2.0))
    assert not journal.refuses("n:k", entry("newer", 3.0))


def test_a_change_missed_while_the_names_of_others_are_forgotten_is_remembered() -> None:
    journal = Journal(limit=2)
    journal.on_overflow.append(lambda namespace: journal.missed_change(["n:1"]))  # missed again, after the mark
    journal.missed_change(["n:1", "n:2", "n:3"])
    assert "n:1" in journal.pending
    assert "n:2" not in journal.pending
