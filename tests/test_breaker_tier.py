"""A tier with a breaker in a whole cache: what is sent, what is counted, what is said, and how it heals."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import RemoteBackend, after_first_use
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.config import tier_from_url
from tiercache.errors import BackendTimeout, BackendUnavailable, CircuitOpen, ConfigurationError
from tiercache.health.breaker import BreakerPolicy

FOR_EVER = BreakerPolicy(open_seconds=3600, longest=3600)
BRIEFLY = BreakerPolicy(open_seconds=0.05, longest=0.05)
DOWN = BackendUnavailable("the store is down")
LATE = BackendTimeout("too late")


@pytest.fixture
def remote(clock) -> RemoteBackend:
    return RemoteBackend(clock)


def chain_of(remote: RemoteBackend, policy: BreakerPolicy | bool = FOR_EVER, *, strict: bool = False) -> TierChain:
    tier = Tier(remote, name="remote", breaker=policy)
    chain = TierChain(MemoryBackend(clock=remote._clock), tier, strict=strict, clock=remote._clock)
    after_first_use(chain)
    return chain


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def asked(remote: RemoteBackend) -> list[str]:
    """What the callers sent: the deletes with which a journal mends what was missed come in the background."""
    return [operation for operation in remote.trace if "delete_many" not in operation]


@pytest.fixture(params=["blocking", "awaited"])
def ask(request) -> Callable[..., Any]:
    """Call an operation of a cache, in either face."""

    async def awaited(cache: Cache, name: str, *args: Any, **options: Any) -> Any:
        return await getattr(cache, "a" + name)(*args, **options)

    def ask(cache: Cache, name: str, *args: Any, **options: Any) -> Any:
        if request.param == "blocking":
            return getattr(cache, name)(*args, **options)
        return asyncio.run(awaited(cache, name, *args, **options))

    return ask


def test_after_one_spent_deadline_the_store_is_not_asked(remote, ask):
    cache = Cache(chain_of(remote))
    remote.break_down(LATE)
    for _ in range(10):
        assert ask(cache, "get", "k") is None
        ask(cache, "set", "other", 1)
    assert asked(remote) == ["remote.get"]
    tier = cache.stats().tiers["remote"]
    assert tier.errors == {"BackendTimeout": 1}, "what was not sent did not fail"
    assert tier.refused >= 19
    assert tier.breaker == "open"


def test_a_refused_read_is_a_miss_and_a_computation(remote, ask):
    cache = Cache(chain_of(remote))
    remote.break_down(LATE)
    ask(cache, "get", "k")
    assert ask(cache, "get_or_set", "k", lambda: 42) == 42
    assert ask(cache, "get_many", ["k", "none"]) == {"k": 42}
    assert ask(cache, "get", "k") == 42


@pytest.mark.parametrize("error", [DOWN, LATE], ids=["refused", "late"])
def test_a_tier_that_failed_to_read_is_not_written_to_in_the_same_call(remote, ask, error):
    cache = Cache(chain_of(remote, False))
    remote.break_down(error)
    assert ask(cache, "get_or_set", "k", lambda: 42) == 42
    assert asked(remote) == ["remote.get"]
    remote.trace.clear()
    ask(cache, "set", "k", 43)
    assert asked(remote) == ["remote.put"], "and is asked again in the next"


def test_a_tier_that_failed_is_left_out_of_what_a_factory_asks(remote, ask):
    cache = Cache(chain_of(remote, False))
    remote.break_down(DOWN)
    assert ask(cache, "get_or_set", "outer", lambda: cache.get_or_set("inner", lambda: 42)) == 42
    assert asked(remote) == ["remote.get"]


def test_side_by_side_flows_of_a_call_share_what_failed(remote, ask, clock):
    second = RemoteBackend(clock, remote.trace, "second")
    cache = Cache(TierChain(Tier(remote, name="one", breaker=False), Tier(second, name="two", breaker=False)))
    remote.break_down(DOWN)
    second.break_down(DOWN)
    after_first_use(cache.chain)
    ask(cache, "get_or_set", "k", lambda: 42)
    assert asked(remote) == ["remote.get", "second.get"]


def test_opening_and_closing_are_said_once_each(remote, caplog):
    caplog.set_level(logging.INFO, "tiercache")
    cache = Cache(chain_of(remote))
    remote.break_down(LATE)
    for _ in range(5):
        cache.get("confidential")
    remote.faults.clear()
    assert cache.health()["remote"].ok
    said = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in said] == [logging.WARNING, logging.INFO]
    assert "BackendTimeout: too late; it is not asked for" in said[0][1]
    assert "answers again after" in said[1][1]
    assert "confidential" not in caplog.text


def test_a_strict_chain_says_why_the_tier_is_not_asked(remote, ask):
    cache = Cache(chain_of(remote, strict=True))
    remote.break_down(LATE)
    with pytest.raises(BackendTimeout):
        ask(cache, "get", "k")
    with pytest.raises(CircuitOpen, match=r"has failed for .* s and is not asked: .*BackendTimeout: too late"):
        ask(cache, "get", "k")


def test_a_missing_bucket_is_asked_about_five_times_and_stays_a_wrong_configuration(remote, ask):
    cache = Cache(chain_of(remote, strict=True))
    remote.break_down(ConfigurationError("bucket 'b' does not exist; create it"))
    for _ in range(10):
        with pytest.raises(ConfigurationError, match="create it"):
            ask(cache, "get", "k")
    assert asked(remote) == ["remote.get"] * 5
    with pytest.raises(ConfigurationError, match=r"^bucket 'b' does not exist"):
        cache.check()


def test_health_asks_a_store_whose_breaker_is_open_and_closes_it(remote, ask):
    cache = Cache(chain_of(remote))
    remote.break_down(LATE)
    ask(cache, "get", "k")
    sick = ask(cache, "health")["remote"]
    assert (sick.ok, sick.breaker) == (False, "open")
    assert sick.open_for is not None
    assert "too late" in str(sick.error)
    remote.faults.clear()
    well = ask(cache, "health")["remote"]
    assert (well.ok, well.breaker, well.open_for) == (True, "closed", None)
    ask(cache, "set", "k", 1)
    assert "default:k" in remote.entries


def test_memory_has_no_breaker(remote):
    cache = Cache(chain_of(remote))
    assert cache.stats().tiers["memory"].breaker is None
    assert cache.health()["memory"].breaker is None


def test_it_heals_without_anybody_asking(remote):
    chain = chain_of(remote, BRIEFLY)
    cache = Cache(chain)
    recovered = threading.Event()
    chain.tiers[1].on_recovery.append(recovered.set)
    remote.break_down(LATE)
    cache.get("k")
    until(lambda: remote.trace.count("remote.ping") >= 2)
    assert not recovered.is_set()
    remote.faults.clear()
    assert recovered.wait(30)
    assert cache.stats().tiers["remote"].breaker == "closed"
    assert set(asked(remote)) == {"remote.get", "remote.ping"}


def test_a_recovery_callback_that_fails_harms_nobody(remote, caplog):
    chain = chain_of(remote)
    called: list[str] = []
    chain.tiers[1].on_recovery += [lambda: 1 / 0, lambda: called.append("second")]
    remote.break_down(LATE)
    cache = Cache(chain)
    cache.get("k")
    remote.faults.clear()
    assert cache.health()["remote"].ok
    assert called == ["second"]
    assert "a recovery callback failed: ZeroDivisionError" in caplog.text


def test_nothing_is_pinged_any_more_when_it_has_closed(remote):
    chain = chain_of(remote, BRIEFLY)
    recovered = threading.Event()
    chain.tiers[1].on_recovery.append(recovered.set)
    remote.break_down(LATE)
    Cache(chain).get("k")
    remote.faults.clear()
    assert recovered.wait(30)
    until(lambda: not chain.tiers[1].healer._tending)
    pings = remote.trace.count("remote.ping")
    chain.tiers[1].healer.tend()
    assert remote.trace.count("remote.ping") == pings


async def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(remote):
    chain = chain_of(remote, BreakerPolicy(open_seconds=0.001, longest=0.001))
    tier, cache = chain.tiers[1], Cache(chain)
    tier.healer._tending = True  # nobody pings
    tier.breaker._grace = 0.0
    remote.faults["get"] = LATE
    await cache.aget("k")
    remote.faults.clear()
    until(lambda: tier.breaker.is_due)
    reached, gate = remote.hold("get")
    probe = asyncio.create_task(cache.aget("k"))
    assert await asyncio.to_thread(reached.wait, 30)
    assert tier.breaker.state == "half-open"
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert tier.breaker.state == "open"
    gate.set()
    remote.gates.clear()
    await cache.aget("k")
    assert tier.breaker.state == "closed"


async def test_a_caller_that_goes_away_is_no_failure_of_the_store(remote):
    cache = Cache(chain_of(remote))
    reached, gate = remote.hold("get")
    for _ in range(10):
        caller = asyncio.create_task(cache.aget("k"))
        assert await asyncio.to_thread(reached.wait, 30)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    gate.set()
    assert cache.stats().tiers["remote"].breaker == "closed"
    assert not cache.chain.tiers[1].breaker.wary


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_pings_for_itself(remote):
    chain = chain_of(remote, BRIEFLY)
    cache = Cache(chain)
    remote.break_down(LATE)
    cache.get("k")
    until(lambda: "remote.ping" in remote.trace)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        remote.faults.clear()
        recovered = threading.Event()
        chain.tiers[1].on_recovery.append(recovered.set)
        chain.tiers[1].breaker._grace = 3600.0  # not by a caller's probe
        cache.get("k")
        os._exit(0 if recovered.wait(50) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_store_that_was_open_for_long_is_rebuilt_before_the_probe(remote):
    rebuilt: list[str] = []
    remote.rebuild = lambda: rebuilt.append(remote.trace[-1])
    cache = Cache(chain_of(remote, BreakerPolicy(open_seconds=3600, longest=3600, rebuild_after=0.0)))
    remote.break_down(LATE)
    cache.get("k")
    remote.faults.clear()
    assert cache.health()["remote"].ok
    assert rebuilt == ["remote.get"]


def test_a_rebuild_that_fails_is_counted_and_the_probe_goes_on(remote):
    def rebuild() -> None:
        raise BackendUnavailable("cannot be rebuilt")

    remote.rebuild = rebuild
    cache = Cache(chain_of(remote, BreakerPolicy(open_seconds=3600, longest=3600, rebuild_after=0.0)))
    remote.break_down(LATE)
    cache.get("k")
    remote.faults.clear()
    assert cache.health()["remote"].ok
    assert cache.stats().tiers["remote"].errors["BackendUnavailable"] == 1


def test_without_a_breaker_each_call_asks(remote, ask):
    cache = Cache(chain_of(remote, False))
    remote.break_down(LATE)
    for _ in range(10):
        ask(cache, "get", "k")
    assert asked(remote) == ["remote.get"] * 10
    assert cache.stats().tiers["remote"].breaker is None


def test_the_option_is_part_of_a_url(tmp_path):
    assert tier_from_url(f"disk://{tmp_path}/a?breaker=false").breaker.policy is None
    assert tier_from_url(f"disk://{tmp_path}/a").breaker.policy == BreakerPolicy()


@pytest.mark.parametrize("wrong", [None, 1, "off"])
def test_another_option_is_refused(remote, wrong):
    with pytest.raises(ConfigurationError, match="BreakerPolicy"):
        Tier(remote, breaker=wrong)


class TestRetries:
    @pytest.fixture
    def flaky(self, remote) -> Callable[..., None]:
        """Have the next calls of an operation fail with these errors."""

        def flaky(name: str, *errors: Exception) -> None:
            waiting, real = list(errors), getattr(remote, name)

            def operation(*args: Any, **options: Any) -> Any:
                if waiting:
                    remote.trace.append(f"remote.{name}")
                    raise waiting.pop(0)
                return real(*args, **options)

            setattr(remote, name, operation)

        return flaky

    def test_a_hiccup_is_tried_again_once(self, remote, ask, flaky):
        cache = Cache(chain_of(remote))
        ask(cache, "set", "k", 1)
        remote.trace.clear()
        cache.chain.memory.clear()
        flaky("get", BackendUnavailable("503", retry_after=0.0))
        assert ask(cache, "get", "k") == 1
        assert asked(remote) == ["remote.get", "remote.get"]
        tier = cache.stats().tiers["remote"]
        assert (tier.retries, tier.errors) == (1, {})

    def test_two_failures_are_a_failure_and_are_counted_once(self, remote, ask, flaky):
        cache = Cache(chain_of(remote))
        flaky("get", *[BackendUnavailable("503", retry_after=0.0)] * 2)
        assert ask(cache, "get_or_set", "k", lambda: 42) == 42
        assert asked(remote) == ["remote.get", "remote.get"]
        assert cache.stats().tiers["remote"].errors == {"BackendUnavailable": 1}

    @pytest.mark.parametrize(
        "error",
        [DOWN, LATE, BackendUnavailable("429", retry_after=30.0)],
        ids=["not worth it", "no time left", "no time until then"],
    )
    def test_what_is_not_worth_it_is_not_tried_again(self, remote, ask, flaky, error):
        cache = Cache(chain_of(remote))
        flaky("get", error)
        assert ask(cache, "get", "k") is None
        assert asked(remote) == ["remote.get"]

    @pytest.mark.parametrize("name", ["delete", "ping"])
    def test_what_does_not_do_the_same_twice_is_not_tried_again(self, remote, flaky, name):
        tier = chain_of(remote).tiers[1]
        flaky(name, BackendUnavailable("503", retry_after=0.0))
        call = tier.delete("default:k") if name == "delete" else tier.ping()
        with pytest.raises(BackendUnavailable):
            call.perform()
        assert asked(remote) == [f"remote.{name}"]

    def test_a_conditional_write_is_sent_once(self, remote, flaky, clock):
        tier = chain_of(remote).tiers[1]
        Cache(chain_of(remote)).set("k", 1)
        entry = remote.entries["default:k"]
        remote.trace.clear()
        flaky("put", BackendUnavailable("503", retry_after=0.0))
        with pytest.raises(BackendUnavailable):
            tier.put("default:k", entry, if_absent=True).perform()
        assert asked(remote) == ["remote.put"]

    def test_a_store_in_trouble_is_sent_a_tenth_more_at_most(self, remote, ask):
        """Every fourth call fails: with a retry for each, that would be a quarter more."""
        cache = Cache(chain_of(remote))
        asked = 0

        def get(key: str, *, deadline: float | None = None) -> None:
            nonlocal asked
            asked += 1
            if asked % 4 == 0:
                raise BackendUnavailable("503", retry_after=0.0)

        remote.get = get
        tier = cache.chain.tiers[1]
        for number in range(400):
            try:
                tier.get(f"default:{number}").perform()
            except BackendUnavailable:
                continue
        assert tier.breaker.state == "closed"
        retries = tier.counters.retries
        assert asked == 400 + retries
        assert 10 < retries <= 10 + 0.1 * 400


def test_both_faces_name_the_same_reasons():
    """The a-twin of what these tests call exists; a face without a breaker would go unnoticed."""
    for name in ("get", "set", "get_many", "get_or_set", "health"):
        assert inspect.iscoroutinefunction(getattr(Cache, "a" + name))
