"""What processes tell each other of missed changes: once, again while it holds, and that it is over."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import FakeClock
from tests.support import RemoteBackend
from tiercache import Cache, Tier, TierChain
from tiercache.entry import Entry
from tiercache.journal.missed import KEY, report_in

WAIT = 20


class Counting(RemoteBackend):
    """Counts how often the report of missed changes is stored, slowly."""

    told = 0

    def put(self, key: str, entry: Entry, **options: object) -> bool:
        if key == KEY:
            time.sleep(0.05)
            self.told += 1
        return super().put(key, entry, **options)  # type: ignore[arg-type]


@pytest.fixture
def away(clock: FakeClock) -> RemoteBackend:
    return RemoteBackend(clock, name="upper")


@pytest.fixture
def other(clock: FakeClock) -> Counting:
    return Counting(clock, name="lower")


@pytest.fixture
def cache(clock: FakeClock, away: RemoteBackend, other: Counting) -> Cache:
    # Without breakers, each call learns for itself that the tier is away.
    tiers = [Tier(away, name="upper", breaker=False), Tier(other, name="lower", breaker=False)]
    return Cache(TierChain(*tiers, clock=clock), namespace="n")


def test_of_many_writes_that_a_tier_misses_at_once_one_tells(
    cache: Cache, away: RemoteBackend, other: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.break_down()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(cache.set, map(str, range(64)), range(64)))
        assert other.told == 1
        monkeypatch.setattr("tiercache.journal.missed.RENEW", 0.3)
        time.sleep(0.4)
        list(threads.map(cache.set, map(str, range(16)), range(16)))
    assert other.told <= 3


def test_a_process_that_only_writes_says_it_again_and_that_it_is_over(
    cache: Cache, away: RemoteBackend, other: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiercache.journal.missed.RENEW", 0.5)
    away.break_down()
    cache.set("k", 1)
    assert other.told == 1
    _until(lambda: other.told > 1)
    assert "upper" in report_in(other.get(KEY)).missing
    away.faults.clear()
    _until(lambda: not report_in(other.get(KEY)).missing)


def _until(holds: object) -> None:
    ends = time.monotonic() + WAIT
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < ends
        time.sleep(0.02)
