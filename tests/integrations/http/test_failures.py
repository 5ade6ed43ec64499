"""Failures of the provider are the client's own; those of the cache are nobody's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import openai
import pytest

from tests.conftest import FakeClock
from tests.integrations.http.askers import CHAT, Asker, AwaitingAsker
from tests.provider import FakeProvider, Gate
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.integrations.http import async_client, async_transport, client, transport
from tiercache.llm.cache import LLMCache

Askers = Callable[..., Asker]
CHAT_PATH = "/v1/chat/completions"


class Failing:
    """An inner transport that waits until it is told, then raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0
        self.reached = threading.Event()
        self.go = threading.Event()

    def handle_request(self, request: Any) -> Any:
        self.calls += 1
        self.reached.set()
        assert self.go.wait(60)
        raise type(self.error)(*self.error.args)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_an_error_of_the_provider_is_untouched_and_not_stored(
    provider: FakeProvider, asker: Asker, status: int
) -> None:
    provider.next(status=status, retry_after=7)
    reply = asker.post(CHAT_PATH, json=CHAT)
    assert reply.status_code == status
    assert reply.headers["retry-after"] == "7"
    assert reply.json()["error"]
    assert asker.post(CHAT_PATH, json=CHAT).headers["x-tiercache"] == "MISS"


def test_the_sdk_retries_above_the_cache(provider: FakeProvider, askers: Askers) -> None:
    asker = askers(max_retries=2)
    provider.next(status=429, retry_after=0.01)
    assert asker.ask().headers["x-tiercache"] == "MISS"
    assert asker.ask().headers["x-tiercache"] == "HIT"
    assert provider.calls() == 2


def test_those_who_wait_get_the_error_of_the_provider_too(provider: FakeProvider, asker: Asker) -> None:
    gate = Gate()
    provider.next(status=429, retry_after=7, hold=gate)
    provider.always(status=429, retry_after=7)
    started = [asker.start() for _ in range(3)]
    assert gate.reached.wait(60)
    gate.open()
    for each in started:
        with pytest.raises(openai.RateLimitError) as raised:
            each.result(60)
        assert raised.value.response.headers["retry-after"] == "7"


def test_a_provider_that_is_not_there(askers: Askers, provider: FakeProvider) -> None:
    asker = askers()
    provider.close()
    with pytest.raises(openai.APIConnectionError) as raised:
        asker.ask()
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    assert raised.value.__cause__.request.url.path == CHAT_PATH


def test_a_connection_that_drops(provider: FakeProvider, asker: Asker) -> None:
    provider.next(drop=True)
    with pytest.raises(openai.APIConnectionError) as raised:
        asker.ask()
    assert isinstance(raised.value.__cause__, httpx2.RemoteProtocolError)


def test_a_timeout_of_the_sdk(provider: FakeProvider, askers: Askers) -> None:
    asker = askers(timeout=0.2)
    gate = provider.hold()
    with pytest.raises(openai.APITimeoutError) as raised:
        asker.ask()
    assert isinstance(raised.value.__cause__, httpx2.ReadTimeout)
    gate.open()


def test_what_an_inner_transport_raises_is_raised(cache: Cache) -> None:
    inner = Failing(RuntimeError("the inner one is closed"))
    inner.go.set()
    below = transport(cache, inner, http=httpx2)
    with pytest.raises(RuntimeError, match="the inner one is closed"):
        below.handle_request(httpx2.Request("POST", f"http://a{CHAT_PATH}", json=CHAT))


@pytest.mark.parametrize(("status", "outcome"), [(429, "STALE"), (500, "STALE"), (503, "STALE"), (400, "MISS")])
def test_a_provider_that_fails_is_a_failure_for_which_something_stale_will_do(
    provider: FakeProvider, askers: Askers, status: int, outcome: str
) -> None:
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), ttl=60, stale_if_error="1h", clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(61)
        provider.next(status=status)
        reply = asker.post(CHAT_PATH, json=CHAT, headers={"authorization": "Bearer sk-a"})
    assert reply.headers["x-tiercache"] == outcome
    assert reply.status_code == (200 if outcome == "STALE" else status)
    assert provider.calls() == 2


BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT_PATH, CHAT),
    (CHAT_PATH, CHAT | {"stream": True}),
    ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}),
]


def assert_same(replies: list[Any], path: str) -> None:
    first, second = replies
    assert first.headers["x-tiercache"] == "MISS"
    assert second.headers["x-tiercache"] in ("HIT", "SHARED")
    if "embeddings" in path:
        assert first.json() == second.json()
    else:
        assert first.content == second.content != b""


