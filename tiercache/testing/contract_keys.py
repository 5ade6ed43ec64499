"""Contract cases: every key is its own, `scan` yields it exactly, prefixes are literal."""

from __future__ import annotations

import pytest

from ..backend import Backend
from .contract_hooks import ContractHooks

KEYS = {
    "plain": "ns:key",
    "space": " two  words ",
    "unicode": "größe:日本語",
    "combining": "cafe\u0301",
    "emoji": "🔑👩\u200d💻",
    "newline": "line\nbreak\r\n",
    "nul": "nul\0byte\0",
    "control": "\x01\x1b[0m\x7f",
    "dot": ".",
    "dots": "..",
    "up": "../../etc/passwd",
    "here": "./x",
    "slash": "/",
    "slashes": "a/b//c/",
    "backslash": "a\\b",
    "percent": "100%",
    "percent-encoded": "a%2Fb%00",
    "tilde": "~user~",
    "glob": "a*b?[c]{d}",
    "sql": "a'b\";--_%",
    "query": "a?b=c&d#e",
    "braces": "{slot}:key",
    "last code point": "\U0010ffff",
    "899 bytes": "k" * 899,
    "900 bytes": "k" * 900,
    "901 bytes": "k" * 901,
    "900 bytes encoded": "é" * 150,
    "906 bytes encoded": "é" * 151,
    "10 kB": "0123456789" * 1000,
    "10 kB of slashes": "/" * 10_000,
}

LOOK_ALIKES = {
    "encoded": ("a/b", "a%2Fb"),
    "encoded twice": ("a%2Fb", "a%252Fb"),
    "encoding's case": ("a%2Fb", "a%2fb"),
    "plus": ("a b", "a+b"),
    "dot": (".a", "%2Ea"),
    "case": ("key", "KEY"),
    "dotless i": ("i", "ı"),
    "normal forms": ("café", "cafe\u0301"),
    "prefix": ("a", "aa"),
    "nul": ("a", "a\0"),
    "slash": ("a", "a/"),
    "trailing space": ("a", "a "),
    "path": ("a/b", "a/./b"),
    "long, last byte": ("k" * 2000 + "1", "k" * 2000 + "2"),
    "long, cut": ("k" * 2000, "k" * 2001),
}

PREFIXES = ["a*", "a?", "a[bX]", "a\\", "a_", "a%", "a.", "a/", "a%2F", "^a", "A", "é", "\U0010ffff", "~", ".", "a\n"]


