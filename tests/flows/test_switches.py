"""Switches: what a running chain uses each tier for, by namespace and for a share of the keys."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.switches import place_of

KEY = "n:k"
Answer = Callable[[Any], Any]


class Chain:
    """Memory, a fast and a slow store; `read` and `write` block or await."""

    def __init__(self, clock: Any) -> None:
        self.fast, self.slow = RemoteBackend(clock, name="fast"), RemoteBackend(clock, name="slow")
        tiers = [Tier(store, name=store.name, breaker=False) for store in (self.fast, self.slow)]
        self.chain = TierChain(MemoryBackend(clock=clock), *tiers, clock=clock)
        self.memory = self.chain.memory
        self.switches = self.chain.switches
        self.cache = Cache(self.chain, namespace="n")

    def tier(self) -> str | None:
        """Which tier answers, with what was copied up meanwhile."""
        found = self.cache.lookup("k").tier
        assert self.chain.background.drain(10)
        return found

    def holders(self) -> list[str]:
        assert self.memory is not None
        held = {"memory": self.memory.get(KEY), "fast": self.fast.entries.get(KEY), "slow": self.slow.entries.get(KEY)}
        return [name for name, entry in held.items() if entry is not None]


@pytest.fixture
def one(clock: Any) -> Any:
    chain = Chain(clock)
    yield chain
    chain.cache.close()


# What each mode does


@pytest.mark.parametrize(
    ("mode", "reads", "stores"),
    [
        ("on", True, True),
        ("off", False, False),
        ("read-only", True, False),
        ("write-only", False, True),
        ("shadow", False, True),
    ],
)
@pytest.mark.parametrize("tier", ["memory", "fast"])
async def test_what_a_mode_reads_and_stores(one: Chain, tier: str, mode: Any, reads: bool, stores: bool) -> None:
    others = [name for name in ("memory", "fast", "slow") if name != tier]
    for awaited in (False, True):
        one.switches.reset()
        one.cache.set("k", 0)
        one.switches.set(tier, mode)
        if tier == "fast":
            one.memory.clear()
        found = (await one.cache.alookup("k")) if awaited else one.cache.lookup("k")
        assert (found.tier == tier) is reads
        assert (await one.cache.aget("k") if awaited else one.cache.get("k")) == 0
        assert one.chain.background.drain(10)
        await one.cache.aset("k", 1) if awaited else one.cache.set("k", 1)
        assert set(one.holders()) == {*others, *([tier] if stores else [])}


@pytest.mark.parametrize("mode", ["off", "read-only"])
def test_a_change_removes_what_it_replaces(one: Chain, mode: Any) -> None:
    changes: list[Answer] = [
        lambda cache: cache.set("k", 2),
        lambda cache: cache.set_many({"k": 2}),
        lambda cache: cache.delete("k"),
        lambda cache: cache.delete_many(["k"]),
        lambda cache: cache.touch("k", 100),
        lambda cache: cache.clear(purge=True),
    ]
    for change in changes:
        one.switches.reset()
        one.cache.set("k", 1)
        one.switches.set("fast", mode)
        change(one.cache)
        assert "fast" not in one.holders()


@pytest.mark.parametrize("mode", ["off", "read-only", "write-only", "shadow"])
def test_invalidations_hold_for_a_tier_whatever_its_mode(one: Chain, mode: Any) -> None:
    one.cache.set("k", 1, tags=["t"])
    one.switches.set("slow", mode)
    one.cache.invalidate_tags(["t"])
    one.switches.reset()
    one.memory.clear()
    one.fast.entries.clear()
    assert one.cache.get("k") is None


def test_a_store_that_cannot_remove_answers_no_reads_for_the_key(one: Chain) -> None:
    one.cache.set("k", 1)
    one.switches.set("slow", "off")
    one.slow.break_down(BackendUnavailable("down"))
    one.cache.set("k", 2)
    one.slow.faults = {name: error for name, error in one.slow.faults.items() if not name.startswith("get")}
    one.switches.reset()
    one.memory.clear()
    one.fast.entries.clear()
    assert one.slow.entries[KEY] is not None
    assert one.cache.get("k") is None
    assert one.cache.stats().tiers["slow"].missed == 1


@pytest.mark.parametrize("mode", ["off", "read-only", "write-only", "shadow"])
def test_nothing_is_copied_up_into_a_tier_that_does_not_both_read_and_store(one: Chain, mode: Any) -> None:
    for tier in ("memory", "fast"):
        one.switches.reset()
        one.cache.set("k", 1)
        one.memory.clear()
        one.fast.entries.clear()
        one.switches.set(tier, mode)
        assert one.tier() == "slow"
        assert one.cache.get_many(["k"]) == {"k": 1}
        assert one.cache.warm(["k"]) == 1
        assert one.chain.background.drain(10)
        assert tier not in one.holders()


def test_a_tier_that_is_not_read_is_not_asked(one: Chain) -> None:
    one.switches.set("fast", "off")
    one.fast.trace.clear()
    one.cache.get("k")
    one.cache.get_many(["k", "l"])
    one.cache.contains("k")
    one.cache.get_or_set("m", lambda: 1)
    assert [operation for operation in one.fast.trace if "get" in operation or "head" in operation] == []


def test_keys_of_tiers_that_are_not_read_are_not_listed(one: Chain) -> None:
    one.cache.set("k", 1)
    for tier in ("memory", "fast", "slow"):
        one.switches.set(tier, "write-only")
    assert list(one.cache.keys()) == []
    one.switches.set("slow", "read-only")
    assert list(one.cache.keys()) == ["k"]


# Memory, and the path of a hit


def test_a_switch_takes_effect_at_once_and_the_path_of_a_hit_is_as_before(one: Chain) -> None:
    one.cache.set("k", 1)
    before = one.cache._fresh.__qualname__
    one.switches.set("memory", "off", namespace="n")
    assert one.tier() == "fast"
    assert one.cache.get_or_set("k", lambda: 2) == 1
    assert one.cache.get_many(["k"]) == {"k": 1}
    one.switches.reset()
    assert one.cache._fresh.__qualname__ == before
    assert one.tier() == "memory"


def test_another_namespace_keeps_its_memory(one: Chain) -> None:
    other = Cache(one.chain, namespace="other")
    one.cache.set("k", 1)
    other.set("k", 2)
    one.switches.set("memory", "off", namespace="n")
    assert (one.cache.lookup("k").tier, other.lookup("k").tier) == ("fast", "memory")
    assert Cache(one.chain, namespace="n").lookup("k").tier == "fast"  # one that is made afterwards, too
    one.switches.set("memory", "off")
    assert other.lookup("k").tier == "fast"


def test_stale_values_in_memory_that_is_off_are_not_served(one: Chain, clock: Any) -> None:
    one.cache.set("k", 1, ttl=10, stale_for=100)
    clock.advance(20)
    for tier in ("memory", "fast", "slow"):
        one.switches.set(tier, "off")
    assert one.cache.get_or_set("k", lambda: 2, stale_for=100) == 2
    assert one.cache.get_or_set_many(["k"], lambda keys: dict.fromkeys(keys, 3), stale_for=100) == {"k": 3}


def test_a_cache_that_is_forgotten_is_not_kept_by_the_switches(one: Chain) -> None:
    Cache(one.chain, namespace="gone")
    gc.collect()
    assert len(one.switches._listeners) == 1


# Ramps


def test_a_ramp_uses_the_tier_for_that_share_of_the_keys(one: Chain) -> None:
    keys = [f"k{number}" for number in range(2000)]
    one.switches.set("fast", ramp=25)
    one.cache.set_many(dict.fromkeys(keys, 1))
    held = {key for key in keys if f"n:{key}" in one.fast.entries}
    assert 400 < len(held) < 600
    assert held == {key for key in keys if place_of(f"n:{key}") < 25}
    one.memory.clear()
    assert {result.tier for key, result in one.cache.lookup_many(keys).items() if key in held} == {"fast"}
    assert one.chain.background.drain(10)
    one.memory.clear()
    assert {result.tier for key, result in one.cache.lookup_many(keys).items() if key not in held} == {"slow"}


def test_a_ramp_of_memory(one: Chain) -> None:
    keys = [f"k{number}" for number in range(100)]
    one.cache.set_many(dict.fromkeys(keys, 1))
    one.switches.set("memory", ramp=50)
    tiers = {one.cache.lookup(key).tier for key in keys}
    assert tiers == {"memory", "fast"}
    assert len({one.cache.lookup(key).tier for key in keys if place_of(f"n:{key}") < 50}) == 1
    one.switches.set("memory", ramp=0)
    assert {one.cache.lookup(key).tier for key in keys} == {"fast"}


def test_keys_stand_where_they_stood_on_the_ramp() -> None:
    assert [place_of(f"n:{number}") for number in range(3)] == PLACES
    assert all(0 <= place_of(str(number)) < 100 for number in range(1000))


PLACES = [94.41, 72.18, 17.11]


# Shadow


def shadows(one: Chain) -> tuple[int, int, int]:
    assert one.chain.background.drain(10)
    tier = one.cache.stats().tiers["fast"]
    return tier.shadow_equal, tier.shadow_different, tier.shadow_absent


async def test_a_shadow_is_compared_with_what_the_chain_answered(one: Chain) -> None:
    one.switches.set("fast", "shadow")
    one.switches.set("memory", "off")
    one.cache.set_many({"same": 1, "other": 2, "absent": 3})
    one.fast.entries["n:other"] = one.fast.entries["n:same"].with_metadata(key="n:other")
    del one.fast.entries["n:absent"]
    for key in ("same", "other", "absent", "none"):
        assert one.cache.get(key) == {"same": 1, "other": 2, "absent": 3}.get(key)
    assert shadows(one) == (1, 1, 1)
    assert await one.cache.aget_many(["same", "other", "absent", "none"]) == {"same": 1, "other": 2, "absent": 3}
    assert shadows(one) == (2, 2, 2)
    assert one.cache.stats().tiers["fast"].hits == 0


def test_a_shadow_that_fails_is_no_difference(one: Chain) -> None:
    one.switches.set("fast", "shadow")
    one.switches.set("memory", "off")
    one.cache.set("k", 1)
    one.fast.faults["get_many"] = BackendUnavailable("down")
    assert one.cache.get("k") == 1
    assert shadows(one) == (0, 0, 0)


def test_what_is_changed_meanwhile_is_not_compared(one: Chain) -> None:
    one.switches.set("fast", "shadow")
    one.switches.set("memory", "off")
    one.cache.set("k", 1)
    reached, gate = one.fast.hold("get_many")
    assert one.cache.get("k") == 1
    assert reached.wait(30)
    one.cache.set("k", 2)
    gate.set()
    assert shadows(one) == (0, 0, 0)


# Saying it


def test_what_is_said_of_the_switches(one: Chain) -> None:
    one.switches.set("fast", "read-only")
    one.switches.set("fast", "off", namespace="n", ramp=10)
    assert one.switches.as_dict() == {"memory": "on", "fast": "read-only; n: off, 10 % of the keys", "slow": "on"}
    assert one.cache.stats().tiers["fast"].switch == one.chain.health()["fast"].switch == one.switches.as_dict()["fast"]
    assert repr(one.switches) == "<Switches fast: read-only; n: off, 10 % of the keys>"
    assert (one.switches.get("fast").mode, one.switches.get("fast", "n").mode) == ("read-only", "off")
    assert one.switches.get("slow").mode == "on"


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("fsat", "off"), {}, "no tier is named 'fsat' (did you mean 'fast'?); there are memory, fast, slow"),
        (("fast", "of"), {}, "(did you mean 'off'?)"),
        (("fast", None), {}, "mode must be one of on, off, read-only, write-only, shadow, not a NoneType"),
        (("fast", "off"), {"ramp": 101}, "ramp must be a percentage, 0 to 100"),
        (("fast", "off"), {"ramp": True}, "ramp must be a percentage"),
        (("fast", "off"), {"ramp": float("nan")}, "ramp must be a percentage"),
        (("fast", "off"), {"namespace": "a:b"}, "namespace"),
    ],
)
def test_what_is_no_switch(one: Chain, arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        one.switches.set(*arguments, **options)
    assert words in str(caught.value)
    assert repr(one.switches) == "<Switches all on>"


def test_a_file_replaces_all_switches_or_none(one: Chain, tmp_path: Path) -> None:
    path = tmp_path / "cache.toml"
    path.write_text("[switches]\nfast = { ramp = 20, namespaces = { n = 'off', other = { mode = 'shadow' } } }\n")
    one.switches.set("slow", "off")
    one.switches.reload(path)
    said = {"memory": "on", "fast": "on, 20 % of the keys; n: off; other: shadow", "slow": "on"}
    assert one.switches.as_dict() == said
    path.write_text("[switches]\nslow = 'off'\nfsat = 'off'\n")
    with pytest.raises(ConfigurationError, match="line 3: no tier is named 'fsat'"):
        one.switches.reload(path)
    assert one.switches.as_dict() == said


def test_strict_chains_say_that_a_removal_failed(clock: Any) -> None:
    store = RemoteBackend(clock)
    chain = TierChain(MemoryBackend(clock=clock), Tier(store, name="store", breaker=False), clock=clock, strict=True)
    cache = Cache(chain, namespace="n")
    chain.switches.set("store", "off")
    store.break_down(BackendUnavailable("down"))
    with pytest.raises(BackendUnavailable):
        cache.set("k", 1)
    store.faults.clear()
    cache.close()
