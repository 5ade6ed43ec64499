"""Spans: one for each operation that leaves memory, which says which tier answered, and why others did not."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from tests.integrations.telemetry import Telemetry, call, events
from tests.peers import silence
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.errors import AccessDenied, ConfigurationError, CorruptEntry
from tiercache_redis import RedisBackend

FACES = pytest.mark.parametrize("face", ["sync", "async"])


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def remote(clock) -> RemoteBackend:
    return RemoteBackend(clock)


@pytest.fixture
def cache(clock, remote, telemetry):
    """An instrumented cache on memory -> remote, whose first questions about marks are over."""
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock), namespace="n") as cache:
        cache.get("first")
        telemetry.instrument(cache)
        yield cache


def leave_memory(cache: Cache) -> None:
    cache.chain.memory.clear()


def passed_over(telemetry: Telemetry, name: str = "tiercache.get") -> list[tuple[Any, Any, Any]]:
    return [
        (each["tiercache.tier"], each["tiercache.reason"], each["tiercache.keys"])
        for each in events(telemetry.one(name))
    ]


# Which tier answered


@FACES
async def test_a_hit_in_memory_makes_no_span(cache, telemetry, face):
    await call(face, cache, "set", "key", "value")
    telemetry.forget()
    assert await call(face, cache, "get", "key") == "value"
    assert await call(face, cache, "lookup", "key")
    assert await call(face, cache, "get_or_set", "key", lambda: "other") == "value"
    assert await call(face, cache, "get_many", ["key"]) == {"key": "value"}
    assert telemetry.spans == []


@FACES
@pytest.mark.parametrize("operation", ["get", "lookup"])
async def test_the_span_says_which_tier_answered(cache, telemetry, face, operation):
    cache.set("key", "value")
    leave_memory(cache)
    telemetry.forget()
    await call(face, cache, operation, "key")
    span, below = telemetry.one(f"tiercache.{operation}"), telemetry.one("tiercache.tier.get")
    assert dict(span.attributes) == {
        "tiercache.namespace": "n",
        "tiercache.operation": operation,
        "tiercache.outcome": "hit",
        "tiercache.tier": "remote",
    }
    assert dict(below.attributes) == {
        "tiercache.operation": "get",
        "tiercache.outcome": "found",
        "tiercache.tier": "remote",
    }
    assert below.parent.span_id == span.context.span_id


@FACES
async def test_a_miss_has_asked_every_tier(cache, telemetry, face):
    assert await call(face, cache, "get", "absent") is None
    assert telemetry.one("tiercache.get").attributes["tiercache.outcome"] == "miss"
    assert telemetry.tiers_asked() == [("remote", "absent")]


@FACES
async def test_contains_says_where(cache, telemetry, face):
    cache.set("key", 1)
    leave_memory(cache)
    telemetry.forget()
    assert await call(face, cache, "contains", "key")
    assert telemetry.one("tiercache.head").attributes["tiercache.tier"] == "remote"


@FACES
async def test_a_batch_says_how_many_came_from_where(cache, telemetry, face):
    cache.set_many({"a": 1, "b": 2})
    leave_memory(cache)
    cache.set("c", 3)
    telemetry.forget()
    assert await call(face, cache, "get_many", iter(["a", "b", "c", "d"])) == {"a": 1, "b": 2, "c": 3}
    span = telemetry.one("tiercache.get_many")
    about = span.attributes
    assert (about["tiercache.batch.size"], about["tiercache.batch.hits"]) == (4, 3)
    assert about["tiercache.outcome"] == "partial"
    assert {(each["tiercache.tier"], each["tiercache.keys"]) for each in events(span, "tiercache.answered")} == {
        ("memory", 1),
        ("remote", 2),
    }
    asked = telemetry.one("tiercache.tier.get_many").attributes
    assert (asked["tiercache.batch.size"], asked["tiercache.batch.hits"]) == (3, 2)


@FACES
@pytest.mark.parametrize(
    ("operation", "arguments", "below"),
    [
        ("set", ("key", 1), "put"),
        ("set_many", ({"key": 1},), "put_many"),
        ("delete", ("key",), "delete"),
        ("delete_many", (["key"],), "delete_many"),
        ("clear", (), None),
        ("invalidate_tags", (["tag"],), None),
        ("warm", (["key"],), "get_many"),
    ],
)
async def test_changes_have_spans_with_those_of_the_tiers_below(cache, telemetry, face, operation, arguments, below):
    await call(face, cache, operation, *arguments)
    span = telemetry.one(f"tiercache.{operation}")
    assert span.parent is None
    if below is not None:
        assert telemetry.one(f"tiercache.tier.{below}").parent.span_id == span.context.span_id


# Why others did not


@FACES
async def test_a_store_that_is_down_is_not_asked_while_its_breaker_is_open(tmp_path, free_port, telemetry, face):
    with Cache(DiskBackend(tmp_path / "f")) as elsewhere:
        elsewhere.set("key", "value")
    dead = RedisBackend(f"redis://127.0.0.1:{free_port}/0")
    chain = TierChain(MemoryBackend(), dead, DiskBackend(tmp_path / "f"))
    with Cache(chain) as cache:
        telemetry.instrument(cache)
        while chain.tiers[1].breaker.state != "open":
            cache.get("absent")
        telemetry.forget()
        assert await call(face, cache, "get", "key") == "value"
        assert telemetry.one("tiercache.get").attributes["tiercache.tier"] == "disk"
        assert passed_over(telemetry) == [("redis", "not_asked", 1)]
        await call(face, cache, "get_many", ["a", "b"])
        assert passed_over(telemetry, "tiercache.get_many") == [("redis", "not_asked", 2)]
        (refused, *_) = [span for span in telemetry.all if span.attributes.get("tiercache.outcome") == "refused"]
        assert refused.attributes["error.type"] == "CircuitOpen"
        assert refused.status.status_code is StatusCode.UNSET, "nothing was sent"


@FACES
async def test_a_store_that_is_late_is_told_by_the_class_of_the_error(serve, tmp_path, telemetry, face):
    late = Tier(RedisBackend(f"redis://127.0.0.1:{serve(silence)}/0"), timeout=0.05)
    with Cache(TierChain(MemoryBackend(), late, DiskBackend(tmp_path / "f"))) as cache:
        telemetry.instrument(cache)
        assert await call(face, cache, "get", "key") is None
        assert "BackendTimeout" in {span.attributes.get("error.type") for span in telemetry.all}
        assert passed_over(telemetry) == [("redis", "timeout", 1)]
        assert telemetry.one("tiercache.get").status.status_code is StatusCode.UNSET, "the caller was served"


@FACES
async def test_a_damaged_entry_is_told(cache, remote, telemetry, face):
    remote.faults["get"] = CorruptEntry("the tag is wrong")
    await call(face, cache, "get", "key")
    span = telemetry.one("tiercache.tier.get")
    assert (span.attributes["error.type"], span.attributes["tiercache.outcome"]) == ("CorruptEntry", "failed")
    assert span.status.status_code is StatusCode.ERROR


@FACES
async def test_an_invalidated_entry_is_passed_over(cache, remote, telemetry, face):
    cache.set("key", 1, tags=["tag"])
    cache.invalidate_tags(["tag"])
    telemetry.forget()
    await call(face, cache, "get", "key")
    assert ("remote", "invalidated", 1) in passed_over(telemetry)
    assert telemetry.one("tiercache.get").attributes["tiercache.outcome"] == "miss"


@FACES
async def test_a_stale_entry_is_passed_over_and_may_be_served_in_the_end(cache, clock, telemetry, face):
    cache.set("key", 1, ttl=10, stale_for=100)
    clock.advance(20)
    leave_memory(cache)
    telemetry.forget()
    assert await call(face, cache, "get", "key", allow_stale=True) == 1
    assert passed_over(telemetry) == [("remote", "stale", 1)]
    assert telemetry.one("tiercache.get").attributes["tiercache.outcome"] == "stale"


@FACES
async def test_a_store_that_has_yet_to_take_a_delete_is_passed_over(cache, remote, telemetry, face):
    cache.set("key", 1)
    remote.faults["delete"] = remote.faults["delete_many"] = AccessDenied("not this")
    cache.delete("key")
    telemetry.forget()
    assert await call(face, cache, "get", "key") is None
    assert passed_over(telemetry) == [("remote", "pending", 1)]
    await call(face, cache, "get_many", ["key", "other"])
    assert passed_over(telemetry, "tiercache.get_many") == [("remote", "pending", 1)]


@FACES
async def test_a_value_of_another_type_is_passed_over(cache, telemetry, face):
    cache.set("key", "text")
    leave_memory(cache)
    telemetry.forget()
    assert await call(face, cache, "get", "key", type=int) is None
    assert ("remote", "undecodable", 1) in passed_over(telemetry)


@FACES
async def test_of_a_batch_the_reasons_are_counted(cache, remote, telemetry, face):
    cache.set_many({"a": 1, "b": 2}, tags=["tag"])
    cache.invalidate_tags(["tag"])
    cache.set("c", 3)
    leave_memory(cache)
    telemetry.forget()
    assert await call(face, cache, "get_many", ["a", "b", "c"]) == {"c": 3}
    assert passed_over(telemetry, "tiercache.get_many") == [("remote", "invalidated", 2)]


# Computations


@FACES
async def test_a_computation_is_below_the_call_that_led_it(cache, telemetry, face):
    seen: list[Any] = []

    def factory() -> str:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return "made"

    assert await call(face, cache, "get_or_set", "key", factory) == "made"
    span, flight, made = (telemetry.one(f"tiercache.{name}") for name in ("get_or_set", "flight", "factory"))
    assert span.attributes["tiercache.outcome"] == "computed"
    assert flight.parent.span_id == span.context.span_id
    assert made.parent.span_id == flight.context.span_id
    assert seen == [made.context.span_id], "what the factory calls is below it"
    assert telemetry.one("tiercache.tier.put").parent.span_id == flight.context.span_id


@FACES
async def test_a_factory_that_fails_is_told_by_its_class_and_not_by_its_words(cache, telemetry, face):
    def factory() -> str:
        raise LookupError("the prompt was: hush")

    with pytest.raises(LookupError):
        await call(face, cache, "get_or_set", "key", factory)
    for name in ("tiercache.factory", "tiercache.get_or_set"):
        span = telemetry.one(name)
        assert span.attributes["error.type"] == "LookupError"
        assert span.status.status_code is StatusCode.ERROR
    assert "hush" not in "".join(telemetry.everything())


def test_who_waits_for_the_computation_of_another_says_so(cache, telemetry):
    begun, go = threading.Event(), threading.Event()

    def factory() -> int:
        begun.set()
        assert go.wait(30)
        return 1

    leader = threading.Thread(target=cache.get_or_set, args=("key", factory))
    leader.start()
    assert begun.wait(30)
    follower = threading.Thread(target=cache.get_or_set, args=("key", factory))
    follower.start()
    while "tiercache.wait" not in telemetry.begun:
        assert follower.is_alive()
        time.sleep(0.001)
    go.set()
    leader.join(30)
    follower.join(30)
    outcomes = sorted(span.attributes["tiercache.outcome"] for span in telemetry.named("tiercache.get_or_set"))
    assert outcomes == ["computed", "shared"]
    waiting = telemetry.one("tiercache.wait")
    (shared,) = [
        span for span in telemetry.named("tiercache.get_or_set") if span.attributes["tiercache.outcome"] == "shared"
    ]
    assert waiting.parent.span_id == shared.context.span_id


# What goes on in the background


@FACES
async def test_a_refresh_is_a_trace_of_its_own_linked_to_the_call(cache, clock, telemetry, face):
    cache.set("key", "old", ttl=10, stale_for=100)
    clock.advance(20)
    with telemetry.tracer.start_as_current_span("request") as request:
        assert await call(face, cache, "get_or_set", "key", lambda: "new", ttl=10, stale_for=100) == "old"
    for _ in range(1000):
        if telemetry.named("tiercache.refresh"):
            break
        await asyncio.sleep(0.01)
    span, refresh = telemetry.one("tiercache.get_or_set"), telemetry.one("tiercache.refresh")
    assert span.attributes["tiercache.outcome"] == "stale"
    assert span.context.trace_id == request.get_span_context().trace_id
    assert refresh.parent is None
    assert [link.context.span_id for link in refresh.links] == [span.context.span_id]
    assert telemetry.one("tiercache.factory").context.trace_id == refresh.context.trace_id


@FACES
async def test_a_promotion_into_a_store_is_a_trace_of_its_own_linked_to_the_read(clock, telemetry, face):
    upper, lower = RemoteBackend(clock), RemoteBackend(clock)
    chain = TierChain(MemoryBackend(clock=clock), Tier(upper, name="upper"), Tier(lower, name="lower"), clock=clock)
    with Cache(chain) as cache:
        cache.set("key", "value")
        leave_memory(cache)
        upper.entries.clear()
        telemetry.instrument(cache)
        assert await call(face, cache, "get", "key") == "value"
        assert cache.drain(30)
    span, promotion = telemetry.one("tiercache.get"), telemetry.one("tiercache.promote")
    assert span.attributes["tiercache.tier"] == "lower"
    assert promotion.parent is None
    assert [link.context.span_id for link in promotion.links] == [span.context.span_id]
    assert telemetry.one("tiercache.tier.put").parent.span_id == promotion.context.span_id


@FACES
async def test_a_promotion_that_finds_no_thread_is_no_more_than_that(clock, telemetry, face):
    lower = RemoteBackend(clock)
    chain = TierChain(Tier(RemoteBackend(clock), name="upper"), Tier(lower, name="lower"), clock=clock)
    with Cache(chain) as cache:
        cache.set("key", "value")
        chain.tiers[0].backend.entries.clear()
        telemetry.instrument(cache)
        chain.background.close()
        assert await call(face, cache, "get", "key") == "value"
    assert telemetry.named("tiercache.promote") == []


@FACES
async def test_a_look_into_a_tier_in_shadow_is_a_trace_of_its_own_linked_to_the_read(clock, telemetry, face):
    upper, lower = Tier(RemoteBackend(clock), name="upper"), Tier(RemoteBackend(clock), name="lower")
    with Cache(TierChain(upper, lower, clock=clock)) as cache:
        cache.set("key", "value")
        cache.chain.switches.set("upper", "shadow")
        telemetry.instrument(cache)
        assert await call(face, cache, "get", "key") == "value"
        assert cache.drain(30)
    span, shadow = telemetry.one("tiercache.get"), telemetry.one("tiercache.shadow")
    assert passed_over(telemetry) == [("upper", "switched_off", 1)]
    assert [link.context.span_id for link in shadow.links] == [span.context.span_id]


def test_what_is_written_behind_has_spans(clock, remote, telemetry):
    with Cache(TierChain(MemoryBackend(clock=clock), Tier(remote, write="behind"), clock=clock)) as cache:
        telemetry.instrument(cache)
        cache.set("key", 1)
        assert cache.drain(30)
    assert (
        telemetry.one("tiercache.tier.put_many").parent.span_id
        == telemetry.one("tiercache.write_behind").context.span_id
    )


# Other people's spans


@FACES
async def test_the_span_is_below_the_callers_and_leaves_it_as_it_was(cache, telemetry, face):
    with telemetry.tracer.start_as_current_span("request") as request:
        await call(face, cache, "get", "absent")
        with pytest.raises(ZeroDivisionError):
            await call(face, cache, "get_or_set", "key", lambda: 1 // 0)
        assert trace.get_current_span() is request
    for name in ("tiercache.get", "tiercache.get_or_set"):
        assert telemetry.one(name).parent.span_id == request.get_span_context().span_id


@FACES
@pytest.mark.parametrize("operation", ["get", "get_many"])
async def test_spans_of_an_instrumented_sdk_are_below_those_of_the_tier(telemetry, monkeypatch, face, operation):
    """As the instrumentation of botocore does: a span around each API call, wherever it is made."""
    import boto3
    import botocore.client
    from moto import mock_aws

    from tiercache_s3 import S3Backend

    original = botocore.client.BaseClient._make_api_call

    def traced(self: Any, name: str, parameters: Any) -> Any:
        with telemetry.tracer.start_as_current_span(f"S3.{name}"):
            return original(self, name, parameters)

    with mock_aws():
        options = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        boto3.client("s3", **options).create_bucket(Bucket="bucket")
        backend = S3Backend("bucket", region="us-east-1", access_key_id="test", secret_access_key="test", timeout=30)
        with Cache(TierChain(MemoryBackend(), backend)) as cache:
            cache.set_many({"a": 1, "b": 2})
            leave_memory(cache)
            telemetry.instrument(cache)
            monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", traced)
            await call(face, cache, operation, "a" if operation == "get" else ["a", "b"])
    asked = telemetry.one(f"tiercache.tier.{operation}")
    theirs = [span for span in telemetry.named("S3.GetObject") if span.parent is not None]
    below = [span for span in theirs if span.parent.span_id == asked.context.span_id]
    assert len(below) == (1 if operation == "get" else 2)


async def test_a_call_that_is_cancelled_ends_its_span(clock, telemetry):
    remote = RemoteBackend(clock)
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock)) as cache:
        cache.get("first")
        telemetry.instrument(cache)
        reached, gate = remote.hold("get")
        task = asyncio.create_task(cache.aget("key"))
        assert await asyncio.to_thread(reached.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
    assert telemetry.one("tiercache.get").attributes["error.type"] == "CancelledError"


def test_a_flow_that_nobody_finishes_ends_its_span(cache, telemetry):
    begun(cache).close()
    assert [span.name for span in telemetry.spans] == ["tiercache.get", "tiercache.tier.get"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_flow_that_is_closed_elsewhere_leaves_alone_what_is_current_there(cache, telemetry):
    flow = contextvars.copy_context().run(begun, cache)
    with telemetry.tracer.start_as_current_span("other") as other:
        flow.close()
        assert trace.get_current_span() is other
    assert [span.name for span in telemetry.spans] == ["tiercache.get", "tiercache.tier.get", "other"]


def begun(cache: Cache) -> Any:
    flow = cache._flows.get("key", None, None)
    flow.send(None)
    return flow


# Beginning and ending


@FACES
async def test_nothing_is_left_after_uninstrument(clock, remote, telemetry, face):
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock)) as cache:
        before, written = cache._flows, cache.chain.drainer.shown
        undo = telemetry.instrument(cache)
        assert cache._flows is not before
        undo()
        undo()
        await call(face, cache, "get", "key")
        assert (cache._flows, cache.chain.drainer.shown) == (before, written)
        assert telemetry.spans == []
        assert all(name.endswith("duration") for name, _ in telemetry.points())


def test_a_chain_stands_for_all_caches_on_it(clock, remote, telemetry):
    chain = TierChain(MemoryBackend(clock=clock), remote, clock=clock)
    before = Cache(chain, namespace="before")
    undo = telemetry.instrument(chain)
    after = Cache(chain, namespace="after")
    before.get("key")
    after.get("key")
    assert {span.attributes["tiercache.namespace"] for span in telemetry.named("tiercache.get")} == {"before", "after"}
    undo()
    telemetry.forget()
    later = Cache(chain, namespace="later")
    for cache in (before, after, later):
        cache.get("key")
    assert telemetry.spans == []
    chain.close()


def test_instrumenting_twice_is_a_mistake(cache, telemetry):
    with pytest.raises(ConfigurationError, match="instrumented already"):
        telemetry.instrument(cache)


def test_a_chain_is_instrumented_once_at_a_time(telemetry):
    chain = TierChain(MemoryBackend())
    undo = telemetry.instrument(chain)
    with pytest.raises(ConfigurationError, match="instrumented already"):
        telemetry.instrument(chain)
    undo()
    telemetry.instrument(chain)()
    chain.close()


@pytest.mark.parametrize("own_ends_first", [True, False])
@FACES
async def test_of_a_cache_and_its_chain_each_may_end_first(clock, remote, telemetry, face, own_ends_first):
    chain = TierChain(MemoryBackend(clock=clock), Tier(remote, write="behind"), clock=clock)
    cache = Cache(chain)
    before, written = cache._flows, chain.drainer.shown

    async def spans() -> list[str]:
        telemetry.forget()
        await call(face, cache, "set", "key", 1)
        assert chain.drain(30)
        leave_memory(cache)
        await call(face, cache, "get", "key")
        return [span.name for span in telemetry.spans if span.name in ("tiercache.get", "tiercache.write_behind")]

    ends = [telemetry.instrument(cache), telemetry.instrument(chain)]
    assert await spans() == ["tiercache.write_behind", "tiercache.get"]
    for end in ends if own_ends_first else reversed(ends):
        assert await spans() == ["tiercache.write_behind", "tiercache.get"]
        end()
    assert await spans() == []
    assert (cache._flows, chain.drainer.shown) == (before, written)
    chain.close()


def test_of_two_caches_on_a_chain_each_may_end_first(clock, remote, telemetry):
    chain = TierChain(MemoryBackend(clock=clock), Tier(remote, write="behind"), clock=clock)
    one, other = Cache(chain, namespace="one"), Cache(chain, namespace="other")
    end = telemetry.instrument(other)
    telemetry.instrument(one)
    end()
    end()
    one.set("key", 1)
    assert chain.drain(30)
    assert len(telemetry.named("tiercache.write_behind")) == 1
    assert {value for name, value in telemetry.points() if name == "tiercache.puts"} == {
        (("tiercache.namespace", "one"),)
    }
    chain.close()


def test_an_end_that_is_called_again_ends_no_later_beginning(cache, clock, remote, telemetry):
    other = Cache(cache.chain, namespace="again")
    end = telemetry.instrument(other)
    end()
    telemetry.instrument(other)
    end()
    other.get("key")
    assert len(telemetry.named("tiercache.get")) == 1
    assert ("tiercache.puts", (("tiercache.namespace", "again"),)) in telemetry.points()


def test_what_is_no_cache_cannot_be_instrumented(telemetry):
    with pytest.raises(ConfigurationError, match="must be a Cache or a TierChain, not a str"):
        telemetry.instrument("redis://user:secret@host")


@FACES
async def test_an_instrumented_cache_does_what_it_did(cache, face):
    """Everything that is no flow is the cache's own, the counters, too."""
    await call(face, cache, "set", "key", 1)
    assert await call(face, cache, "touch", "key", ttl=5)
    cache.reset_stats()
    assert await call(face, cache, "get", "key") == 1
    leave_memory(cache)
    assert await call(face, cache, "get", "key") == 1
    assert (cache.stats().hits, cache.stats().puts) == (2, 0)
    with cache.begin("later") as pending:
        assert pending.store(2)
    assert cache.stats().puts == 1
