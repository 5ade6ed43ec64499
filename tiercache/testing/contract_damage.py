"""Contract cases: bytes that are no intact entry of the key are a miss, never a value and never another error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from ..backend import Backend
from ..errors import CorruptEntry
from .contract_hooks import ContractHooks, needs


def _flip(place: int) -> Callable[[bytes], bytes]:
    """Return a function that flips the lowest bit of this byte."""

    def damage(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place] ^= 1
        return bytes(changed)

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "only the magic": lambda data: data[:4],
    "cut in the header": lambda data: data[:40],
    "cut in the payload": lambda data: data[:-40],
    "last byte missing": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "twice": lambda data: data * 2,
    "json": lambda data: b'{"value": 42}' * 10,
    "pickle": lambda data: b"\x80\x04\x95\x0a\0\0\0\0\0\0\0C\x06valuep\x94." * 10,
    "zeros": lambda data: bytes(len(data)),
    "bit in the magic": _flip(0),
    "bit in the version": _flip(4),
    "bit in the flags": _flip(5),
    "bit in the reserved bytes": _flip(7),
    "bit in the header's length": _flip(11),
    "bit in the payload's length": _flip(19),
    "bit in the header": _flip(30),
    "bit in the payload": _flip(-40),
    "bit in the tag": _flip(-1),
}


class DamageCases(ContractHooks):
    """What other writers, broken disks and later releases leave behind."""

    @needs("supports_raw")
    def test_raw_access_sees_what_was_put(self, backend: Backend) -> None:
        key = self.key()
        assert self.raw_get(backend, key) is None
        self.store(backend, key)
        assert self.raw_get(backend, key)
        backend.delete(key)
        assert self.raw_get(backend, key) is None

    @needs("supports_raw")
    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
    def test_a_damaged_entry_is_a_miss_until_it_is_written_again(
        self, backend: Backend, damage: Callable[[bytes], bytes]
    ) -> None:
        key, good = self.key("damaged"), self.key("good")
        self.store(backend, key, good)
        self.raw_put(backend, key, damage(self.envelope_of(backend, key)))
        assert self.read(backend, key) is None
        assert list(self.read_many(backend, [key, good])) == [good]
        with suppress(CorruptEntry):  # a store may know the metadata from elsewhere; no other error may come
            backend.head(key)
        assert backend.put(key, self.entry(key, b"healed")) is True
        assert self.payload(backend, key) == b"healed"

    @needs("supports_raw")
    def test_the_entry_of_another_key_is_a_miss(self, backend: Backend) -> None:
        mine, theirs = self.key("mine"), self.key("theirs")
        self.store(backend, mine, theirs)
        self.raw_put(backend, mine, self.envelope_of(backend, theirs))
        assert self.read(backend, mine) is None
        assert list(self.read_many(backend, [mine, theirs])) == [theirs]

    @needs("supports_raw")
    def test_an_entry_of_a_later_version_is_a_miss_and_is_left_in_place(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        data = self.envelope_of(backend, key)
        later = data[:4] + b"\x09" + data[5:]
        self.raw_put(backend, key, later)
        assert self.read(backend, key) is None
        assert self.read_many(backend, [key]) == {}
        assert self.raw_get(backend, key) == later
        assert backend.put(key, self.entry(key, b"ours")) is True
        assert self.payload(backend, key) == b"ours"

    @needs("supports_raw")
    def test_a_damaged_entry_can_be_deleted(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        self.raw_put(backend, key, b"damaged")
        backend.delete(key)
        assert self.raw_get(backend, key) is None

    @needs("supports_raw")
    @pytest.mark.parametrize("full", [False, True], ids=["listing", "full"])
    def test_a_damaged_entry_does_not_hide_the_others_from_a_scan(self, backend: Backend, full: bool) -> None:
        damaged, good = self.key("damaged"), self.key("good")
        self.store(backend, damaged, good)
        self.raw_put(backend, damaged, b"damaged")
        assert good in [key for key, _ in backend.scan(self.prefix, full=full)]

    @needs("supports_raw")
    def test_the_error_about_a_damaged_entry_tells_neither_key_nor_content(self, backend: Backend) -> None:
        key = self.key("confidential")
        backend.put(key, self.entry(key, b"private words"))
        self.raw_put(backend, key, self.envelope_of(backend, key)[:-1])
        try:
            backend.get(key)
        except CorruptEntry as error:
            text = f"{error!r} {error}"
            assert "confidential" not in text
            assert "private words" not in text

    def envelope_of(self, backend: Backend, key: str) -> bytes:
        """Return the raw bytes of a key that holds some."""
        data = self.raw_get(backend, key)
        assert data is not None
        return data
