"""Contract cases of object stores: writers that race, and batches of which a part fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ..entry import Entry
from ..errors import BackendError, CorruptEntry, EntryTooLarge, PartialFailure
from ..objectstore import ObjectStoreBackend
from ..objectstore.faults import Refused
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks
from .contract_threads import RACERS


class RaceCases(ObjectStoreHooks):
    """Conditional writes of sixteen threads: one wins, and what is stored is all its own."""

    @needs("supports_if_absent", "conditions_are_atomic")
    def test_of_writers_of_a_new_entry_one_wins_and_its_value_is_whole(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number), if_absent=True))
        self.check_winner(backend, key, winners)

    @needs("supports_if_match", "conditions_are_atomic")
    def test_of_writers_over_one_version_one_wins_and_its_value_is_whole(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        version = self.etag(backend, key)
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number), if_match=version))
        self.check_winner(backend, key, winners)

    @needs("supports_if_absent", "supports_if_match", "conditions_are_atomic", "if_absent_replaces_expired")
    def test_of_writers_over_an_expired_entry_one_replaces_it(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        backend.put(key, self.entry(key, b"expired", ttl=-30))
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number), if_absent=True))
        self.check_winner(backend, key, winners)

    @needs("supports_if_absent", "supports_if_match", "conditions_are_atomic")
    def test_of_writers_over_foreign_content_one_replaces_it(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.raw_put(backend, key, b"theirs")
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number), if_absent=True))
        self.check_winner(backend, key, winners)

    @needs("supports_if_absent", "supports_if_match", "conditions_are_atomic", "supports_archive")
    def test_of_writers_over_an_archived_entry_one_replaces_it(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        self.archive(backend, key)
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number), if_absent=True))
        self.check_winner(backend, key, winners)

    def test_writers_without_a_condition_leave_one_whole_value(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        winners = self.race(lambda number: backend.put(key, self.written_by(key, number)))
        assert len(winners) == RACERS
        got = backend.get(key)
        assert got is not None
        writer = got.metadata.attributes["writer"]
        assert isinstance(writer, int)
        self.check_winner(backend, key, [writer])

    def race(self, write: Callable[[int], bool]) -> list[int]:
        """Let sixteen threads write at once and return the numbers of those that say that they wrote."""
        start = threading.Barrier(RACERS)

        def run(number: int) -> bool:
            start.wait(30)
            return write(number)

        with ThreadPoolExecutor(RACERS) as pool:
            return [number for number, wrote in enumerate(pool.map(run, range(RACERS))) if wrote]

    def written_by(self, key: str, number: int) -> Entry:
        """Return an entry of 100 KB, all of it one writer's."""
        return self.entry(key, b"%03d " % number * 25_000, tags=(f"writer:{number}",), attributes={"writer": number})

    def check_winner(self, backend: ObjectStoreBackend, key: str, winners: list[int]) -> None:
        """Exactly one won; payload, metadata and mirror are its."""
        assert len(winners) == 1
        winner = winners[0]
        expected, got = self.written_by(key, winner), backend.get(key)
        assert got is not None
        assert got.payload == expected.payload
        assert (got.metadata.tags, got.metadata.attributes) == (expected.metadata.tags, expected.metadata.attributes)
        assert self.as_got(backend.head(key)) == got.metadata
        assert json.loads(self.head_of(backend, key).metadata["attributes"]) == {"writer": winner}


class PartialCases(ObjectStoreHooks):
    """Batches keep what succeeded and name what failed."""

    def test_an_entry_too_large_is_named_and_the_others_are_stored(self, backend: ObjectStoreBackend) -> None:
        small = self.sibling(backend, backend.prefix)
        small.max_entry_bytes = 1000
        big, *good = self.keys(5)
        entries = {key: self.entry(key, key.encode()) for key in good} | {big: self.entry(big, bytes(1001))}
        with pytest.raises(PartialFailure) as caught:
            small.put_many(entries)
        assert {key: type(error) for key, error in caught.value.failed.items()} == {big: EntryTooLarge}
        assert sorted(caught.value.results) == good
        assert sorted(backend.get_many([big, *good])) == good

    @needs("supports_raw")
    def test_a_damaged_entry_is_named_and_the_others_are_returned(self, backend: ObjectStoreBackend) -> None:
        damaged, *good = self.keys(5)
        self.store(backend, damaged, *good)
        self.raw_put(backend, damaged, b"damaged")
        with pytest.raises(PartialFailure) as caught:
            backend.get_many([damaged, *good, self.key("absent")])
        assert {key: type(error) for key, error in caught.value.failed.items()} == {damaged: CorruptEntry}
        assert {key: entry.payload for key, entry in caught.value.results.items()} == {
            key: key.encode() for key in good
        }

    @needs("supports_protection")
    @pytest.mark.parametrize("operation", ["delete_many", "clear"])
    def test_an_entry_that_cannot_be_deleted_is_named_and_the_others_are_gone(
        self, backend: ObjectStoreBackend, operation: str
    ) -> None:
        kept, *gone = self.keys(5)
        self.store(backend, kept, *gone)
        with self.protected(backend, kept), pytest.raises(PartialFailure) as caught:
            getattr(backend, operation)([kept, *gone] if operation == "delete_many" else self.prefix)
        assert list(caught.value.failed) == [kept]
        assert caught.value.results == len(gone)
        assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, kept)]
        assert self.payload(backend, kept) == kept.encode()

    @needs("supports_protection")
    def test_a_delete_that_the_store_denies_is_an_error(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        with self.protected(backend, key), pytest.raises(BackendError):
            backend.delete(key)
        assert self.payload(backend, key) == key.encode()

    @needs("supports_conditional_delete")
    def test_a_bulk_delete_with_versions_leaves_what_was_changed(self, backend: ObjectStoreBackend) -> None:
        same, changed, any_version = (self.key(name) for name in ("same", "changed", "any"))
        self.store(backend, same, changed, any_version)
        versions: dict[str, str | None] = {
            self.name_of(backend, key): self.etag(backend, key) for key in (same, changed)
        }
        backend.put(changed, self.entry(changed, b"two"))
        failed = backend.objects.remove_many({**versions, self.name_of(backend, any_version): None}, deadline=None)
        assert {name: type(error) for name, error in failed.items()} == {self.name_of(backend, changed): Refused}
        assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, changed)]
        assert self.payload(backend, changed) == b"two"

    def test_a_bulk_delete_with_the_version_of_what_is_gone_is_no_failure(self, backend: ObjectStoreBackend) -> None:
        key = self.key()
        self.store(backend, key)
        version = self.etag(backend, key)
        backend.delete(key)
        assert not backend.objects.remove_many({self.name_of(backend, key): version}, deadline=None)
