"""A cache below any client that is built on httpx or httpx2: `OpenAI(http_client=client(cache))`, and no other change.

`client` and `async_client` make clients for the SDKs; `transport` and `async_transport` are for a client of your own.

Requests for chat completions, completions, responses, messages and embeddings are answered from the cache; all others
go through untouched, and so do these wherever a stored answer might be the wrong one. What the cache did is told in
the headers of the reply: `x-tiercache` (`HIT`, `MISS`, `SHARED`, `STALE`, `BYPASS`), `x-tiercache-tier`,
`x-tiercache-key`, `age`, and `x-tiercache-origin-request-id`. No failure of the cache reaches a client: the request is
then sent as if there were no cache.
"""

from __future__ import annotations

from typing import Any

from ...cache import Cache
from ...errors import ConfigurationError
from ...llm.cache import LLMCache
from ...llm.rules import Rules
from .clients import async_client_class, client_class
from .exchange import Exchange
from .modules import made_for, module_of
from .scope import Scope
from .wiring import brings_its_own, options_of

__all__ = ["Scope", "async_client", "async_transport", "client", "transport"]


def client(cache: Cache | LLMCache, *, http: Any = None, scope: Scope = "auth", **client_options: Any) -> Any:
    """Return a `Client` for an SDK, such as `OpenAI(http_client=client(cache))`, that asks the cache first.

    It has the defaults of the SDKs: 600 seconds of timeout and 5 to connect, 1,000 connections of which 100 are kept,
    redirects followed, proxies from the environment; one that nobody has any more closes its connections. The cache
    stays open.

    Args:
        cache: where answers are kept. An `LLMCache` brings its rules (lives, policy, samples) and counts; in a `Cache`
            answers live as long as it was told, and the other rules are the defaults.
        http: the module, `httpx` or `httpx2`; None: httpx if it is installed, else httpx2. `Anthropic` (2 and later)
            takes clients of httpx2 alone, `OpenAI` (3 and later) both.
        scope: who may see whose answers. `"auth"`: requests with the same credentials share answers, others do not.
            `"shared"`: all share them. Any other text is the name of one tenant. A function is given the request and
            returns the name of its tenant: for credentials that change from hour to hour. Where it raises, or
            returns something else, the request passes the cache by and is counted.
        client_options: what the module's `Client` takes, and what its `HTTPTransport` does.

    Raises:
        MissingExtra: neither httpx nor httpx2 is installed.
        ConfigurationError: an argument has no such value.
    """
    module = module_of(http)
    exchange = _exchange(cache, module, scope)
    made = made_for(module)
    kind = module.Client if brings_its_own(client_options) else client_class(module)
    return kind(**options_of(module, exchange, made.blocking, client_options))


def async_client(cache: Cache | LLMCache, *, http: Any = None, scope: Scope = "auth", **client_options: Any) -> Any:
    """`client` for callers that await: an `AsyncClient`."""
    module = module_of(http)
    exchange = _exchange(cache, module, scope)
    made = made_for(module)
    kind = module.AsyncClient if brings_its_own(client_options) else async_client_class(module)
    return kind(**options_of(module, exchange, made.awaiting, client_options))


def transport(cache: Cache | LLMCache, inner: Any = None, *, http: Any = None, scope: Scope = "auth") -> Any:
    """Return a transport that asks the cache, then another transport.

    Args:
        cache, scope: as for `client`.
        inner: what reaches the provider; None: the module's `HTTPTransport`. It is closed with this one; the cache is
            not.
        http: as for `client`; None: the module that `inner` is of.

    Raises:
        MissingExtra: neither httpx nor httpx2 is installed.
        ConfigurationError: an argument has no such value.
    """
    module = module_of(http, inner)
    made = made_for(module).blocking
    return made.transport(_exchange(cache, module, scope), made.inner() if inner is None else inner)


def async_transport(cache: Cache | LLMCache, inner: Any = None, *, http: Any = None, scope: Scope = "auth") -> Any:
    """`transport` for callers that await; `inner` is an `AsyncHTTPTransport` or the like."""
    module = module_of(http, inner)
    made = made_for(module).awaiting
    return made.transport(_exchange(cache, module, scope), made.inner() if inner is None else inner)


def _exchange(cache: Cache | LLMCache, module: Any, scope: Scope) -> Exchange:
    if not isinstance(cache, Cache | LLMCache):
        raise ConfigurationError(
            f"cache must be a Cache or an LLMCache, not a {type(cache).__name__}; make one of it: Cache(…)"
        )
    # Rules without lives of their own: what the `Cache` was told holds.
    return Exchange(cache if isinstance(cache, LLMCache) else LLMCache(cache, rules=Rules()), module, scope)
