"""Contract cases of object stores: objects that are not ours, below our prefix and beside it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ..errors import CorruptEntry, PartialFailure
from ..objectstore import ObjectStoreBackend
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks

NO_KEYS = {
    "a space": "read me.txt",
    "a dot": ".hidden",
    "an escape in lower case": "%c3%a9",
    "an escape of what needs none": "%41",
    "a broken escape": "%zz",
    "half an escape": "100%4",
    "an escape that is not UTF-8": "%FF",
    "not ASCII": "größe",
    "the mark of a cut name": "~",
    "the mark without a digest": "key~12",
    "a folder": "folder/file",
    "the markers of invalidation": "_meta/epoch",
    "the mark in a folder": "folder/~key",
}

CONTENTS = {
    "empty": b"",
    "one byte": b"x",
    "the magic": b"TIER",
    "json": b'{"value": 42}',
    "text": b"hello " * 10_000,
    "the size of an entry": bytes(100_000),
}


class ForeignCases(ObjectStoreHooks):
    """What others put into the bucket is neither served, nor in the way, nor deleted."""

    @pytest.mark.parametrize("name", NO_KEYS.values(), ids=NO_KEYS)
    def test_an_object_whose_name_is_no_key_is_neither_listed_nor_cleared(
        self, backend: ObjectStoreBackend, name: str
    ) -> None:
        self.check_left_alone(backend, backend.prefix + name)

    def test_a_folder_marker_at_the_prefix_is_neither_listed_nor_cleared(self, backend: ObjectStoreBackend) -> None:
        if not backend.prefix:
            pytest.skip("the backend has no prefix")
        self.check_left_alone(backend, backend.prefix, b"")

    def test_an_object_named_like_the_prefix_is_neither_listed_nor_cleared(self, backend: ObjectStoreBackend) -> None:
        if not backend.prefix:
            pytest.skip("the backend has no prefix")
        self.check_left_alone(backend, backend.prefix.rstrip("/"))

    def test_objects_beside_the_prefix_are_neither_listed_nor_cleared(self, backend: ObjectStoreBackend) -> None:
        if not backend.prefix:
            pytest.skip("the backend has no prefix")
        start = backend.prefix.rstrip("/")
        for end in ("x", "-key", "0/key", "~/key"):
            self.check_left_alone(backend, start + end)

    def check_left_alone(self, backend: ObjectStoreBackend, name: str, content: bytes = b"theirs") -> None:
        """Scans and `clear` see the entry that is there, and not this object."""
        key = self.key()
        self.store(backend, key)
        self.raw_put_object(backend, name, content)
        for full in (False, True):
            assert [key for key, _ in backend.scan(full=full)] == [key]
        assert backend.clear() == 1
        assert backend.get(key) is None
        assert name in self.raw_names(backend, name)
        assert self.raw_body(backend, name) == content

    # Another cache in the same bucket

    @pytest.mark.parametrize("where", ["beside", "below"])
    @pytest.mark.parametrize("length", [3, 300, 1000], ids=["a short key", "a key of two segments", "a cut key"])
    def test_a_cache_below_another_prefix_is_another_cache(
        self, backend: ObjectStoreBackend, where: str, length: int
    ) -> None:
        start = backend.prefix if where == "below" else backend.prefix.rstrip("/") + "-"
        other, key = self.sibling(backend, start + "other"), "k" * length
        backend.put(key, self.entry(key, b"mine"))
        other.put(key, self.entry(key, b"theirs"))
        assert (self.payload(backend, key), self.payload(other, key)) == (b"mine", b"theirs")
        assert self.scanned(backend) == self.scanned(other) == [key]
        assert backend.clear() == 1
        assert (self.payload(backend, key), self.payload(other, key)) == (None, b"theirs")
        assert other.clear() == 1

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [("a", "ab"), ("a%2", "a%2F"), ("a%2F", "a"), ("%C3", "%C3%A9"), ("a~", "a"), ("a b", "a+b"), ("A", "a")],
    )
    def test_prefixes_that_look_alike_are_two_caches(self, backend: ObjectStoreBackend, mine: str, theirs: str) -> None:
        ours, other = self.sibling(backend, backend.prefix + mine), self.sibling(backend, backend.prefix + theirs)
        key = self.key("é/")
        ours.put(key, self.entry(key, b"mine"))
        assert other.get(key) is None
        other.put(key, self.entry(key, b"theirs"))
        assert self.payload(ours, key) == b"mine"
        assert self.scanned(ours) == self.scanned(other) == [key]
        assert ours.clear() == 1
        assert self.payload(other, key) == b"theirs"

    # A name of ours, and what is in it is not ours

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_foreign_content_is_a_miss_that_a_scan_survives(self, backend: ObjectStoreBackend, content: bytes) -> None:
        foreign, good = self.key("foreign"), self.key("good")
        self.store(backend, good)
        self.raw_put(backend, foreign, content)
        assert self.read(backend, foreign) is None
        assert list(self.read_many(backend, [foreign, good])) == [good]
        with suppress(CorruptEntry):
            assert backend.head(foreign) is None
        assert good in self.scanned(backend, self.prefix)
        assert [key for key, _ in backend.scan(self.prefix, full=True)] == [good]

    def test_foreign_content_is_replaced_by_a_write(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.raw_put(backend, key, b"theirs")
        assert backend.put(key, self.entry(key, b"ours")) is True
        assert self.payload(backend, key) == b"ours"

    @needs("supports_if_absent", "supports_if_match")
    def test_foreign_content_counts_as_nothing_for_if_absent(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.raw_put(backend, key, b"theirs")
        assert backend.put(key, self.entry(key, b"ours"), if_absent=True) is True
        assert self.payload(backend, key) == b"ours"

    def test_foreign_content_under_a_key_is_cleared(self, backend: ObjectStoreBackend) -> None:
        self.raw_put(backend, self.key(), b"theirs")
        assert backend.clear(self.prefix) == 1
        assert self.raw_names(backend, backend.prefix) == []

    def test_foreign_content_under_a_cut_name_is_a_miss_that_a_scan_survives(self, backend: ObjectStoreBackend) -> None:
        foreign, good = "k" * 2000, "k" * 2001
        self.store(backend, good)
        self.raw_put(backend, foreign, b"theirs")
        assert self.read(backend, foreign) is None
        for full in (False, True):
            assert [key for key, _ in backend.scan(full=full)] == [good]
        assert backend.clear() == 2

    def test_an_object_larger_than_any_entry_is_a_miss_and_the_next_read_succeeds(
        self, backend: ObjectStoreBackend
    ) -> None:
        small = self.sibling(backend, backend.prefix)
        small.max_entry_bytes = 2**16
        huge, good = self.key("huge"), self.key("good")
        self.store(small, good)
        self.raw_put(small, huge, bytes(4 * 2**20))
        for _ in range(3):
            with pytest.raises(CorruptEntry):
                small.get(huge)
            assert self.payload(small, good) == good.encode()
        with pytest.raises(PartialFailure) as caught:
            small.get_many([huge, good])
        assert list(caught.value.failed) == [huge]
        assert list(caught.value.results) == [good]
