"""What a cache does with its object stores it does with any backend that offers the same: sweeps, classes, listings."""

from __future__ import annotations

import warnings

import pytest

from tests.support import RemoteBackend
from tests.test_objectstore import DictStore
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import StorageClassWarning
from tiercache.objectstore import ObjectStoreBackend, SweepReport
from tiercache.testing import FaultyBackend
from tiercache_s3 import S3Backend


class Sweeping(RemoteBackend):
    """A backend of its own kind that deletes what is expired when it is asked to."""

    scheme = "sweeping"
    scan_is_dear_in_full = True

    def __init__(self, clock):
        super().__init__(clock)
        self.asked = []
        self.scans = []

    def sweep(self, prefix="", *, max_requests=None, resume=None, progress=None, is_dead=None, deadline=None):
        self.asked.append((prefix, max_requests, resume, is_dead is not None))
        report = SweepReport(examined=1, resume="further")
        progress(report)
        return report

    def scan(self, prefix="", *, full=False, deadline=None):
        self.scans.append(full)
        return super().scan(prefix, full=full, deadline=deadline)


class OtherSweep(RemoteBackend):
    def sweep(self, limit=10):
        raise AssertionError("this is another sweep")


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_any_backend_that_offers_a_sweep_takes_part(clock, face):
    backend, told = Sweeping(clock), []
    cache = Cache(TierChain(MemoryBackend(clock=clock), OtherSweep(clock), backend, clock=clock), namespace="n")
    options = {"max_requests": 7, "progress": lambda tier, report: told.append(tier)}
    reports = cache.sweep(**options) if face == "sync" else await cache.asweep(**options)
    assert reports == {"sweeping": SweepReport(examined=1, resume="further")}
    assert told == ["sweeping"]
    cache.sweep(resume=reports)
    cache.invalidate_tags(["t"])
    cache.sweep()
    assert backend.asked == [("n:", 7, None, False), ("n:", None, "further", False), ("n:", None, None, True)]


def test_a_backend_that_is_only_read_is_not_swept(clock):
    backend = Sweeping(clock)
    assert Cache(TierChain(Tier(backend, write="never"), clock=clock)).sweep() == {}
    assert backend.asked == []


def test_an_object_store_is_swept_through_a_wrapper(clock):
    inner = ObjectStoreBackend(DictStore(), clock=clock)
    cache = Cache(TierChain(FaultyBackend(inner), clock=clock))
    cache.set("k", 1, ttl=1)
    clock.advance(2)
    assert cache.sweep()["custom"].deleted == 1


@pytest.mark.parametrize("asks", [True, False])
def test_keys_reads_entries_only_where_that_is_not_dear(clock, asks):
    backend = Sweeping(clock)
    backend.scan_is_dear_in_full = asks
    cache = Cache(TierChain(backend, clock=clock), namespace="n")
    cache.set("k", 1)
    cache.clear()
    assert list(cache.keys()) == []
    assert backend.scans == [not asks]


def test_what_wraps_an_object_store_has_its_classes_by_attributes(clock):
    inner = S3Backend("bucket", storage_class="STANDARD_IA")
    backend = RemoteBackend(clock)
    backend.rules, backend.storage_class, backend.advise = inner.rules, inner.storage_class, inner.advise
    tier = Tier(backend)
    assert tier.classes is inner.rules
    assert tier.check_class("STANDARD") == "STANDARD"
    with pytest.warns(StorageClassWarning):
        Cache(TierChain(tier), ttl="1d")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Cache(TierChain(tier), ttl="1d")  # it is given once
    inner.close()
