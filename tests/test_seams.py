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
