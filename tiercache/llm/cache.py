"""`LLMCache`: answers of language models, kept by request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from ..cache import DEFAULT_MEMORY, Cache
from ..entry import Clock
from ..errors import ConfigurationError
from ..memory import MemoryBackend
from ..slips import cache_given
from ..units import Duration, Size
from .answering import Answering
from .answering_items import AnsweringItems
from .answers import Answers
from .counters import LLMCounters, LLMStats
from .faces import Faces
from .kinds import KINDS, Kind
from .one_kind import OneKind
from .policy import Policy, StorePolicy
from .prices import Price
from .rules import Rules
from .tags import check_own, kind_tag, model_tag, user_tag
from .worlds import Awaiting, Blocking


class LLMCache(Faces):
    """Answers of language models in a `Cache`.

    Of each kind of requests (`chat`, `completion`, `embedding`, `response`, `message`) it has these operations, and
    their a-twins: `chat(request, call)`, `get_chat`, `lookup_chat`, `set_chat`, `invalidate_chat`. See `OneKind`.

    Args:
        cache: where the answers are kept; closed with this.
        chat_ttl, completion_ttl, embedding_ttl, response_ttl, message_ttl: how long answers are fresh, by kind; None:
            for ever.
        model_ttl: the same by model, and before those: names, or patterns such as `"gpt-4o*"`.
        user_specific: whether each user has answers of their own.
        policy: which answers may be stored: a `StorePolicy`, or any object with a method `refusal(kind, answer)`.
        cache_sampled: whether answers to sampled requests (temperature above 0 or not given, and no seed) are kept;
            if not, such requests pass the cache by.
        samples: how many answers are kept for each sampled request; a call is given one of them at random.
        ignored: paths of request fields that do not count, in addition to those known not to change the answer.
        cache_stateful: whether answers that depend on more than the request are kept, too (`tiercache.llm.stateful`).
        prices: prices of your own by model, before those of `genai-prices`, for what `cache.stats().savings` counts.
        types: types of answers, beside those of the OpenAI and Anthropic SDKs, that may be stored and are found again
            by their names: pydantic models, dataclasses, msgspec Structs.
        rules: all of this but `types`, made beforehand, in place of it.

    Raises:
        ConfigurationError: an argument has no such value.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        chat_ttl: Duration | None = "1h",
        completion_ttl: Duration | None = "1h",
        embedding_ttl: Duration | None = "1d",
        response_ttl: Duration | None = "1h",
        message_ttl: Duration | None = "1h",
        model_ttl: Mapping[str, Duration | None] | None = None,
        user_specific: bool = False,
        policy: Policy | None = None,
        cache_sampled: bool = True,
        samples: int = 1,
        ignored: Iterable[str] = (),
        cache_stateful: bool = False,
        prices: Mapping[str, Price] | None = None,
        types: Iterable[type[Any]] = (),
        rules: Rules | None = None,
    ) -> None:
        self.cache = cache = cache_given(cache)
        self.rules = rules or Rules(
            ttl={
                "chat": chat_ttl,
                "completion": completion_ttl,
                "embedding": embedding_ttl,
                "response": response_ttl,
                "message": message_ttl,
            },
            model_ttl=model_ttl or {},
            user_specific=user_specific,
            policy=policy or StorePolicy(),
            cache_sampled=cache_sampled,
            samples=samples,
            ignored=ignored if isinstance(ignored, str) else tuple(ignored),  # type: ignore[arg-type]
            cache_stateful=cache_stateful,
            prices=prices or {},
        )
        self.counters = LLMCounters()
        answers, worlds = Answers(types), (Blocking(cache), Awaiting(cache))
        self.of_kind: Mapping[Kind, OneKind] = {
            kind: OneKind(_flows_of(kind)(kind, cache, self.rules, self.counters, answers), *worlds) for kind in KINDS
        }

    @classmethod
    def memory_only(
        cls,
        *,
        max_bytes: Size | None = DEFAULT_MEMORY,
        max_entries: int | None = None,
        namespace: str = "llm",
        clock: Clock | None = None,
        **options: Any,
    ) -> Self:
        """Return one in the memory of this process alone.

        Args:
            max_bytes, max_entries: what it holds at most.
            namespace, clock: as for `Cache`.
            options: as for `LLMCache`.
        """
        times: dict[str, Any] = {} if clock is None else {"clock": clock}
        memory = MemoryBackend(max_bytes, max_entries=max_entries, **times)
        return cls(Cache(memory, namespace=namespace, **times), **options)

    def invalidate_model(self, model: str) -> None:
        """Make all answers of a model misses, in all tiers: a few requests, however many answers there are."""
        self.cache.invalidate_tags([model_tag(model)])

    async def ainvalidate_model(self, model: str) -> None:
        """`invalidate_model`, awaited."""
        await self.cache.ainvalidate_tags([model_tag(model)])

    def invalidate_user(self, user: str) -> None:
        """Make all answers that were made for a user misses, likewise: those whose request named the user."""
        self.cache.invalidate_tags([user_tag(user)])

    async def ainvalidate_user(self, user: str) -> None:
        """`invalidate_user`, awaited."""
        await self.cache.ainvalidate_tags([user_tag(user)])

    def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Make all answers with one of these tags misses, likewise."""
        self.cache.invalidate_tags(_not_ours(tags))

    async def ainvalidate_tags(self, tags: Iterable[str]) -> None:
        """`invalidate_tags`, awaited."""
        await self.cache.ainvalidate_tags(_not_ours(tags))

    def clear(self, kind: Kind | None = None) -> None:
        """Make all answers misses, or those of a kind, likewise; what else is in the cache stays.

        Raises:
            ConfigurationError: there is no such kind.
        """
        self.cache.invalidate_tags(_tags_of(kind))

    async def aclear(self, kind: Kind | None = None) -> None:
        """`clear`, awaited."""
        await self.cache.ainvalidate_tags(_tags_of(kind))

    def stats(self) -> LLMStats:
        """Return what was asked and answered, by kind. What it saved is in `cache.stats().savings`."""
        return self.counters.snapshot()

    def reset_stats(self) -> None:
        """Start these counters at zero again; those of the cache go on."""
        self.counters.reset()

    def close(self) -> None:
        """Close the cache; afterwards every operation raises `CacheClosed`."""
        self.cache.close()

    async def aclose(self) -> None:
        """`close`, awaited."""
        await self.cache.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<LLMCache on {self.cache!r}>"


def _flows_of(kind: Kind) -> type[Answering]:
    return AnsweringItems if kind == "embedding" else Answering


def _tags_of(kind: Kind | None) -> list[str]:
    if kind is not None and kind not in KINDS:
        raise ConfigurationError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    return [kind_tag(each) for each in (KINDS if kind is None else (kind,))]


def _not_ours(tags: Iterable[str]) -> list[str]:
    listed = list(tags) if not isinstance(tags, str) else [tags]
    check_own(listed)
    return listed
