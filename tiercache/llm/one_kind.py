"""`OneKind`: what `LLMCache` offers for one kind of requests, for callers that block and for those that await."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from ..result import Result
from .answering import Answering
from .asked import Asked
from .control import Said
from .worlds import Awaiting, Blocking, run


class OneKind:
    """The operations of an `LLMCache` on requests of one kind.

    All take these arguments:
        request: a dict, or an SDK's own object; it is not changed.
        user: who asks; left out: whom the request names. Users have answers of their own where the cache was told
            `user_specific=True`; otherwise the name is used for `invalidate_user` alone.
        tenant: keeps what belongs to different tenants apart, always; it is in the key, and compared with what the
            entry says on each read.
        type: the type that the answer shall have (`dict`, or a model's class); None: the one that was stored.
        control: `max_age`, `no_cache`, `no_store`, `only_if_cached`, `ttl`, `tags`, `samples`, as in `CacheControl`:
            they go before what `cache_control(…)` says for the block.

    They raise:
        ConfigurationError, TypeError: an argument has no such value, or there is none of that name.
        CacheClosed: the cache is closed.
        BackendError: what a store raised, in a strict chain only.
    """

    def __init__(self, flows: Answering, blocking: Blocking, awaiting: Awaiting) -> None:
        self._flows = flows
        self._blocking = blocking
        self._awaiting = awaiting

    def ask(
        self,
        request: Any,
        call: Callable[..., Any],
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Any:
        """Return the answer that is kept; else ask the provider, once for all who ask at that moment.

        The provider's answer is stored if the policy allows; what is not stored is handed through, and counted. So is
        the answer to a request that passes the cache by: one of which no key can be made, one with `stream=True` (use
        the HTTP transport for streams), one that depends on more than it says (`tiercache.llm.stateful`).

        Args:
            request, user, tenant, type, control: see `OneKind`.
            call: asks the provider. It is given the request if it has a positional parameter without a default. For
                embeddings it should have: then it is asked for the missing inputs alone, and else for all. For the
                a-twin it may be async.

        Raises:
            NotCached: `only_if_cached`, and there is no answer that is fresh.
            Exception: what `call` raised, for all who wait; nothing is stored.
        """
        return run(self._flows.ask(self._blocking, Asked(request, user, tenant, control, type), call))

    async def aask(
        self,
        request: Any,
        call: Callable[..., Any],
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Any:
        """The same, awaited; `call` is async, or a function that does not block."""
        return await self._flows.ask(self._awaiting, Asked(request, user, tenant, control, type), call)

    def get(
        self,
        request: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Any:
        """Return the answer that is kept and fresh; None on a miss. Arguments: see `OneKind`."""
        return run(self._flows.lookup(self._blocking, Asked(request, user, tenant, control, type), stale=False)).value

    async def aget(
        self,
        request: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Any:
        """The same, awaited."""
        asked = Asked(request, user, tenant, control, type)
        return (await self._flows.lookup(self._awaiting, asked, stale=False)).value

    def lookup(
        self,
        request: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Result:
        """Return the answer that is kept, where it came from, its age and what it saved; a stale one is shown too.

        Arguments: see `OneKind`. A miss is a `Result` whose `hit` is False.
        """
        return run(self._flows.lookup(self._blocking, Asked(request, user, tenant, control, type), stale=True))

    async def alookup(
        self,
        request: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> Result:
        """The same, awaited."""
        return await self._flows.lookup(self._awaiting, Asked(request, user, tenant, control, type), stale=True)

    def set(
        self,
        request: Any,
        answer: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> bool:
        """Store an answer; return whether it may be stored: the policy holds here too, and refusals are counted.

        Arguments: see `OneKind`. With several samples it goes where none is yet, else in the place of any.
        """
        return run(self._flows.store(self._blocking, Asked(request, user, tenant, control, type), answer))

    async def aset(
        self,
        request: Any,
        answer: Any,
        *,
        user: str | None = None,
        tenant: str | None = None,
        type: type[Any] | None = None,
        **control: Unpack[Said],
    ) -> bool:
        """The same, awaited."""
        return await self._flows.store(self._awaiting, Asked(request, user, tenant, control, type), answer)

    def invalidate(
        self, request: Any, *, user: str | None = None, tenant: str | None = None, samples: int | None = None
    ) -> bool:
        """Remove what is kept of a request, all samples of it; return whether there was something.

        Args:
            request, user, tenant: see `OneKind`.
            samples: how many were kept, where that is more than the cache was told.
        """
        return run(self._flows.invalidate(self._blocking, Asked(request, user, tenant, {"samples": samples})))

    async def ainvalidate(
        self, request: Any, *, user: str | None = None, tenant: str | None = None, samples: int | None = None
    ) -> bool:
        """The same, awaited."""
        return await self._flows.invalidate(self._awaiting, Asked(request, user, tenant, {"samples": samples}))
