"""Contract cases of object stores: names at the lengths where they are broken, cut, and end inside an escape."""

from __future__ import annotations

import pytest

from .. import keys as naming
from ..objectstore import ObjectStoreBackend
from .contract_keys import KEYS
from .contract_object_hooks import ObjectStoreHooks

LENGTHS = [199, 200, 201, 399, 400, 401, 600, 601, 799, 800, 801, 899, 900, 901, 1000]
BORDERS = [200, 400, 600, 800, 900]


def _straddling(border: int) -> list[str]:
    """Return keys with a letter of six encoded bytes at each place around a border."""
    return [f"{'k' * (border - place)}é{end}" for place in range(7) for end in ("", "ê", "tail")]


class NameCases(ObjectStoreHooks):
    """Object names: unicode, 900 bytes and more, prefixes that end anywhere in them."""

    def test_keys_of_every_length_stand_side_by_side(self, backend: ObjectStoreBackend) -> None:
        self.check_side_by_side(backend, ["k" * length for length in LENGTHS])

    @pytest.mark.parametrize("border", BORDERS)
    def test_keys_whose_names_are_broken_inside_an_escape_stand_side_by_side(
        self, backend: ObjectStoreBackend, border: int
    ) -> None:
        self.check_side_by_side(backend, _straddling(border))

    def test_awkward_keys_stand_side_by_side(self, backend: ObjectStoreBackend) -> None:
        self.check_side_by_side(backend, list(KEYS.values()))

    def check_side_by_side(self, backend: ObjectStoreBackend, keys: list[str]) -> None:
        """All of them are read, listed and cleared as themselves."""
        backend.put_many({key: self.entry(key, key.encode()) for key in keys})
        assert {key: entry.payload for key, entry in backend.get_many(keys).items()} == {
            key: key.encode() for key in keys
        }
        for full in (False, True):
            assert sorted(key for key, _ in backend.scan(full=full)) == sorted(keys)
        assert self.raw_names(backend, backend.prefix) == sorted(self.name_of(backend, key) for key in keys)
        assert backend.clear() == len(keys)
        assert self.raw_names(backend, backend.prefix) == []

    @pytest.mark.parametrize("border", BORDERS)
    def test_a_prefix_may_end_inside_an_escape_of_a_name(self, backend: ObjectStoreBackend, border: int) -> None:
        keys = _straddling(border)
        backend.put_many({key: self.entry(key) for key in keys})
        for place in range(7):
            start = "k" * (border - place) + "é"
            below = sorted(key for key in keys if key.startswith(start))
            assert len(below) == 3
            assert self.scanned(backend, start) == below
        for place in range(7):
            assert backend.clear("k" * (border - place) + "é") == 3
        assert self.raw_names(backend, backend.prefix) == []

    def test_a_scan_finds_all_whatever_the_order_of_their_names(self, backend: ObjectStoreBackend) -> None:
        keys = sorted(["a", "B", "é", "~", "a/b", "a b", "a+b", "z" * 250, "z" * 1000, "\U0001f511", "0", "_"])
        names = [naming.object_name(key) for key in keys]
        assert names != sorted(names)
        self.store(backend, *reversed(keys))
        assert self.scanned(backend) == keys

    def test_each_name_of_an_entry_is_below_the_prefix_and_fits_the_store(self, backend: ObjectStoreBackend) -> None:
        awkward = ["../../../etc/passwd", "/", "//", "..", "é" * 5000, "a" * 65_536, "%2F..%2F", "\\..\\", "~/" * 500]
        backend.put_many({key: self.entry(key) for key in awkward})
        names = self.raw_names(backend, backend.prefix)
        assert len(names) == len(awkward)
        assert max(map(len, names)) <= 1024
        assert all(name.isascii() and len(part) <= 255 for name in names for part in name.split("/"))
        assert sorted(backend.get_many(awkward)) == sorted(awkward)
