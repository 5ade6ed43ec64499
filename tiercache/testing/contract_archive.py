"""Contract cases of object stores: what was moved to an archive class is a miss, and is never restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ..objectstore import ObjectStoreBackend
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks

READS: dict[str, Callable[[ObjectStoreBackend, str], Any]] = {
    "get": lambda backend, key: backend.get(key),
    "head": lambda backend, key: backend.head(key),
    "get_many": lambda backend, key: backend.get_many([key]) or None,
    "scan": lambda backend, key: list(backend.scan(key)) or None,
    "full scan": lambda backend, key: list(backend.scan(key, full=True)) or None,
}


class ArchiveCases(ObjectStoreHooks):
    """A restore takes hours and is billed: a cache computes the value again."""

    @needs("supports_archive")
    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    def test_an_archived_entry_is_a_miss_and_nothing_is_restored(
        self, backend: ObjectStoreBackend, read: Callable[[ObjectStoreBackend, str], Any]
    ) -> None:
        key = self.archived(backend)
        before = self.head_of(backend, key).storage_class
        with self.sent(backend) as requests:
            assert read(backend, key) is None
        assert set(requests) <= {"GET", "HEAD"}
        assert len(requests) == 1
        assert self.head_of(backend, key).storage_class == before

    @needs("supports_archive")
    def test_an_archived_entry_does_not_hide_the_others(self, backend: ObjectStoreBackend) -> None:
        key, good = self.archived(backend), self.key("good")
        self.store(backend, good)
        assert list(backend.get_many([key, good])) == [good]
        assert [found for found, _ in backend.scan(self.prefix)] == [good]
        assert [found for found, _ in backend.scan(self.prefix, full=True)] == [good]

    @needs("supports_archive")
    def test_an_archived_entry_of_a_cut_name_is_a_miss(self, backend: ObjectStoreBackend) -> None:
        key = "k" * 2000
        self.store(backend, key)
        self.archive(backend, key)
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert list(backend.scan()) == []

    @needs("supports_archive")
    @pytest.mark.parametrize("if_absent", [False, True], ids=["put", "put if absent"])
    def test_an_archived_entry_is_replaced_by_a_write(self, backend: ObjectStoreBackend, if_absent: bool) -> None:
        key = self.archived(backend)
        assert backend.put(key, self.entry(key, b"new"), if_absent=if_absent) is True
        assert self.payload(backend, key) == b"new"
        head = backend.head(key)
        assert head is not None
        assert self.scanned(backend, self.prefix) == [key]

    @needs("supports_archive")
    def test_a_delete_removes_an_archived_entry_and_says_that_there_was_none(self, backend: ObjectStoreBackend) -> None:
        key = self.archived(backend)
        assert backend.delete(key) is False
        assert self.raw_object(backend, self.name_of(backend, key)) is None

    @needs("supports_archive")
    def test_bulk_deletes_and_clear_remove_archived_entries(self, backend: ObjectStoreBackend) -> None:
        one, two = self.archived(backend, "one"), self.archived(backend, "two")
        assert backend.delete_many([one]) == 1
        assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, two)]
        assert backend.clear(self.prefix) == 1
        assert self.raw_names(backend, backend.prefix) == []

    def archived(self, backend: ObjectStoreBackend, name: str = "archived") -> str:
        """Store an entry, read it, archive it, and return its key."""
        key = self.key(name)
        self.store(backend, key)
        assert self.payload(backend, key) == key.encode()
        self.archive(backend, key)
        return key
