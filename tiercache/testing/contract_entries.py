"""Contract cases: entries come back whole, a miss is None, a write says truthfully what it did."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from .. import envelope
from ..backend import Backend
from ..errors import BackendTimeout, CacheClosed
from .contract_hooks import ContractHooks, needs

PAYLOADS = {
    "empty": b"",
    "one byte": b"\0",
    "text that compresses": b"the same words again and again. " * 1000,
    "below the compression threshold": b"x" * 1024,
    "random bytes": os.urandom(5000),
    "1 MiB": os.urandom(2**16) * 16,
}

ATTRIBUTES = {
    "model": "text-embedding-3-small",
    "größe": "naïve 日本 🔑 \n\0",
    "tokens": 2**53 + 1,
    "negative": -1,
    "price": 0.1 + 0.2,
    "whole": 1.0,
    "streamed": True,
    "cut": False,
    "tenant": None,
    "": "",
}

OPERATIONS: dict[str, Any] = {
    "get": lambda backend, key, entry, **deadline: backend.get(key, **deadline),
    "put": lambda backend, key, entry, **deadline: backend.put(key, entry, **deadline),
    "delete": lambda backend, key, entry, **deadline: backend.delete(key, **deadline),
    "head": lambda backend, key, entry, **deadline: backend.head(key, **deadline),
    "get_many": lambda backend, key, entry, **deadline: backend.get_many([key], **deadline),
    "put_many": lambda backend, key, entry, **deadline: backend.put_many({key: entry}, **deadline),
    "delete_many": lambda backend, key, entry, **deadline: backend.delete_many([key], **deadline),
    "scan": lambda backend, key, entry, **deadline: list(backend.scan(key, **deadline)),
    "clear": lambda backend, key, entry, **deadline: backend.clear(key, **deadline),
    "ping": lambda backend, key, entry, **deadline: backend.ping(**deadline),
}


class EntryCases(ContractHooks):
    """Reads, writes, batches and the end of a backend."""

    # Round trips

    @pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
    def test_a_payload_comes_back_as_it_was(self, backend: Backend, payload: bytes) -> None:
        key = self.key()
        assert backend.put(key, self.entry(key, payload)) is True
        got = backend.get(key)
        assert got is not None
        assert type(got.payload) is bytes
        assert got.payload == payload
        assert got.metadata.size == len(payload)

    def test_get_returns_all_the_metadata_that_were_put(self, backend: Backend) -> None:
        key = self.key()
        entry = self.entry(key, ttl=3600.125, stale_for=60, codec="ndarray;<f4;384", tags=("doc:7", "größe 🏷"))
        entry = entry.with_metadata(as_of=entry.metadata.created_at - 1.5)
        backend.put(key, entry)
        got = backend.get(key)
        assert got is not None
        for name in ("key", "created_at", "expires_at", "stale_until", "as_of", "codec", "tags", "size"):
            assert getattr(got.metadata, name) == getattr(entry.metadata, name), name

    @pytest.mark.parametrize("name", ATTRIBUTES)
    def test_an_attribute_keeps_its_value_and_its_type(self, backend: Backend, name: str) -> None:
        key = self.key()
        backend.put(key, self.entry(key, attributes={name: ATTRIBUTES[name]}))
        got = backend.get(key)
        assert got is not None
        assert [(n, type(v), v) for n, v in got.metadata.attributes.items()] == [
            (name, type(ATTRIBUTES[name]), ATTRIBUTES[name])
        ]

    def test_head_agrees_with_get(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"text " * 1000, ttl=3600.125, stale_for=60, codec="msgpack"))
        head, got = backend.head(key), backend.get(key)
        assert head is not None
        assert got is not None
        for name in ("key", "created_at", "expires_at", "stale_until", "codec", "size"):
            assert getattr(head, name) == getattr(got.metadata, name), name
        if got.metadata.etag is not None:  # `get` may leave it out where it costs too much
            assert head.etag == got.metadata.etag

    def test_head_of_an_entry_that_never_expires_says_so(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key))
        head = backend.head(key)
        assert head is not None
        assert (head.expires_at, head.stale_until) == (None, None)

    def test_an_entry_that_was_read_can_be_put_again(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"text " * 1000, ttl=3600, tags=("t",), attributes={"price": 0.5}))
        first = backend.get(key)
        assert first is not None
        assert backend.put(key, first) is True
        second = backend.get(key)
        assert second is not None
        assert second.payload == first.payload
        for name in ("created_at", "expires_at", "codec", "tags", "attributes", "size"):
            assert getattr(second.metadata, name) == getattr(first.metadata, name), name

    @needs("supports_raw")
    def test_an_entry_promoted_from_another_tier_is_stored_as_the_bytes_that_were_read(self, backend: Backend) -> None:
        key = self.key()
        wire = envelope.encode(self.entry(key, b"text " * 1000, ttl=3600))
        backend.put(key, envelope.decode(wire, key))
        assert self.raw_get(backend, key) == wire

    # Misses

    def test_an_absent_key_is_a_miss(self, backend: Backend) -> None:
        key = self.key()
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert backend.get_many([key, self.key("other")]) == {}

    def test_empty_batches_do_nothing(self, backend: Backend) -> None:
        assert backend.get_many([]) == {}
        backend.put_many({})
        assert backend.delete_many([]) == 0

    # Writes

    def test_a_later_put_wins(self, backend: Backend) -> None:
        key = self.key()
        assert backend.put(key, self.entry(key, b"one")) is True
        assert backend.put(key, self.entry(key, b"two")) is True
        assert self.payload(backend, key) == b"two"

    def test_an_overwrite_leaves_nothing_of_the_old_metadata(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=3600, stale_for=60, tags=("old",), attributes={"old": 1}))
        backend.put(key, self.entry(key))
        got = backend.get(key)
        assert got is not None
        found = got.metadata
        assert (found.expires_at, found.stale_until, found.tags, found.attributes) == (None, None, (), {})

    def test_what_the_caller_changes_after_put_does_not_reach_the_store(self, backend: Backend) -> None:
        key = self.key()
        attributes = {"model": "one"}
        backend.put(key, self.entry(key, attributes=attributes))
        attributes["model"] = "two"
        got = backend.get(key)
        assert got is not None
        assert got.metadata.attributes == {"model": "one"}

    @pytest.mark.parametrize("batch", [False, True], ids=["get", "get_many"])
    def test_what_a_reader_changes_does_not_reach_the_store(self, backend: Backend, batch: bool) -> None:
        key = self.key()
        backend.put(key, self.entry(key, attributes={"model": "one"}))
        first = backend.get_many([key])[key] if batch else backend.get(key)
        assert first is not None
        first.metadata.attributes["model"] = "two"
        again = backend.get(key)
        assert again is not None
        assert again.metadata.attributes == {"model": "one"}

    # Deletes

    def test_delete_says_whether_something_was_there(self, backend: Backend) -> None:
        key = self.key()
        assert backend.delete(key) is False
        self.store(backend, key)
        assert backend.delete(key) is True
        assert backend.delete(key) is False

    def test_a_deleted_entry_is_a_miss_and_its_neighbour_stays(self, backend: Backend) -> None:
        key, neighbour = self.key("a"), self.key("aa")
        self.store(backend, key, neighbour)
        backend.delete(key)
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert self.payload(backend, neighbour) == neighbour.encode()

    def test_a_deleted_key_can_be_written_again(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        backend.delete(key)
        self.store(backend, key)
        assert self.payload(backend, key) == key.encode()

    # Batches

    def test_put_many_and_get_many_carry_each_entry_under_its_own_key(self, backend: Backend) -> None:
        keys = self.keys(12)
        backend.put_many({key: self.entry(key, key.encode()) for key in keys})
        found = backend.get_many(keys)
        assert {key: entry.payload for key, entry in found.items()} == {key: key.encode() for key in keys}
        assert all(entry.metadata.key == key for key, entry in found.items())

    def test_get_many_leaves_out_what_is_absent(self, backend: Backend) -> None:
        there, absent = self.key("there"), self.key("absent")
        self.store(backend, there)
        assert list(backend.get_many([absent, there, there])) == [there]

    def test_delete_many_returns_how_many_are_now_absent(self, backend: Backend) -> None:
        one, two, kept, absent = (self.key(name) for name in ("one", "two", "kept", "absent"))
        self.store(backend, one, two, kept)
        assert backend.delete_many([one, two, absent]) == 3
        assert list(backend.get_many([one, two, kept])) == [kept]

    # Deadlines, closing, what is said in logs

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_every_operation_takes_a_deadline(self, backend: Backend, name: str) -> None:
        key = self.key()
        OPERATIONS[name](backend, key, self.entry(key), deadline=time.monotonic() + 60)

    def test_a_spent_deadline_is_a_timeout(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        spent = time.monotonic() - 1
        if self.honours_deadline:
            with pytest.raises(BackendTimeout):
                backend.get(key, deadline=spent)
        else:
            assert backend.get(key, deadline=spent) is not None
        assert self.payload(backend, key) == key.encode()

    def test_ping_returns_when_the_store_serves(self, backend: Backend) -> None:
        backend.ping()

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_a_closed_backend_says_so(self, backend: Backend, name: str) -> None:
        key = self.key()
        entry = self.entry(key)
        self.store(backend, key)
        backend.close()
        with pytest.raises(CacheClosed):
            OPERATIONS[name](backend, key, entry)

    def test_close_may_be_called_again(self, backend: Backend) -> None:
        self.store(backend, self.key())
        backend.close()
        backend.close()

    def test_a_backend_that_was_never_used_can_be_closed(self, backend: Backend) -> None:
        backend.close()
        with pytest.raises(CacheClosed):
            backend.get(self.key())

    def test_a_repr_tells_no_keys_and_no_secrets(self, backend: Backend) -> None:
        key = self.key("confidential")
        backend.put(key, self.entry(key, b"private words"))
        got = backend.get(key)
        for text in (repr(backend), repr(got)):
            for word in ("confidential", "private words", *self.secrets):
                assert word not in text
