"""Contract cases of object stores: how many requests an operation sends, and listings of more than one page."""

from __future__ import annotations

from typing import Any

import pytest

from ..objectstore import ObjectStoreBackend
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks

ONE_REQUEST: dict[str, Any] = {
    "get, a hit": lambda backend, key, absent, entry: backend.get(key),
    "get, a miss": lambda backend, key, absent, entry: backend.get(absent),
    "head, a hit": lambda backend, key, absent, entry: backend.head(key),
    "head, a miss": lambda backend, key, absent, entry: backend.head(absent),
    "put": lambda backend, key, absent, entry: backend.put(absent, entry),
    "put over another": lambda backend, key, absent, entry: backend.put(key, entry.with_metadata(key=key)),
    "put, if absent": lambda backend, key, absent, entry: backend.put(absent, entry, if_absent=True),
    "delete of nothing": lambda backend, key, absent, entry: backend.delete(absent),
    "delete_many": lambda backend, key, absent, entry: backend.delete_many([key]),
    "scan": lambda backend, key, absent, entry: list(backend.scan(key)),
    "ping": lambda backend, key, absent, entry: backend.ping(),
}


class RequestCases(ObjectStoreHooks):
    """A request is what an object store bills. Each case sends others first: those that find out where they are."""

    @pytest.mark.parametrize("operation", ONE_REQUEST.values(), ids=ONE_REQUEST)
    def test_it_is_one_request(self, backend: ObjectStoreBackend, operation: Any) -> None:
        key, absent = self.key(), self.key("absent")
        self.store_and_read(backend, key)
        with self.sent(backend) as requests:
            operation(backend, key, absent, self.entry(absent))
        assert len(requests) == 1

    @needs("supports_if_match")
    @pytest.mark.parametrize("outdated", [False, True], ids=["the version that was read", "another version"])
    def test_a_put_if_match_is_one_request(self, backend: ObjectStoreBackend, outdated: bool) -> None:
        key = self.key()
        self.store_and_read(backend, key)
        version = self.etag(backend, key)
        if outdated:
            backend.put(key, self.entry(key, b"two"))
        with self.sent(backend) as requests:
            assert backend.put(key, self.entry(key, b"three"), if_match=version) is not outdated
        assert len(requests) == 1

    @needs("supports_if_absent")
    def test_a_put_if_absent_that_is_refused_looks_once_at_what_is_there(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store_and_read(backend, key)
        with self.sent(backend) as requests:
            assert backend.put(key, self.entry(key, b"two"), if_absent=True) is False
        assert len(requests) == 2

    def test_a_delete_of_an_entry_is_two_requests(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store_and_read(backend, key)
        with self.sent(backend) as requests:
            assert backend.delete(key) is True
        assert len(requests) == 2

    @pytest.mark.parametrize("stale_for", [None, 3600.0], ids=["expired", "stale"])
    def test_an_entry_past_its_ttl_is_one_request_too(
        self, backend: ObjectStoreBackend, stale_for: float | None
    ) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=-30, stale_for=stale_for))
        backend.get(key)
        with self.sent(backend) as requests:
            assert (backend.get(key) is None) is (stale_for is None)
        assert len(requests) == 1

    def test_a_batch_of_reads_or_writes_is_one_request_for_each_key(self, backend: ObjectStoreBackend) -> None:
        keys = self.keys(20)
        self.store_and_read(backend, self.key())
        with self.sent(backend) as writes:
            backend.put_many({key: self.entry(key) for key in keys})
        with self.sent(backend) as reads:
            assert len(backend.get_many([*keys, self.key("absent")])) == 20
        assert (len(writes), len(reads)) == (20, 21)

    def test_a_full_scan_sends_no_more_than_a_head_for_each_entry(self, backend: ObjectStoreBackend) -> None:
        keys = self.keys(10)
        self.store_and_read(backend, *keys)
        with self.sent(backend) as listing:
            assert len(list(backend.scan(self.prefix))) == 10
        with self.sent(backend) as requests:
            assert len(list(backend.scan(self.prefix, full=True))) == 10
        assert len(requests) <= len(listing) + 10

    # More than one page

    def test_many_entries_are_scanned_once_each_and_cleared(self, backend: Any) -> None:
        """The case of all stores, with its requests counted: nothing is read to be deleted, nothing deleted singly."""
        keys = self.keys(self.many)
        backend.put_many({key: self.entry(key) for key in keys})
        with self.sent(backend) as listing:
            assert self.scanned(backend, self.prefix) == keys
        with self.sent(backend) as clearing:
            assert backend.clear(self.prefix) == self.many
        assert len(clearing) <= len(listing) + self.bulk_deletes(backend, self.many)
        assert self.raw_names(backend, backend.prefix) == []

    def test_a_full_scan_of_many_entries_knows_each(self, backend: ObjectStoreBackend) -> None:
        keys = self.keys(self.many)
        ends = {key: self.now() + 3600 + number for number, key in enumerate(keys)}
        backend.put_many({key: self.entry(key).with_metadata(expires_at=end) for key, end in ends.items()})
        found = [(key, metadata.expires_at) for key, metadata in backend.scan(self.prefix, full=True)]
        assert len(found) == self.many
        assert dict(found) == ends

    def test_many_keys_are_deleted_in_bulk(self, backend: ObjectStoreBackend) -> None:
        keys = self.keys(self.many)
        there = [keys[0], keys[self.many // 2], keys[-1]]
        self.store_and_read(backend, *there)
        with self.sent(backend) as requests:
            assert backend.delete_many(keys) == self.many
        assert len(requests) == self.bulk_deletes(backend, self.many)
        assert self.raw_names(backend, backend.prefix) == []

    def store_and_read(self, backend: ObjectStoreBackend, *keys: str) -> None:
        """Put an entry under each key and read one: connections are up then, and the bucket is known to be there."""
        self.store(backend, *keys)
        assert self.payload(backend, keys[0]) is not None
