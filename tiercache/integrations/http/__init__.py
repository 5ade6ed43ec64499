"""A cache below any client that is built on httpx or httpx2: `OpenAI(http_client=client(cache))`, and no other change.

`client` and `async_client` make clients for the SDKs; `transport` and `async_transport` are for a client of your own.
"""

from __future__ import annotations

from typing import Any

from ...cache import Cache
from ...llm.cache import LLMCache
from .exchange import Exchange
from .modules import AwaitingHTTP, BlockingHTTP, made_for, module_of
from .scope import Scope

__all__ = ["async_client", "async_transport", "client", "transport"]


def client(cache: Cache | LLMCache, *, http: Any = None, scope: Scope = "auth", **client_options: Any) -> Any:
    """Return a `Client` that asks the cache first, with the defaults of the SDKs."""
    module = module_of(http)
    inner = client_options.pop("transport", None)
    return module.Client(
        transport=transport(cache, inner, http=module, scope=scope), **_defaults(module), **client_options
    )


def async_client(cache: Cache | LLMCache, *, http: Any = None, scope: Scope = "auth", **client_options: Any) -> Any:
    """`client`, awaited."""
    module = module_of(http)
    inner = client_options.pop("transport", None)
    return module.AsyncClient(
        transport=async_transport(cache, inner, http=module, scope=scope), **_defaults(module), **client_options
    )


def transport(cache: Cache | LLMCache, inner: Any = None, *, http: Any = None, scope: Scope = "auth") -> Any:
    """Return a transport that asks the cache, then another transport."""
    module = module_of(http)
    made = made_for(module)
    llm = cache if isinstance(cache, LLMCache) else LLMCache(cache)
    world = BlockingHTTP(llm.cache, inner or module.HTTPTransport(limits=_limits(module)), made)
    return made.transport(Exchange(llm, module, scope), world)


def async_transport(cache: Cache | LLMCache, inner: Any = None, *, http: Any = None, scope: Scope = "auth") -> Any:
    """`transport`, awaited."""
    module = module_of(http)
    made = made_for(module)
    llm = cache if isinstance(cache, LLMCache) else LLMCache(cache)
    world = AwaitingHTTP(llm.cache, inner or module.AsyncHTTPTransport(limits=_limits(module)), made)
    return made.async_transport(Exchange(llm, module, scope), world)


def _limits(module: Any) -> Any:
    return module.Limits(max_connections=1000, max_keepalive_connections=100)


def _defaults(module: Any) -> dict[str, Any]:
    return {"timeout": module.Timeout(600, connect=5.0), "follow_redirects": True}
