"""What differs between httpx and httpx2: nothing but the module. Transports, streams and worlds made for each."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...cache import Cache
from ...errors import ConfigurationError, MissingExtra
from ...llm.worlds import Awaiting, Blocking, run
from .exchange import Exchange
from .fed import Fed
from .reply import Reply, unread

_MODULES = ("httpx", "httpx2")


def module_of(http: Any, inner: Any = None) -> Any:
    """Return the module to use: the one given, else that of a transport, else httpx, else httpx2.

    Raises:
        MissingExtra: neither is installed.
        ConfigurationError: what is given is no such module.
    """
    if http is not None:
        if not hasattr(http, "BaseTransport") or not hasattr(http, "AsyncBaseTransport"):
            raise ConfigurationError("http must be the module httpx or httpx2 itself: import httpx2, then http=httpx2")
        return http
    for name in _MODULES:
        loaded = sys.modules.get(name)
        if loaded is not None and isinstance(inner, loaded.BaseTransport | loaded.AsyncBaseTransport):
            return loaded
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra("the HTTP transport", "http")


class BlockingHTTP(Blocking):
    """The blocking world, with a provider in it."""

    def __init__(self, cache: Cache, inner: Any, http: Any, body: Callable[[Reply], Any]) -> None:
        super().__init__(cache)
        self._http = http
        self.inner = inner
        self.fed = Fed()
        self._body = body

    async def send(self, request: Any) -> Any:
        """Send a request with the inner transport."""
        return unread(self.inner.handle_request(request), self._http)

    async def read(self, response: Any, limit: int) -> Reply:
        """Read a body of at most `limit` bytes, and close the response; a larger one stays open, to be read on."""
        chunks: list[bytes] = []
        size = 0
        body = iter(response.stream)
        try:
            for chunk in body:
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    return Reply(response, chunks, body)
        except BaseException:
            response.stream.close()
            raise
        response.stream.close()
        return Reply(response, chunks)

    async def close(self, response: Any) -> None:
        """Close a response that is not handed on; again: nothing."""
        response.stream.close()

    def stream(self, reply: Reply) -> Any:
        """Return the body of a reply as it came, the part that was not read included."""
        return self._body(reply)


class AwaitingHTTP(Awaiting):
    """The awaiting world, with a provider in it."""

    def __init__(self, cache: Cache, inner: Any, http: Any, body: Callable[[Reply], Any]) -> None:
        super().__init__(cache)
        self._http = http
        self.inner = inner
        self.fed = Fed()
        self._body = body

    async def send(self, request: Any) -> Any:
        """Send a request with the inner transport."""
        return unread(await self.inner.handle_async_request(request), self._http)

    async def read(self, response: Any, limit: int) -> Reply:
        """Read a body of at most `limit` bytes, and close the response; a larger one stays open, to be read on."""
        chunks: list[bytes] = []
        size = 0
        body = aiter(response.stream)
        try:
            async for chunk in body:
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    return Reply(response, chunks, body)
        except BaseException:
            await response.stream.aclose()
            raise
        await response.stream.aclose()
        return Reply(response, chunks)

    async def close(self, response: Any) -> None:
        """Close a response that is not handed on; again: nothing."""
        await response.stream.aclose()

    def stream(self, reply: Reply) -> Any:
        """Return the body of a reply as it came, the part that was not read included."""
        return self._body(reply)


class _Chunks:
    """The body of a reply: what was read, then the rest."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        yield from self._reply.chunks
        if self._reply.rest is not None:
            yield from self._reply.rest

    def close(self) -> None:
        self._reply.stream.close()


class _AwaitedChunks:
    """The body of a reply: what was read, then the rest."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._reply.chunks:
            yield chunk
        if self._reply.rest is not None:
            async for chunk in self._reply.rest:
                yield chunk

    async def aclose(self) -> None:
        await self._reply.stream.aclose()


class _Transport:
    """A transport that asks the cache first."""

    def __init__(self, exchange: Exchange, inner: Any) -> None:
        _check(inner, "handle_request", f"{exchange.http.__name__}.HTTPTransport()")
        self._exchange = exchange
        self._world = BlockingHTTP(exchange.llm.cache, inner, exchange.http, made_for(exchange.http).blocking.body)

    def handle_request(self, request: Any) -> Any:
        """Answer a request from the cache, or with the inner transport."""
        return run(self._exchange.answer(self._world, request))

    def __enter__(self) -> Any:
        self._world.inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        inner = self._world.inner
        if not self._world.fed.defer(functools.partial(inner.__exit__, None, None, None)):
            inner.__exit__(*error)

    def close(self) -> None:
        """Close the inner transport, when clients of others have read what it streams to them; not the cache."""
        if not self._world.fed.defer(self._world.inner.close):
            self._world.inner.close()

    def __repr__(self) -> str:
        return f"<CachingTransport of {self._exchange.http.__name__} on {self._exchange.llm.cache!r}>"


class _AsyncTransport:
    """A transport that asks the cache first."""

    def __init__(self, exchange: Exchange, inner: Any) -> None:
        _check(inner, "handle_async_request", f"{exchange.http.__name__}.AsyncHTTPTransport()")
        self._exchange = exchange
        self._world = AwaitingHTTP(exchange.llm.cache, inner, exchange.http, made_for(exchange.http).awaiting.body)

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request from the cache, or with the inner transport."""
        return await self._exchange.answer(self._world, request)

    async def __aenter__(self) -> Any:
        await self._world.inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        inner = self._world.inner
        if not self._world.fed.defer(functools.partial(inner.__aexit__, None, None, None)):
            await inner.__aexit__(*error)

    async def aclose(self) -> None:
        """Close the inner transport, when clients of others have read what it streams to them; not the cache."""
        if not self._world.fed.defer(self._world.inner.aclose):
            await self._world.inner.aclose()

    def __repr__(self) -> str:
        return f"<AsyncCachingTransport of {self._exchange.http.__name__} on {self._exchange.llm.cache!r}>"


def _check(inner: Any, method: str, such: str) -> None:
    if not callable(getattr(inner, method, None)):
        raise ConfigurationError(f"a {type(inner).__name__} has no {method}; give a transport such as {such}")


@dataclass(frozen=True, slots=True)
class Face:
    """What callers that block, or those that await, need of a module.

    Attributes:
        transport: makes a transport of an exchange and an inner one.
        inner: makes the module's own transport.
        body: makes the stream of a reply that was read.
    """

    transport: Callable[[Exchange, Any], Any]
    inner: Callable[..., Any]
    body: Callable[[Reply], Any]


@dataclass(frozen=True, slots=True)
class Faces:
    """The two faces of a module."""

    blocking: Face
    awaiting: Face


@functools.cache
def made_for(module: Any) -> Faces:
    """Return what is made for a module, once."""
    make: Callable[..., Any] = type
    return Faces(
        blocking=Face(
            make("CachingTransport", (_Transport, module.BaseTransport), {}),
            module.HTTPTransport,
            make("Chunks", (_Chunks, module.SyncByteStream), {}),
        ),
        awaiting=Face(
            make("AsyncCachingTransport", (_AsyncTransport, module.AsyncBaseTransport), {}),
            module.AsyncHTTPTransport,
            make("AwaitedChunks", (_AwaitedChunks, module.AsyncByteStream), {}),
        ),
    )
