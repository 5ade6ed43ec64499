"""`warm`: entries come up into the fast tiers, as many as there is room for."""

from __future__ import annotations

import contextlib

import pytest

from tests.transfer.conftest import Make
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import ConfigurationError
from tiercache.transfer import WarmReport, warm


@pytest.fixture
def slow(make: Make) -> None:
    """A file with 50 entries of 1 KiB in a namespace, and others beside it."""
    with contextlib.closing(TierChain(make("disk", "slow"))) as chain:
        Cache(chain, namespace="n").set_many({f"k{number:02}": bytes([number]) * 1024 for number in range(50)})
        Cache(chain, namespace="other").set("k", 1)


def chain(make: Make, fast: MemoryBackend) -> TierChain:
    return TierChain(fast, make("disk", "slow"))


def test_all_entries_of_the_namespace_come_up(make: Make, slow: None) -> None:
    fast, seen = MemoryBackend("1MiB"), list[WarmReport]()
    report = warm(Cache(chain(make, fast), namespace="n"), progress=seen.append)
    assert (report.warmed, report.warm, report.missing, report.stopped) == (50, 0, 0, None)
    assert report.bytes == 50 * 1024
    assert (seen[-1], fast.usage()[0]) == (report, 50)


def test_a_prefix_or_keys_say_which(make: Make, slow: None) -> None:
    fast = MemoryBackend("1MiB")
    cache = Cache(chain(make, fast), namespace="n")
    assert warm(cache, prefix="k1").warmed == 10
    report = warm(cache, ["k10", "k20", "nowhere"])
    assert (report.warmed, report.warm, report.missing, report.total) == (1, 1, 1, 3)


def test_a_tier_is_filled_and_never_made_to_evict(make: Make, slow: None) -> None:
    fast = MemoryBackend("32KiB")
    report = warm(Cache(chain(make, fast), namespace="n"))
    assert (report.warmed, report.stopped) == (fast.usage()[0], "full")
    assert 18 <= report.warmed <= 24, "1,304 bytes each"
    assert not sum(fast.removals.values())
    fast = MemoryBackend("32KiB")
    report = warm(Cache(chain(make, fast), namespace="n"), [f"k{number:02}" for number in range(50)])
    assert (report.warmed, report.stopped) == (fast.usage()[0], "full")


def test_a_limit_and_a_budget_bound_it(make: Make, slow: None) -> None:
    fast = MemoryBackend("1MiB")
    cache = Cache(chain(make, fast), namespace="n")
    report = warm(cache, limit=7)
    assert (report.warmed, report.stopped) == (7, "limit")
    report = warm(cache, prefix="k4", max_bytes="3KiB")
    assert (report.stopped, report.bytes <= 3 * 1024, report.warmed > 0) == ("full", True, True)


def test_a_limit_that_is_just_enough_stops_nothing(make: Make, slow: None) -> None:
    report = warm(Cache(chain(make, MemoryBackend("1MiB")), namespace="n"), limit=50)
    assert (report.warmed, report.stopped) == (50, None)


def test_a_dry_run_counts(make: Make, slow: None) -> None:
    fast = MemoryBackend("1MiB")
    cache = Cache(chain(make, fast), namespace="n")
    report = warm(cache, dry_run=True)
    assert (report.warmed, fast.usage()[0]) == (50, 0)
    assert report.bytes > 0
    assert warm(cache, dry_run=True, limit=5).stopped == "limit"
    report = warm(cache, ["k01", "nowhere"], dry_run=True)
    assert (report.warmed, report.missing) == (1, 1)


def test_what_was_invalidated_does_not_come_up(make: Make, slow: None) -> None:
    with contextlib.closing(TierChain(make("disk", "slow"))) as other:
        Cache(other, namespace="n").clear()
    report = warm(Cache(chain(make, MemoryBackend("1MiB")), namespace="n"))
    assert (report.warmed, report.missing) == (0, 50)


def test_mistakes_are_told(make: Make, slow: None) -> None:
    with pytest.raises(ConfigurationError, match="no faster tier"):
        warm(Cache(TierChain(make("disk", "slow"))))
    with pytest.raises(ConfigurationError, match="no faster tier"):
        warm(Cache(TierChain(Tier(MemoryBackend(), write="never"), make("disk", "slow"))))
    cache = Cache(chain(make, MemoryBackend("1MiB")))
    with pytest.raises(ConfigurationError, match="limit"):
        warm(cache, limit=0)
    with pytest.raises(ConfigurationError, match="not both"):
        warm(cache, ["k"], prefix="k")
