"""`Rules`: how requests become entries: keys, lives, samples, and what may be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ConfigurationError
from ..options import OWN, seconds
from ..units import Duration
from .control import NO_CONTROL, CacheControl
from .fields import check_paths
from .keys import request_key
from .kinds import KINDS, Kind
from .policy import MAX_BYTES, Policy, StorePolicy, guarded
from .prices import Price
from .sampling import checked_samples, drawn, is_sampled, sample_parts
from .tags import hidden, is_plain, kind_tag, model_tag, user_tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one request.

    Attributes:
        kind, model: what is asked, of which model (`""` where the request names none).
        key: where the answer is kept.
        options: `ttl`, `tags`, `attributes`, for `Cache.lookup_or_set` and `Cache.set`.
        max_age: what is older is a miss, in seconds; 0: anything; None: no limit.
        stores: whether an answer may be stored.
        only_if_cached: whether the provider must not be asked.
        scope: stands for the tenant; it is compared with the entry's own attribute `scope` on every read.
        samples: the keys of all samples, where the provider must not be asked, so that any of them will do.
    """

    kind: Kind
    model: str
    key: str
    options: Mapping[str, Any]
    max_age: float | None = None
    stores: bool = True
    only_if_cached: bool = False
    scope: str | None = None
    samples: Sequence[str] = ()

    @property
    def bypasses(self) -> bool:
        """Whether the cache has nothing to do with this request."""
        return not self.stores and self.max_age == 0 and not self.only_if_cached

    def admits(self, attributes: Mapping[str, Any]) -> bool:
        """Whether an entry with these attributes was made for this tenant and kind; if not, it is a miss."""
        return attributes.get("scope") == self.scope and attributes.get("kind") == self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How requests become entries; data, shared by `LLMCache` and the HTTP transport.

    Attributes:
        ttl: how long answers are fresh, by kind; what is left out is as the cache was told; None: for ever.
        model_ttl: the same by model, and before `ttl`: names, or patterns such as `"gpt-4o*"`; a name goes before
            patterns, and a longer pattern before a shorter one.
        policy: what may be stored: a `StorePolicy`, or any object with a method `refusal(kind, answer)`.
        cache_sampled: whether answers to sampled requests (temperature above 0 or not given, and no seed) are kept. If
            not, such requests pass the cache by.
        samples: how many answers are kept for each sampled request; a call is given one of them at random, or makes
            it if nobody did yet. A call may ask for another number.
        ignored: paths of request fields that do not count, in addition to those known not to change the answer.
        user_specific: whether each user has answers of their own.
        cache_stateful: whether answers are kept that depend on more than the request (a conversation at the provider,
            a search): see `tiercache.llm.stateful`. If not, such requests pass the cache by.
        prices: prices of your own by model, before those of `genai-prices`: what savings are counted with.

    Raises:
        ConfigurationError: an attribute has no such value.
    """

    ttl: Mapping[Kind, Duration | None] = field(default_factory=dict)
    model_ttl: Mapping[str, Duration | None] = field(default_factory=dict)
    policy: Policy = field(default_factory=StorePolicy)
    cache_sampled: bool = True
    samples: int = 1
    ignored: tuple[str, ...] = ()
    user_specific: bool = False
    cache_stateful: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model_ttl, Mapping):
            raise ConfigurationError('model_ttl must say it by model: {"gpt-4o*": "7d"}')
        if not isinstance(self.prices, Mapping) or not all(isinstance(one, Price) for one in self.prices.values()):
            raise ConfigurationError('prices must be a Price by model: {"my-model": Price(input=0.2, output=0.8)}')
        if unknown := self.ttl.keys() - set(KINDS):
            raise ConfigurationError(f"there is no kind {sorted(map(str, unknown))[0]!r}; there are {', '.join(KINDS)}")
        checked = {
            "ttl": {kind: _life(ttl, f"the ttl of {kind}") for kind, ttl in self.ttl.items()},
            "model_ttl": {model: _life(ttl, "each ttl in model_ttl") for model, ttl in self.model_ttl.items()},
            "policy": guarded(self.policy),
            "samples": checked_samples(self.samples),
            "ignored": check_paths(self.ignored),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest answer that is worth keeping in hand, to be judged and stored."""
        limit = getattr(self.policy, "max_bytes", MAX_BYTES)
        return limit if type(limit) is int else MAX_BYTES

    def plan(
        self,
        kind: Kind,
        request: Mapping[str, Any],
        *,
        user: str | None = None,
        scope: str | None = None,
        parts: Sequence[Any] = (),
        control: CacheControl = NO_CONTROL,
    ) -> Plan:
        """Decide what is done for a request of plain data.

        Args:
            kind: what is asked.
            request: plain data.
            user: who asks; left out: whom the request names.
            scope: keeps tenants apart.
            parts: more plain data that the answer depends on.
            control: what the caller says about this request.

        Raises:
            UncacheableValue: the request holds what no key can be made of.
        """
        user = user_of(request) if user is None else user
        sampled = is_sampled(kind, request)
        kept = self.cache_sampled or not sampled
        samples = (control.samples or self.samples) if sampled else 1
        model = request.get("model")
        name = model if isinstance(model, str) else ""
        attributes: dict[str, Any] = {"model": name if is_plain(name) else hidden(name), "kind": kind}
        owner = None if scope is None else hidden(scope)
        if owner is not None:
            attributes["scope"] = owner
        return Plan(
            kind=kind,
            model=name,
            key=self._key(kind, request, user, scope, (*parts, *sample_parts(drawn(samples)))),
            options={
                "ttl": self._ttl(kind, name, control),
                "tags": (*_own_tags(kind, name, user), *control.tags),
                "attributes": attributes,
            },
            max_age=control.oldest if kept else 0.0,
            stores=kept and not control.no_store,
            only_if_cached=control.only_if_cached,
            scope=owner,
            samples=self.keys(kind, request, user=user, scope=scope, parts=parts, control=control)
            if samples > 1 and control.only_if_cached
            else (),
        )

    def keys(
        self,
        kind: Kind,
        request: Mapping[str, Any],
        *,
        user: str | None = None,
        scope: str | None = None,
        parts: Sequence[Any] = (),
        control: CacheControl = NO_CONTROL,
    ) -> list[str]:
        """Return the keys of all samples of a request. Arguments as for `plan`."""
        user = user_of(request) if user is None else user
        samples = max(control.samples or 1, self.samples) if is_sampled(kind, request) else 1
        numbers = [(*parts, *sample_parts(number)) for number in range(samples)]
        return [self._key(kind, request, user, scope, each) for each in numbers]

    def _key(
        self, kind: Kind, request: Mapping[str, Any], user: str | None, scope: str | None, parts: Sequence[Any]
    ) -> str:
        own = user if self.user_specific else None
        return request_key(kind, request, user=own, scope=scope, parts=parts, ignored=self.ignored)

    def _ttl(self, kind: Kind, model: str, control: CacheControl) -> Duration | None:
        if control.ttl is not OWN:
            return control.ttl
        if model in self.model_ttl:
            return self.model_ttl[model]
        matching = [pattern for pattern in self.model_ttl if fnmatchcase(model, pattern)]
        return self.model_ttl[max(matching, key=len)] if matching else self.ttl.get(kind, OWN)


def user_of(request: Mapping[str, Any]) -> str | None:
    """Return whom a request names: `user`, `safety_identifier`, or Anthropic's `metadata.user_id`."""
    metadata = request.get("metadata")
    inner = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    named = (request.get("user"), request.get("safety_identifier"), inner)
    return next((name for name in named if isinstance(name, str) and name), None)


def _own_tags(kind: Kind, model: str, user: str | None) -> tuple[str, ...]:
    tags = (kind_tag(kind), model_tag(model))
    return tags if user is None else (*tags, user_tag(user))


def _life(ttl: Duration | None, what: str) -> Any:
    return OWN if ttl is OWN else seconds(ttl, what)
