"""Contract cases of object stores: parts of objects, large ones, and listings that begin after a name."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from ..objectstore import ObjectStoreBackend, Upload
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks

SIZE = 100_000
RANGES = {
    "its first bytes": (0, 16),
    "its last bytes": (SIZE - 34, 34),
    "one byte in it": (4_096, 1),
    "all of it": (0, SIZE),
    "more than there is": (SIZE - 10, 64 * 2**20),
    "what begins at its end": (SIZE, 10),
    "what begins beyond its end": (SIZE + 5_000, 10),
}
LARGE = 8 * 2**20


class RangeCases(ObjectStoreHooks):
    """They call `backend.objects`, on which other layouts than one object an entry stand."""

    @pytest.mark.parametrize(("start", "length"), RANGES.values(), ids=RANGES)
    def test_a_range_is_its_bytes_and_one_request(self, backend: ObjectStoreBackend, start: int, length: int) -> None:
        name, body = self.object(backend, SIZE)
        with self.sent(backend) as requests:
            assert backend.objects.read_range(name, start, length, deadline=None) == body[start : start + length]
        assert len(requests) == 1

    def test_a_range_of_an_empty_object_is_empty(self, backend: ObjectStoreBackend) -> None:
        name, _ = self.object(backend, 0)
        assert backend.objects.read_range(name, 0, 10, deadline=None) == b""

    def test_a_range_of_an_absent_object_is_none_after_one_request(self, backend: ObjectStoreBackend) -> None:
        name, _ = self.object(backend, 1)
        assert backend.objects.read_range(name, 0, 1, deadline=None) is not None
        with self.sent(backend) as requests:
            assert backend.objects.read_range(f"{name}-absent", 0, 10, deadline=None) is None
        assert len(requests) == 1

    @needs("supports_archive")
    def test_a_range_of_an_archived_object_is_none(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        name = self.name_of(backend, key)
        assert backend.objects.read_range(name, 0, 4, deadline=None) is not None
        self.archive(backend, key)
        assert backend.objects.read_range(name, 0, 4, deadline=None) is None

    @pytest.mark.parametrize(("start", "length"), [(-1, 10), (0, 0), (5, -1)])
    def test_what_is_no_range_is_refused_before_any_request(
        self, backend: ObjectStoreBackend, start: int, length: int
    ) -> None:
        name, _ = self.object(backend, 100)
        with self.sent(backend) as requests, pytest.raises(ValueError, match="at least one byte"):
            backend.objects.read_range(name, start, length, deadline=None)
        assert not requests

    def test_a_large_object_is_one_request_each_way_whole_and_in_part(self, backend: ObjectStoreBackend) -> None:
        self.object(backend, 1)
        with self.sent(backend) as requests:
            name, body = self.object(backend, LARGE, "large")
            found = backend.objects.read(name, limit=LARGE, deadline=None)
            part = backend.objects.read_range(name, 4_096, LARGE, deadline=None)
        assert len(requests) == 3
        assert found is not None
        assert found[1] == body
        assert part == body[4_096:]

    def test_an_object_that_is_there_is_not_made_again(self, backend: ObjectStoreBackend) -> None:
        name, body = self.object(backend, 100)
        again = Upload(name, b"other", {})
        with self.sent(backend) as requests:
            assert backend.objects.write(again, if_absent=True, if_match=None, deadline=None) is False
        assert len(requests) == 1
        assert self.raw_body(backend, name) == body

    # Listings

    @pytest.mark.parametrize("limit", [None, 7], ids=["in one page", "in many"])
    def test_a_listing_after_a_name_holds_the_greater_names_in_order(
        self, backend: ObjectStoreBackend, limit: int | None
    ) -> None:
        names = self.objects(backend)
        for after in (names[0], names[11], f"{names[11]}-", names[-2], names[-1], f"{names[-1]}-"):
            assert self.listed(backend, after, limit)[0] == [name for name in names if name > after]
        assert self.listed(backend, f"{backend.prefix}0", limit)[0] == names

    def test_a_listing_after_a_name_sends_no_request_for_what_is_before(self, backend: ObjectStoreBackend) -> None:
        if not backend.objects.lists_from:
            pytest.skip("backend.objects.lists_from is False")
        names = self.objects(backend)
        with self.sent(backend) as requests:
            _, pages = self.listed(backend, names[-4], 7)
        assert len(requests) == pages == 1

    def object(self, backend: ObjectStoreBackend, size: int, name: str = "object") -> tuple[str, bytes]:
        """Make an object of random bytes, and return its name and them."""
        name, body = f"{backend.prefix}{name}", os.urandom(size)
        assert backend.objects.write(Upload(name, body, {}), if_absent=True, if_match=None, deadline=None)
        return name, body

    def objects(self, backend: ObjectStoreBackend) -> Sequence[str]:
        """Make 24 small objects below a folder, and return their names in order."""
        names = [f"{backend.prefix}_folder/7d/{number:03}" for number in range(24)]
        for name in reversed(names):
            assert backend.objects.write(Upload(name, b"x", {}), if_absent=False, if_match=None, deadline=None)
        return names

    def listed(self, backend: ObjectStoreBackend, after: str, limit: int | None) -> tuple[list[str], int]:
        """Return what is listed below the prefix after a name, and in how many pages."""
        names: list[str] = []
        token, pages = None, 0
        while True:
            page, token = backend.objects.list_page(backend.prefix, token, after=after, limit=limit, deadline=None)
            names += [info.name for info in page]
            pages += 1
            if not token:
                return names, pages