@pytest.mark.parametrize(("path", "body"), BODIES, ids=["chat", "stream", "embeddings"])
def test_an_inner_transport_may_have_read_the_reply(
    provider: FakeProvider, cache: Cache, http: Any, path: str, body: dict[str, Any]
) -> None:
    class Logging(http.HTTPTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            response = super().handle_request(request)
            response.read()
            return response

    provider.always(encoding="gzip")
    with http.Client(transport=transport(cache, Logging(verify=False)), timeout=5) as below:
        replies = [below.post(provider.url + path, json=body) for _ in range(2)]
    assert_same(replies, path)
    assert provider.calls() == 1


async def test_so_may_one_that_is_awaited(provider: FakeProvider, cache: Cache, http: Any) -> None:
    class Logging(http.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            await response.aread()
            return response

    provider.always(encoding="gzip")
    async with http.AsyncClient(transport=async_transport(cache, Logging(verify=False)), timeout=5) as below:
        for path, body in BODIES:
            replies = [await below.post(provider.url + path, json=body) for _ in range(2)]
            assert_same(replies, path)
    assert provider.calls() == len(BODIES)


# Those who wait for a call that fails.


def joined(cache: Cache, count: int, below: Any, request: Callable[[], Any]) -> list[Any]:
    """Ask from so many threads at once; what came of each."""

    def ask() -> Any:
        try:
            return below.handle_request(request())
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(), range(count)))


def test_those_who_wait_get_an_exception_of_their_own(cache: Cache, http: Any) -> None:
    inner = Failing(http.ConnectError("refused"))
    below = transport(cache, inner, http=http)
    waiting = threading.Semaphore(0)
    original = cache.lookup_or_set

    def seen(*args: Any, **options: Any) -> Any:
        waiting.release()
        return original(*args, **options)

    cache.lookup_or_set = seen  # type: ignore[method-assign]

    def let_go() -> None:
        for _ in range(4):
            waiting.acquire(timeout=60)
        inner.go.set()

    threading.Thread(target=let_go, daemon=True).start()
    errors = joined(cache, 4, below, lambda: http.Request("POST", f"http://a{CHAT_PATH}", json=CHAT))
    assert {type(error) for error in errors} == {http.ConnectError}
    assert {str(error) for error in errors} == {"refused"}
    assert len({id(error) for error in errors}) == 4
    assert inner.calls < 4


