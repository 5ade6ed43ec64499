"""Contract cases: what is expired is a miss, and conditional writes hold their conditions."""

from __future__ import annotations

import pytest

from ..backend import Backend
from .contract_hooks import ContractHooks, needs


class ExpiryCases(ContractHooks):
    """Expiry by the local clock, `if_absent` and `if_match`."""

    @pytest.mark.parametrize("stale_for", [None, 10.0], ids=["without stale time", "past its stale time"])
    def test_an_expired_entry_is_a_miss(self, backend: Backend, stale_for: float | None) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=-30, stale_for=stale_for))
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert backend.get_many([key]) == {}

    def test_an_expired_entry_that_is_put_replaces_the_one_before(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        backend.put(key, self.entry(key, ttl=-30))
        assert backend.get(key) is None

    def test_a_stale_entry_is_still_served(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=-30, stale_for=3600))
        got = backend.get(key)
        assert got is not None
        assert got.metadata.is_stale(self.now())
        assert backend.head(key) is not None
        assert list(backend.get_many([key])) == [key]

    def test_an_entry_without_expiry_stays(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, age=10 * 365 * 86400))
        got = backend.get(key)
        assert got is not None
        assert (got.metadata.expires_at, got.metadata.stale_until) == (None, None)

    def test_an_expiry_centuries_ahead_is_kept(self, backend: Backend) -> None:
        key = self.key()
        entry = self.entry(key, ttl=300 * 365 * 86400.0)
        backend.put(key, entry)
        got = backend.get(key)
        assert got is not None
        assert got.metadata.expires_at == entry.metadata.expires_at

    def test_an_entry_expires_while_it_is_stored(self, backend: Backend) -> None:
        key = self.key()
        entry = self.entry(key, ttl=1.0)
        backend.put(key, entry)
        got = backend.get(key)
        assert got is not None or entry.metadata.is_expired(self.now())  # a slow store may take a second
        self.advance(1.05)
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert backend.get_many([key]) == {}

    def test_an_entry_turns_stale_while_it_is_stored_and_is_still_served(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=0.5, stale_for=3600))
        self.advance(0.55)
        got = backend.get(key)
        assert got is not None
        assert got.metadata.is_stale(self.now())

    def test_an_entry_of_a_clock_two_minutes_ahead_is_served(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, age=-120))
        assert self.payload(backend, key) == b"payload"

    def test_an_entry_of_a_clock_ten_minutes_ahead_is_a_miss(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, age=-600))
        assert backend.get(key) is None
        assert backend.head(key) is None
        assert backend.get_many([key]) == {}

    def test_a_batch_leaves_out_what_is_expired(self, backend: Backend) -> None:
        fresh, expired = self.key("fresh"), self.key("expired")
        backend.put_many({fresh: self.entry(fresh, ttl=3600), expired: self.entry(expired, ttl=-30)})
        assert list(backend.get_many([expired, fresh])) == [fresh]

    def test_an_expired_key_can_be_deleted_and_written_again(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=-30))
        backend.delete(key)
        self.store(backend, key)
        assert self.payload(backend, key) == key.encode()

    # if_absent

    @needs("supports_if_absent")
    def test_if_absent_writes_where_nothing_is(self, backend: Backend) -> None:
        key = self.key()
        assert backend.put(key, self.entry(key, b"one"), if_absent=True) is True
        assert self.payload(backend, key) == b"one"

    @needs("supports_if_absent")
    @pytest.mark.parametrize("ttl", [None, 3600.0, -30.0], ids=["for ever", "fresh", "stale"])
    def test_if_absent_refuses_what_is_there(self, backend: Backend, ttl: float | None) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"one", ttl=ttl, stale_for=3600))
        assert backend.put(key, self.entry(key, b"two"), if_absent=True) is False
        assert self.payload(backend, key) == b"one"

    @needs("supports_if_absent")
    def test_if_absent_writes_after_a_delete(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        backend.delete(key)
        assert backend.put(key, self.entry(key, b"two"), if_absent=True) is True
        assert self.payload(backend, key) == b"two"

    @needs("supports_if_absent", "if_absent_replaces_expired")
    def test_if_absent_writes_over_an_expired_entry(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"one", ttl=-30))
        assert backend.put(key, self.entry(key, b"two"), if_absent=True) is True
        assert self.payload(backend, key) == b"two"

    # if_match

    @needs("supports_if_match")
    def test_another_value_has_another_etag(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"one"))
        first = self.etag(backend, key)
        assert self.etag(backend, key) == first
        backend.put(key, self.entry(key, b"two"))
        assert self.etag(backend, key) != first

    @needs("supports_if_match")
    def test_if_match_writes_over_the_version_that_was_read(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        assert backend.put(key, self.entry(key, b"two"), if_match=self.etag(backend, key)) is True
        assert self.payload(backend, key) == b"two"

    @needs("supports_if_match")
    def test_if_match_takes_the_etag_of_a_stale_entry(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"one", ttl=-30, stale_for=3600))
        assert backend.put(key, self.entry(key, b"two"), if_match=self.etag(backend, key)) is True
        assert self.payload(backend, key) == b"two"

    @needs("supports_if_match")
    def test_if_match_refuses_another_version(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"one"))
        outdated = self.etag(backend, key)
        backend.put(key, self.entry(key, b"two"))
        assert backend.put(key, self.entry(key, b"three"), if_match=outdated) is False
        assert self.payload(backend, key) == b"two"

    @needs("supports_if_match")
    def test_if_match_refuses_an_absent_key(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        outdated = self.etag(backend, key)
        backend.delete(key)
        assert backend.put(key, self.entry(key, b"two"), if_match=outdated) is False
        assert backend.get(key) is None
