"""Contract cases of object stores: what an object's own metadata tell, and what does not fit into them."""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import Any

import pytest

from .. import envelope
from ..entry import Entry
from ..objectstore import CONTENT_TYPE, ObjectStoreBackend
from ..objectstore.mirror import to_user_metadata
from .contract_object_hooks import ObjectStoreHooks

TOO_LARGE: dict[str, dict[str, Any]] = {
    "tags": {"tags": tuple(f"document:{number}" for number in range(2000))},
    "attributes": {"attributes": {f"attribute {number}": number for number in range(2000)}},
    "one attribute": {"attributes": {"prompt": "word " * 10_000, "model": "m"}, "tags": ("t",)},
    "codec": {"codec": "ndarray;" + "x" * 20_000},
    "everything": {"tags": ("t" * 20_000,), "attributes": {"a" * 20_000: 1}, "codec": "c" * 20_000},
    "tags that are too large in ASCII only": {"tags": ("🔑" * 1000,)},
}

UNUSUAL: dict[str, dict[str, Any]] = {
    "umlauts": {"tags": ("größe",), "attributes": {"größe": "naïve"}},
    "other scripts": {"tags": ("日本語", "עברית", "👩\u200d💻"), "attributes": {"模型": "日本"}},
    "white space": {"tags": (" a ", "b  c", "\t"), "attributes": {" ": "  x  ", "line": "one\r\ntwo\n"}},
    "control characters": {"tags": ("\0", "\x7f"), "attributes": {"\x01": "\x1b[0m"}},
    "quotes and percent signs": {"tags": ('"', "%41", "a=b;c,d", "<&>"), "attributes": {"'": '\\"'}},
    "empty": {"tags": ("",), "attributes": {"": ""}},
    "a codec that is not ASCII": {"codec": "größe"},
    "a codec that ends in a space": {"codec": "bytes "},
    "a number that JSON lacks": {"attributes": {"price": float("inf")}},
}


class MirrorCases(ObjectStoreHooks):
    """The mirror is for consoles, HEADs and lifecycle rules; what the store's limit keeps out of it is not lost."""

    def test_a_head_beside_the_backend_tells_what_the_entry_is(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        entry = self.entry(
            key,
            b"words " * 1000,
            ttl=3600.125,
            stale_for=60,
            codec="msgpack",
            tags=("doc:7", "größe"),
            attributes={"model": "text-embedding-3-small", "price": 0.5},
        )
        backend.put(key, entry)
        found, expected = self.head_of(backend, key), entry.metadata
        assert found.content_type == CONTENT_TYPE
        told = found.metadata
        assert told["tiercache-version"] == "1"
        times = {name: float(told[name]) for name in ("created", "expires", "stale-until")}
        assert times == {
            "created": expected.created_at,
            "expires": expected.expires_at,
            "stale-until": expected.stale_until,
        }
        assert (told["codec"], told["encoding"], told["size"]) == ("msgpack", "zstd", "6000")
        assert json.loads(told["tags"]) == ["doc:7", "größe"]
        assert json.loads(told["attributes"]) == {"model": "text-embedding-3-small", "price": 0.5}
        assert "omitted" not in told

    def test_the_class_that_the_backend_reports_is_the_objects(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        head, got, [(_, listed)] = backend.head(key), backend.get(key), backend.scan(self.prefix)
        assert head is not None
        assert got is not None
        found = self.head_of(backend, key).storage_class
        assert found
        assert [head.storage_class, got.metadata.storage_class, listed.storage_class] == [found] * 3

    def test_an_overwrite_leaves_nothing_of_the_old_mirror(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, ttl=3600, stale_for=60, tags=("old",), attributes={"old": 1}))
        backend.put(key, self.entry(key))
        assert not {"expires", "stale-until", "tags", "attributes"} & self.head_of(backend, key).metadata.keys()

    @pytest.mark.parametrize("fields", TOO_LARGE.values(), ids=TOO_LARGE)
    def test_metadata_too_large_for_the_store_are_cut_from_the_mirror_and_kept(
        self, backend: ObjectStoreBackend, fields: dict[str, Any]
    ) -> None:
        key = self.key()
        entry = self.entry(key, ttl=3600, **fields)
        assert backend.put(key, entry) is True
        told = self.head_of(backend, key).metadata
        omitted = set(told["omitted"].split(","))
        assert omitted
        assert not omitted & told.keys()
        assert float(told["expires"]) == entry.metadata.expires_at
        self.check_all_agree(backend, entry)
        assert backend.delete(key) is True

    @pytest.mark.parametrize("fields", UNUSUAL.values(), ids=UNUSUAL)
    def test_unusual_metadata_come_back_as_they_were(self, backend: ObjectStoreBackend, fields: dict[str, Any]) -> None:
        key = self.key()
        entry = self.entry(key, **fields)
        backend.put(key, entry)
        assert all(text.isascii() and text.isprintable() for text in self.head_of(backend, key).metadata.values())
        self.check_all_agree(backend, entry)

    def test_the_largest_mirror_is_stored_and_one_character_more_is_cut(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        fits, too_large = self.largest(backend, key)
        for entry, requests, told_all in ((fits, 1, True), (too_large, 2, False)):
            assert backend.put(key, entry) is True
            told = self.head_of(backend, key).metadata
            assert ("omitted" not in told) is told_all
            with self.sent(backend) as heads:
                head = backend.head(key)
            assert head is not None
            assert head.attributes == entry.metadata.attributes
            assert len(heads) == requests

    def test_an_entry_that_lost_its_user_metadata_is_whole(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        entry = self.entry(key, ttl=3600, tags=("t",), attributes={"model": "m"})
        backend.put(key, entry)
        body = self.raw_get(backend, key)
        assert body is not None
        self.raw_put(backend, key, body)
        self.check_all_agree(backend, entry)
        assert backend.delete(key) is True

    def check_all_agree(self, backend: ObjectStoreBackend, entry: Entry) -> None:
        """`get`, `head` and a full scan all tell what was put."""
        key = entry.metadata.key
        got = backend.get(key)
        assert got is not None
        assert got.payload == entry.payload
        for name in ("created_at", "expires_at", "stale_until", "codec", "tags", "attributes", "size"):
            assert getattr(got.metadata, name) == getattr(entry.metadata, name), name
        assert self.as_got(backend.head(key)) == got.metadata
        scanned = dict(backend.scan(key, full=True))
        assert {key: self.as_got(told) for key, told in scanned.items()} == {key: got.metadata}

    def largest(self, backend: ObjectStoreBackend, key: str) -> tuple[Entry, Entry]:
        """Return an entry whose mirror is as large as the store takes it, and one whose mirror is too large by one."""
        entry, limit = self.entry(key), backend.objects.mirror_bytes

        def of(characters: int) -> Entry:
            return entry.with_metadata(attributes={"text": "x" * characters})

        def is_cut(characters: int) -> bool:
            stored = envelope.decode(envelope.encode(of(characters)), key).metadata
            return "omitted" in to_user_metadata(stored, limit)

        too_many = bisect_left(range(limit), True, key=is_cut)
        assert 1 < too_many < limit
        return of(too_many - 1), of(too_many)
