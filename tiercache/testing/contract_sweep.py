"""Contract cases of object stores: a sweep deletes what is expired, and nothing that anybody wrote meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from unittest import mock

from ..errors import BackendError
from ..objectstore import ObjectStoreBackend
from .contract_hooks import needs
from .contract_object_hooks import ObjectStoreHooks


class SweepCases(ObjectStoreHooks):
    """`ObjectStoreBackend.sweep`, with the vendor's listing and bulk delete."""

    def expire(self, backend: ObjectStoreBackend, *keys: str) -> None:
        """Put an entry under each key that is expired."""
        backend.put_many({key: self.entry(key, b"old", ttl=-30) for key in keys})

    def test_a_sweep_deletes_what_is_expired_and_nothing_else(self, backend: ObjectStoreBackend) -> None:
        fresh, never, stale, *expired = self.keys(8)
        self.expire(backend, *expired)
        backend.put(fresh, self.entry(fresh, ttl=3600))
        backend.put(never, self.entry(never))
        backend.put(stale, self.entry(stale, ttl=-30, stale_for=3600))
        self.raw_put_object(backend, f"{backend.prefix}_meta/marker", b"theirs")
        report = backend.sweep(self.prefix)
        assert (report.deleted, report.examined, report.complete) == (len(expired), 8, True)
        kept = [self.name_of(backend, key) for key in (fresh, never, stale)]
        assert self.raw_names(backend, backend.prefix) == sorted([*kept, f"{backend.prefix}_meta/marker"])

    def test_a_sweep_keeps_its_budget_and_goes_on_where_it_stopped(self, backend: ObjectStoreBackend) -> None:
        self.expire(backend, *self.keys(30))
        deleted, resume = 0, None
        for _ in range(40):
            with self.sent(backend) as requests:
                report = backend.sweep(max_requests=12, resume=resume)
            assert len(requests) <= 12
            deleted, resume = deleted + report.deleted, report.resume
            if report.complete:
                break
        assert deleted == 30
        assert self.raw_names(backend, backend.prefix) == []

    def test_a_dry_run_of_a_sweep_counts_and_deletes_nothing(self, backend: ObjectStoreBackend) -> None:
        fresh, *expired = self.keys(4)
        self.expire(backend, *expired)
        backend.put(fresh, self.entry(fresh, ttl=3600))
        before = self.raw_names(backend, backend.prefix)
        report = backend.sweep(self.prefix, dry_run=True)
        assert (report.deleted, report.examined, report.complete) == (len(expired), 4, True)
        assert report.freed > 0
        assert self.raw_names(backend, backend.prefix) == before

    @needs("supports_conditional_delete")
    def test_what_is_written_between_look_and_delete_stays(self, backend: ObjectStoreBackend) -> None:
        again, *expired = self.keys(4)
        self.expire(backend, again, *expired)
        remove_many = backend.objects.remove_many

        def write_first(versions: Mapping[str, str | None], *, deadline: float | None) -> Mapping[str, BackendError]:
            backend.put(again, self.entry(again, b"new"))
            return remove_many(versions, deadline=deadline)

        with mock.patch.object(backend.objects, "remove_many", write_first):
            report = backend.sweep()
        assert (report.deleted, report.changed) == (len(expired), 1)
        assert self.payload(backend, again) == b"new"

    @needs("supports_conditional_delete", "conditions_are_atomic")
    def test_machines_that_sweep_while_others_write_lose_nothing_that_is_fresh(
        self, backend: ObjectStoreBackend
    ) -> None:
        keys = self.keys(24)
        self.expire(backend, *keys)
        start, failed = threading.Barrier(4), list[BaseException]()

        def machine(work: str) -> None:
            twin = self.sibling(backend, backend.prefix)
            try:
                start.wait(60)
                if work == "sweep":
                    twin.sweep()
                else:
                    for key in keys[::2]:
                        twin.put(key, self.entry(key, b"new"))
            except BaseException as error:  # noqa: BLE001 - the case tells it
                failed.append(error)

        threads = [threading.Thread(target=machine, args=(work,)) for work in ("sweep", "sweep", "sweep", "write")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert failed == []
        assert [self.payload(backend, key) for key in keys[::2]] == [b"new"] * 12
        backend.sweep()
        assert self.raw_names(backend, backend.prefix) == [self.name_of(backend, key) for key in keys[::2]]
