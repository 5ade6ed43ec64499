"""`Breaker`: when it opens, who may probe, how it closes. A clock that is moved by hand; no store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    CacheClosed,
    CircuitOpen,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    InvalidKey,
    MisconfiguredTier,
    PartialFailure,
    UnknownFormat,
)
from tiercache.health.breaker import Breaker, BreakerPolicy, Verdict, judge

DOWN = BackendUnavailable("refused")
LATE = BackendTimeout("too late")
STANDARD = BreakerPolicy()


class Bench:
    """A breaker and its clock; the jitter is in the middle, so that nothing is lengthened or shortened."""

    def __init__(self, policy: BreakerPolicy | None = STANDARD, **options) -> None:
        self.now = 1000.0
        self.jitter = 0.5
        self.opened: list[float] = []
        self.closed: list[float] = []
        self.breaker = Breaker(
            policy,
            clock=lambda: self.now,
            jitter=lambda: self.jitter,
            on_open=lambda error, seconds: self.opened.append(seconds),
            on_close=self.closed.append,
            **options,
        )

    def call(self, error: Exception | None = None) -> None:
        ticket = self.breaker.enter()
        self.breaker.settle(ticket, Verdict.ANSWERED if error is None else judge(error), error)

    def calls(self, *errors: Exception | None) -> None:
        for error in errors:
            self.call(error)

    @property
    def is_open(self) -> bool:
        return self.breaker.state != "closed"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_spent_deadline_opens_it(bench):
    bench.call(LATE)
    assert bench.breaker.state == "open"
    with pytest.raises(CircuitOpen, match=r"asked again in 2\.0 s; the last error was BackendTimeout: too late"):
        bench.breaker.enter()


def test_five_quick_failures_in_a_row_open_it(bench):
    bench.calls(DOWN, DOWN, DOWN, DOWN)
    assert not bench.is_open
    bench.call(DOWN)
    assert bench.is_open


def test_a_success_in_between_ends_the_row(bench):
    bench.calls(DOWN, DOWN, DOWN, DOWN, None, DOWN, DOWN, DOWN, DOWN)
    assert not bench.is_open


def test_half_of_the_last_twenty_open_it(bench):
    bench.calls(*[DOWN, None] * 9)
    assert not bench.is_open
    bench.call(DOWN)
    assert bench.is_open


def test_failures_more_than_twenty_calls_ago_count_no_more(bench):
    bench.calls(*[DOWN, None] * 9, *[None] * 20, *[DOWN, None] * 9)
    assert not bench.is_open


def test_a_healthy_tier_has_nothing_to_ask_and_nothing_to_tell(bench):
    assert not bench.breaker.wary
    bench.call(DOWN)
    assert bench.breaker.wary
    bench.calls(*[None] * 20)
    assert not bench.breaker.wary


def test_wrong_configuration_opens_it_and_stays_what_it_is(bench):
    bench.calls(*[ConfigurationError("bucket 'b' does not exist; create it")] * 5)
    with pytest.raises(MisconfiguredTier, match="create it") as caught:
        bench.breaker.enter()
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(
    "error",
    [
        AccessDenied("403 on one key"),
        EntryTooLarge("17 MiB"),
        CorruptEntry("flipped"),
        UnknownFormat("of a later release"),
        InvalidKey("too long"),
        CacheClosed(),
        BackendUnavailable("out of memory: writes are refused", tier_wide=False),
        BackendTimeout("no thread was free", tier_wide=False),
        PartialFailure({"a": AccessDenied("no"), "b": CorruptEntry("no"), "c": EntryTooLarge("no")}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_failure_of_the_store_never_opens_it(bench, error):
    bench.calls(*[error] * 40)
    assert not bench.is_open
    assert not bench.breaker.wary


def test_a_batch_that_got_somewhere_before_its_deadline_is_no_failure():
    some = PartialFailure({"b": LATE, "c": LATE}, {"a": 1})
    assert judge(some, asked=3) is Verdict.NOTHING
    assert judge(some, asked=None) is Verdict.NOTHING


def test_keys_that_were_found_absent_count_as_progress():
    assert judge(PartialFailure({"b": LATE}, {}), asked=2) is Verdict.NOTHING


@pytest.mark.parametrize(("part", "verdict"), [(LATE, Verdict.SPENT), (DOWN, Verdict.FAILED)])
def test_a_batch_that_got_nowhere_counts_as_one_failure(part, verdict):
    assert judge(PartialFailure({"a": part, "b": part}, {}), asked=2) is verdict


def test_when_its_time_is_up_one_call_is_the_probe_and_the_others_are_refused(bench):
    bench.call(LATE)
    bench.now += 2.0
    probe = bench.breaker.enter()
    assert bench.breaker.state == "half-open"
    with pytest.raises(CircuitOpen, match="being asked whether it works again"):
        bench.breaker.enter()
    bench.breaker.settle(probe, Verdict.ANSWERED)
    assert bench.breaker.state == "closed"
    bench.call()


def test_among_many_threads_one_is_the_probe(bench):
    bench.call(LATE)
    bench.now += 2.0
    start = threading.Barrier(16)

    def enter(_: int) -> bool:
        start.wait(30)
        try:
            bench.breaker.enter()
        except CircuitOpen:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(enter, range(16))) == 1


def test_each_probe_that_fails_doubles_the_time_up_to_half_a_minute(bench):
    bench.call(LATE)
    lasted = []
    for _ in range(6):
        start = bench.now
        while not bench.breaker.is_due:
            bench.now += 0.25
        lasted.append(bench.now - start)
        bench.call(DOWN)
    assert lasted == [2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 1.8), (0.5, 2.0), (1.0, 2.2)])
def test_the_time_varies_by_a_tenth(bench, jitter, seconds):
    bench.jitter = jitter
    bench.call(LATE)
    assert bench.opened == [pytest.approx(seconds)]


def test_a_store_that_asks_for_time_gets_it(bench):
    bench.calls(*[BackendUnavailable("slow down", retry_after=12.0)] * 5)
    assert bench.opened == [12.0]


def test_one_that_opens_again_soon_after_it_closed_goes_on_where_it_was(bench):
    bench.call(LATE)
    bench.now += 2.0
    bench.call()
    bench.now += 1.0
    bench.call(LATE)
    assert bench.opened == [2.0, 4.0]
    bench.now += 4.0
    bench.call()
    bench.now += 60.0
    bench.call(LATE)
    assert bench.opened == [2.0, 4.0, 2.0]


def test_a_probe_that_says_nothing_leaves_its_place_to_the_next_call(bench):
    bench.call(LATE)
    bench.now += 2.0
    bench.call(EntryTooLarge("17 MiB"))
    assert bench.breaker.state == "open"
    bench.call()
    assert bench.breaker.state == "closed"


def test_a_probe_that_is_refused_for_its_key_has_been_answered(bench):
    bench.call(LATE)
    bench.now += 2.0
    bench.call(AccessDenied("this key"))
    assert bench.breaker.state == "closed"


def test_a_probe_that_never_comes_back_keeps_its_place_for_half_a_minute(bench):
    bench.call(LATE)
    bench.now += 2.0
    lost = bench.breaker.enter()
    bench.now += 30.0
    probe = bench.breaker.enter()
    bench.breaker.settle(lost, Verdict.SPENT, LATE)
    bench.breaker.settle(probe, Verdict.ANSWERED)
    assert bench.breaker.state == "closed"


def test_calls_that_began_before_it_opened_change_nothing_any_more(bench):
    slow = [bench.breaker.enter() for _ in range(3)]
    bench.call(LATE)
    bench.breaker.settle(slow[0], Verdict.SPENT, LATE)
    assert bench.breaker.state == "open"
    bench.breaker.settle(slow[1], Verdict.ANSWERED)
    assert bench.breaker.state == "open"
    bench.now += 2.0
    bench.call()
    bench.breaker.settle(slow[2], Verdict.SPENT, LATE)
    assert bench.breaker.state == "closed"


def test_callers_leave_a_due_probe_to_the_ping_in_the_background_for_a_while():
    bench = Bench(grace=1.0)
    bench.call(LATE)
    bench.now += 2.0
    with pytest.raises(CircuitOpen):
        bench.breaker.enter()
    bench.breaker.settle(bench.breaker.enter("due"), Verdict.NOTHING)
    bench.now += 1.0
    bench.call()
    assert bench.breaker.state == "closed"


def test_whoever_wants_to_know_now_is_the_probe_at_any_time(bench):
    bench.call(LATE)
    bench.breaker.settle(bench.breaker.enter("asked"), Verdict.ANSWERED)
    assert bench.breaker.state == "closed"


def test_whoever_wants_to_know_during_a_probe_closes_it_and_never_prolongs_it(bench):
    bench.call(LATE)
    bench.now += 2.0
    bench.breaker.enter()
    asked = bench.breaker.enter("asked")
    bench.breaker.settle(asked, Verdict.SPENT, LATE)
    assert bench.breaker.is_due
    bench.breaker.settle(asked, Verdict.ANSWERED)
    assert bench.breaker.state == "closed"


def test_a_breaker_without_a_policy_never_opens():
    bench = Bench(None)
    bench.calls(*[LATE] * 50)
    assert bench.breaker.state is None
    assert not bench.opened
    assert not bench.breaker.allows_retry(write=False)


def test_after_two_minutes_the_client_is_to_be_rebuilt_once_every_two_minutes(bench):
    bench.call(LATE)
    bench.now += 119.0
    assert not bench.breaker.wants_rebuild()
    bench.now += 1.0
    assert bench.breaker.wants_rebuild()
    assert not bench.breaker.wants_rebuild()
    bench.now += 120.0
    assert bench.breaker.wants_rebuild()


def test_it_tells_that_it_opened_and_closed_once_each(bench):
    bench.call(LATE)
    for _ in range(2):
        bench.now += 30.0
        bench.call(DOWN)
    bench.now += 30.0
    bench.call()
    assert bench.opened == [2.0]
    assert bench.closed == [90.0]


def test_a_forked_child_inherits_an_open_breaker_and_no_probe(bench):
    bench.call(LATE)
    bench.now += 2.0
    bench.breaker.enter()
    bench.breaker.after_fork()
    bench.call()
    assert bench.breaker.state == "closed"


class TestRetryBudget:
    def test_ten_retries_are_saved_and_each_ten_successes_earn_another(self, bench):
        assert sum(bench.breaker.allows_retry(write=False) for _ in range(50)) == 10
        bench.call(DOWN)
        bench.calls(*[None] * 30)
        assert sum(bench.breaker.allows_retry(write=False) for _ in range(50)) == 3

    def test_writes_are_shed_before_reads(self, bench):
        assert sum(bench.breaker.allows_retry(write=True) for _ in range(50)) == 5
        assert sum(bench.breaker.allows_retry(write=False) for _ in range(50)) == 5

    def test_nothing_is_tried_again_while_it_is_open(self, bench):
        bench.call(LATE)
        assert not bench.breaker.allows_retry(write=False)

    def test_successes_are_counted_until_the_budget_is_full_again(self, bench):
        assert bench.breaker.allows_retry(write=False)
        bench.call(DOWN)
        bench.calls(*[None] * 20)
        assert not bench.breaker.wary
        assert sum(bench.breaker.allows_retry(write=False) for _ in range(50)) == 10