class KeyCases(ContractHooks):
    """Keys, `scan` and `clear`. Keys of the first cases stand alone: a leading dot matters to some stores."""

    @pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
    def test_a_key_is_read_scanned_and_deleted_as_it_was_written(self, backend: Backend, key: str) -> None:
        assert backend.put(key, self.entry(key, b"value")) is True
        got = backend.get(key)
        assert got is not None
        assert (got.payload, got.metadata.key) == (b"value", key)
        assert list(backend.get_many([key])) == [key]
        assert self.scanned(backend, key) == [key]
        assert self.scanned(backend) == [key]
        assert backend.delete(key) is True
        assert backend.get(key) is None

    @pytest.mark.parametrize("pair", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
    def test_keys_that_look_alike_are_two_keys(self, backend: Backend, pair: tuple[str, str]) -> None:
        one, two = pair
        self.store(backend, one)
        assert backend.get(two) is None
        self.store(backend, two)
        assert self.payload(backend, one) == one.encode()
        assert self.scanned(backend) == sorted(pair)
        assert backend.delete(one) is True
        assert self.payload(backend, two) == two.encode()

    @pytest.mark.parametrize("prefix", PREFIXES, ids=ascii)
    def test_a_prefix_is_literal(self, backend: Backend, prefix: str) -> None:
        inside, outside = prefix + "1", ["aX1", "a1", "b1", "ab1", "xa1"]
        self.store(backend, inside, *outside)
        assert self.scanned(backend, prefix) == [inside]
        assert backend.clear(prefix) == 1
        assert self.scanned(backend) == sorted(outside)

    # Scan

    def test_scan_yields_what_starts_with_the_prefix(self, backend: Backend) -> None:
        one, two, other = self.key("doc:1"), self.key("doc:2"), self.key("dot:1")
        self.store(backend, one, two, other)
        assert self.scanned(backend, self.key("doc:")) == [one, two]

    def test_scan_without_a_prefix_yields_everything(self, backend: Backend) -> None:
        keys = self.keys(5)
        self.store(backend, *keys)
        assert self.scanned(backend) == keys

    def test_scan_yields_nothing_where_nothing_matches(self, backend: Backend) -> None:
        self.store(backend, self.key())
        assert list(backend.scan(self.key("none"))) == []

    def test_a_prefix_may_be_the_whole_key(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        assert self.scanned(backend, key) == [key]

    def test_scan_finds_keys_whose_long_prefix_differs_late(self, backend: Backend) -> None:
        start = "k" * 2000
        self.store(backend, start + "a1", start + "a2", start + "b1")
        assert self.scanned(backend, start + "a") == [start + "a1", start + "a2"]

    def test_scan_yields_the_metadata_of_each_key(self, backend: Backend) -> None:
        keys = self.keys(3)
        self.store(backend, *keys)
        assert all(metadata.key == key for key, metadata in backend.scan(self.prefix))

    def test_a_full_scan_knows_what_head_knows(self, backend: Backend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"text " * 1000, ttl=3600.125, stale_for=60, codec="msgpack"))
        [(found, metadata)] = backend.scan(self.prefix, full=True)
        head = backend.head(key)
        assert head is not None
        assert found == key
        for name in ("key", "created_at", "expires_at", "stale_until", "codec", "size"):
            assert getattr(metadata, name) == getattr(head, name), name

    @pytest.mark.parametrize("full", [False, True], ids=["listing", "full"])
    def test_scan_leaves_out_what_is_known_to_be_expired(self, backend: Backend, full: bool) -> None:
        if not (full or self.scan_knows_expiry):
            pytest.skip("scan_knows_expiry is False")
        fresh, stale, expired = (self.key(name) for name in ("fresh", "stale", "expired"))
        backend.put(fresh, self.entry(fresh, ttl=3600))
        backend.put(stale, self.entry(stale, ttl=-30, stale_for=3600))
        backend.put(expired, self.entry(expired, ttl=-30))
        assert sorted(key for key, _ in backend.scan(self.prefix, full=full)) == [fresh, stale]

    def test_scan_goes_on_while_what_it_found_is_deleted(self, backend: Backend) -> None:
        keys = self.keys(20)
        self.store(backend, *keys)
        seen = set()
        for key, _ in backend.scan(self.prefix):
            backend.delete(key)
            seen.add(key)
        assert seen == set(keys)
        assert self.scanned(backend) == []

    def test_a_scan_that_is_left_early_leaves_the_backend_usable(self, backend: Backend) -> None:
        keys = self.keys(5)
        self.store(backend, *keys)
        assert next(iter(backend.scan(self.prefix)))[0] in keys
        assert self.payload(backend, keys[0]) == keys[0].encode()

    def test_many_entries_are_scanned_once_each_and_cleared(self, backend: Backend) -> None:
        keys = self.keys(self.many)
        backend.put_many({key: self.entry(key) for key in keys})
        assert self.scanned(backend, self.prefix) == keys
        assert len(backend.get_many(keys)) == self.many
        assert backend.clear(self.prefix) == self.many
        assert self.scanned(backend) == []

    # Clear

    def test_clear_removes_what_starts_with_the_prefix_and_returns_how_many(self, backend: Backend) -> None:
        one, two, other = self.key("doc:1"), self.key("doc:2"), self.key("dot:1")
        self.store(backend, one, two, other)
        assert backend.clear(self.key("doc:")) == 2
        assert self.scanned(backend) == [other]
        assert backend.get(one) is None

    def test_clear_without_a_prefix_removes_everything(self, backend: Backend) -> None:
        self.store(backend, self.key("a"), self.key("b"), "elsewhere")
        assert backend.clear() == 3
        assert self.scanned(backend) == []

    def test_clear_of_nothing_returns_zero(self, backend: Backend) -> None:
        assert backend.clear(self.prefix) == 0
