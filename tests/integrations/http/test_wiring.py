"""Clients behave as the SDKs' own: their defaults, options, proxies and routes hold, with the cache before each."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from tests.integrations.http.askers import CHAT
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.integrations.http import async_client, async_transport, client, modules, transport, wiring

BOTH = pytest.mark.parametrize("make", [client, async_client], ids=["sync", "async"])


def inner_of(caching: Any) -> Any:
    return caching._world.inner


@BOTH
def test_the_defaults_are_those_of_the_sdks(cache: Cache, make: Any) -> None:
    kind = openai.DefaultHttpxClient if make is client else openai.DefaultAsyncHttpxClient
    theirs, ours = kind(), make(cache, http=httpx2)
    assert ours.timeout == theirs.timeout
    assert ours.follow_redirects == theirs.follow_redirects is True
    pool, own = theirs._transport._pool, inner_of(ours._transport)._pool
    for name in ("_max_connections", "_max_keepalive_connections", "_keepalive_expiry", "_http1", "_http2", "_retries"):
        assert getattr(own, name) == getattr(pool, name)


@BOTH
def test_options_reach_the_client_and_the_wire(cache: Cache, http: Any, make: Any) -> None:
    limits = http.Limits(max_connections=3)
    below = make(cache, http=http, headers={"x-a": "1"}, timeout=7, follow_redirects=False, limits=limits, retries=2)
    assert below.headers["x-a"] == "1"
    assert below.timeout == http.Timeout(7)
    assert below.follow_redirects is False
    assert inner_of(below._transport)._pool._max_connections == 3
    assert inner_of(below._transport)._pool._retries == 2


@BOTH
def test_an_unknown_option_is_refused(cache: Cache, http: Any, make: Any) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        make(cache, http=http, nonsense=1)


@BOTH
def test_a_transport_of_ones_own_is_wrapped(cache: Cache, http: Any, make: Any) -> None:
    inner = http.HTTPTransport() if make is client else http.AsyncHTTPTransport()
    assert inner_of(make(cache, http=http, transport=inner)._transport) is inner


PROXIES = {
    "HTTP_PROXY": "http://proxy.test:1",
    "https_proxy": "proxy.test:2",
    "NO_PROXY": "localhost,127.0.0.1,::1,.dotted.test,*.star.test,named.test,[fe80::1],10.0.0.0/8,http://whole.test",
}


def routes(below: Any) -> dict[str, str | None]:
    def proxy(caching: Any) -> str:
        inner = caching if hasattr(caching, "_pool") else inner_of(caching)
        return repr(inner._pool._proxy_url)

    return {pattern.pattern: None if to is None else proxy(to) for pattern, to in below._mounts.items()}


@BOTH
def test_proxies_of_the_environment_are_those_of_httpx(
    cache: Cache, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    plain = httpx2.Client if make is client else httpx2.AsyncClient
    ours = make(cache, http=httpx2)
    assert routes(ours) == routes(plain())
    assert all("CachingTransport" in repr(to) for to in ours._mounts.values() if to is not None)
    assert routes(make(cache, http=httpx2, trust_env=False)) == {}


@pytest.mark.parametrize("exempt", ["*", "a.test, *"])
def test_no_proxy_may_mean_none_at_all(cache: Cache, http: Any, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setattr(wiring, "getproxies", lambda: {"http": "http://proxy.test:1", "no": exempt})
    assert routes(client(cache, http=http)) == {}


def test_a_request_goes_through_the_proxy_once(
    provider: FakeProvider, cache: Cache, http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "getproxies", lambda: {"http": provider.url})
    with client(cache, http=http) as below:
        for outcome in ("MISS", "HIT"):
            reply = below.post("http://elsewhere.test/v1/chat/completions", json=CHAT)
            assert reply.headers["x-tiercache"] == outcome
    (request,) = provider.requests
    assert request.headers["host"] == "elsewhere.test"


@BOTH
def test_a_proxy_that_is_given_takes_everything(cache: Cache, make: Any) -> None:
    below = make(cache, http=httpx2, proxy="http://proxy.test:1", trust_env=True)
    plain = (httpx2.Client if make is client else httpx2.AsyncClient)(proxy="http://proxy.test:1")
    assert routes(below) == routes(plain)


def test_mounts_are_wrapped(provider: FakeProvider, cache: Cache, http: Any) -> None:
    mounts = {"http://127.0.0.1": http.HTTPTransport(), "http://other.test": None}
    with client(cache, http=http, mounts=mounts) as below:
        said = [below.post(f"{provider.openai}/chat/completions", json=CHAT).headers["x-tiercache"] for _ in range(2)]
    assert said == ["MISS", "HIT"]


def test_a_client_that_nobody_has_any_more_closes_its_connections(
    provider: FakeProvider, cache: Cache, http: Any
) -> None:
    below = client(cache, http=http)
    inner = inner_of(below._transport)
    below.get(f"{provider.openai}/models")
    assert inner._pool.connections
    del below
    gc.collect()
    assert not inner._pool.connections


async def test_an_async_one_as_well(provider: FakeProvider, cache: Cache, http: Any) -> None:
    below = async_client(cache, http=http)
    inner = inner_of(below._transport)
    await below.get(f"{provider.openai}/models")
    assert inner._pool.connections
    del below
    gc.collect()
    for _ in range(1000):
        if not inner._pool.connections:
            break
        await asyncio.sleep(0.01)
    assert not inner._pool.connections


@BOTH
def test_transports_that_somebody_brought_stay_open(cache: Cache, http: Any, make: Any) -> None:
    inner = http.HTTPTransport() if make is client else http.AsyncHTTPTransport()
    assert not hasattr(make(cache, http=http, transport=inner), "__del__")
    assert not hasattr(make(cache, http=http, mounts={"http://a": inner}), "__del__")


def test_the_module_is_that_of_the_inner_transport(cache: Cache) -> None:
    assert isinstance(transport(cache, httpx2.HTTPTransport()), httpx2.BaseTransport)
    assert isinstance(transport(cache, httpx.HTTPTransport()), httpx.BaseTransport)
    assert isinstance(async_transport(cache, httpx2.AsyncHTTPTransport()), httpx2.AsyncBaseTransport)


def test_without_a_module_httpx_is_taken_else_httpx2(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(client(cache), httpx.Client)
    monkeypatch.setattr(modules, "_MODULES", ("no_such_module", "httpx2"))
    assert isinstance(client(cache), httpx2.Client)
    monkeypatch.setattr(modules, "_MODULES", ("no_such_module",))
    with pytest.raises(MissingExtra, match=r"tiercache\[http\]"):
        client(cache)


@pytest.mark.parametrize("wrong", [openai, "httpx", 5])
def test_another_module_is_refused(cache: Cache, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="httpx or httpx2"):
        client(cache, http=wrong)


def test_something_else_than_a_cache_is_refused(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match="a Cache or an LLMCache"):
        client(cache.chain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "inner", "method"),
    [
        (transport, httpx2.Client, "handle_request"),
        (transport, httpx2.AsyncHTTPTransport, "handle_request"),
        (async_transport, httpx2.HTTPTransport, "handle_async_request"),
        (lambda cache, inner: client(cache, transport=inner), httpx2.AsyncHTTPTransport, "handle_request"),
        (lambda cache, inner: async_client(cache, transport=inner), httpx2.HTTPTransport, "handle_async_request"),
    ],
    ids=["a client", "async", "blocking", "async in a client", "blocking in a client"],
)
def test_what_cannot_send_is_refused_at_once(cache: Cache, make: Any, inner: Any, method: str) -> None:
    with pytest.raises(ConfigurationError, match=f"has no {method}"):
        make(cache, inner())


def test_no_module_is_imported_before_it_is_needed() -> None:
    script = "import sys, tiercache.integrations.http; print({'httpx', 'httpx2', 'openai'} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ttl", ["30d", None])
def test_answers_live_as_long_as_the_cache_was_told(provider: FakeProvider, ttl: Any, stream: bool) -> None:
    with (
        Cache(MemoryBackend(), ttl=ttl) as cache,
        openai.OpenAI(base_url=provider.openai, api_key="sk-a", http_client=client(cache)) as llm,
    ):
        answer = llm.chat.completions.create(**CHAT, stream=stream)
        if stream:
            list(answer)
        (key,) = cache.keys()
        left = cache.lookup(key).ttl

    assert left is None if ttl is None else left > 29 * 86400