def test_a_failure_that_was_the_leaders_own_is_not_that_of_those_who_wait(provider: FakeProvider, cache: Cache) -> None:
    """The first one cannot reach its proxy; the second one has none."""
    inner = Failing(httpx.ProxyError("no such proxy"))
    request = {"url": provider.url + CHAT_PATH, "json": CHAT, "headers": {"authorization": "Bearer a"}}
    with (
        httpx.Client(transport=transport(cache, inner, http=httpx)) as first,
        client(cache, http=httpx2) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        leading = pool.submit(first.post, **request)
        assert inner.reached.wait(60)
        following = pool.submit(second.post, **request)
        inner.go.set()
        with pytest.raises(httpx.ProxyError):
            leading.result(60)
        assert following.result(60).json()["choices"]


def test_a_shorter_patience_of_the_leader_is_not_that_of_those_who_wait(provider: FakeProvider, cache: Cache) -> None:
    gate = provider.hold()
    request = {"url": provider.url + CHAT_PATH, "json": CHAT, "headers": {"authorization": "Bearer a"}}
    with client(cache) as below, ThreadPoolExecutor(2) as pool:
        leading = pool.submit(below.post, timeout=0.5, **request)
        assert gate.reached.wait(60)
        following = pool.submit(below.post, timeout=60, **request)
        with pytest.raises(httpx.ReadTimeout):
            leading.result(60)
        assert following.result(60).json()["choices"]
    assert provider.calls() == 2


def test_those_who_wait_wait_no_longer_than_they_would_for_the_provider(provider: FakeProvider, askers: Askers) -> None:
    asker = askers()
    gate = provider.hold()
    leading = asker.start()
    assert gate.reached.wait(60)
    with pytest.raises(openai.APITimeoutError) as raised:
        asker.ask(timeout=0.2)
    assert isinstance(raised.value.__cause__, httpx2.ReadTimeout)
    gate.open()
    assert leading.result(60).parse().choices
    assert provider.calls() == 1


# Callers that leave.


def test_a_cancelled_leader_fails_nobody(provider: FakeProvider, cache: Cache) -> None:
    asker = AwaitingAsker(provider, cache, httpx2)
    gate = provider.hold()
    leading = asker.start()
    assert gate.reached.wait(60)
    following = asker.start()
    asker.cancel(leading)
    gate.open()
    assert following.result(60).parse().choices
    assert provider.calls() == 1
    asker.close()


async def test_a_reply_that_nobody_waits_for_is_closed(cache: Cache, http: Any) -> None:
    closed, reached, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Endless(http.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> Any:
            yield b"data: 1\n\n"

        async def aclose(self) -> None:
            closed.set()

    class Streaming(http.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            reached.set()
            await go.wait()
            return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())

    async with http.AsyncClient(transport=async_transport(cache, Streaming())) as below:
        asking = asyncio.create_task(below.post(f"http://a{CHAT_PATH}", json=CHAT))
        await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go.set()
        await asyncio.wait_for(closed.wait(), 60)


# Failures of the cache.


def test_a_store_that_fails_is_skipped(provider: FakeProvider, askers: Askers) -> None:
    store = RemoteBackend(FakeClock())
    store.break_down()
    with Cache(TierChain(store)) as cache:
        asker = askers(cache=cache)
        assert [asker.ask().headers["x-tiercache"] for _ in range(2)] == ["MISS", "MISS"]


def test_a_strict_chain_raises_nothing_here_and_asks_once_for_each(provider: FakeProvider, askers: Askers) -> None:
    store = RemoteBackend(FakeClock())
    with Cache(TierChain(store, strict=True)) as cache:
        llm = LLMCache(cache)
        asker = askers(cache=llm)
        store.break_down()
        assert asker.ask().parse().choices
        assert llm.stats().cache_errors == 1
        assert provider.calls() == 1
        store.faults.clear()
        store.faults["put"] = RuntimeError("a bug of a backend")
        assert asker.ask(model="n").parse().choices
        assert llm.stats().cache_errors == 2
        assert provider.calls() == 2, "what was answered is not asked for again, although it could not be stored"


def test_a_closed_cache_is_no_cache(provider: FakeProvider, askers: Askers) -> None:
    cache = Cache(MemoryBackend())
    asker = askers(cache=cache)
    cache.close()
    assert asker.ask().parse().choices
    with pytest.raises(openai.InternalServerError):
        asker.ask(extra_headers={"Cache-Control": "only-if-cached"})


def test_a_timeout_of_the_cache_is_one_of_the_client(provider: FakeProvider, askers: Askers) -> None:
    with Cache(MemoryBackend(), timeout=0.2) as cache:
        asker = askers(cache=cache)
        gate = provider.hold()
        with pytest.raises(openai.APITimeoutError):
            asker.ask()
        gate.open()
        assert asker.ask().parse().choices
        assert provider.calls() == 1, "the call went on, and was not paid twice"


def test_stale_answers_are_served_when_the_provider_fails(provider: FakeProvider, askers: Askers) -> None:
    clock = FakeClock()
    chain = TierChain(MemoryBackend(clock=clock), clock=clock)
    with Cache(chain, ttl=60, stale_for=600, soft_timeout=None, stale_if_error=600, clock=clock) as cache:
        asker = askers(cache=cache)
        asker.ask()
        clock.advance(61)
        provider.always(status=500)
        assert asker.ask().headers["x-tiercache"] == "STALE"
        provider.wait_for(2)


# Closing.


def test_closing_a_client_leaves_the_cache_open(provider: FakeProvider, cache: Cache, http: Any) -> None:
    below = client(cache, http=http)
    below.post(provider.url + CHAT_PATH, json=CHAT)
    below.close()
    assert len(list(cache.keys())) == 1
    cache.set("still", 1)


@pytest.mark.parametrize("entered", [True, False])
def test_the_inner_transport_is_closed(cache: Cache, http: Any, entered: bool) -> None:
    done: list[str] = []

    class Inner(http.BaseTransport):  # type: ignore[misc, name-defined]
        def __enter__(self) -> Any:
            done.append("enter")
            return self

        def __exit__(self, *error: object) -> None:
            done.append("exit")

        def close(self) -> None:
            done.append("close")

    below = http.Client(transport=transport(cache, Inner()))
    if entered:
        with below:
            pass
    else:
        below.close()
    assert done == (["enter", "exit"] if entered else ["close"])


async def test_the_inner_async_transport_is_closed(cache: Cache, http: Any) -> None:
    done: list[str] = []

    class Inner(http.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def aclose(self) -> None:
            done.append("close")

    await http.AsyncClient(transport=async_transport(cache, Inner())).aclose()
    async with async_client(cache, http=http, transport=Inner()):
        pass
    assert done == ["close", "close"]
