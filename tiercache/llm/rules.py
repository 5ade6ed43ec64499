"""`Rules`: how requests become entries: keys, lives, samples, and what may be stored."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..options import OWN
from .control import NO_CONTROL, CacheControl
from .keys import request_key
from .kinds import Kind
from .policy import StorePolicy


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
        scope: the tenant, which is compared with the entry's own on every read.
    """

    kind: Kind
    model: str
    key: str
    options: Mapping[str, Any]
    max_age: float | None = None
    stores: bool = True
    only_if_cached: bool = False
    scope: str | None = None

    @property
    def bypasses(self) -> bool:
        """Whether the cache has nothing to do with this request."""
        return not self.stores and self.max_age == 0 and not self.only_if_cached


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How requests become entries; data, shared by `LLMCache` and the HTTP transport.

    Attributes:
        ttl: seconds by kind; what is left out is as the cache was told; None: for ever.
        model_ttl: seconds by model; goes before `ttl`.
        policy: what may be stored.
        cache_sampled: whether answers to sampled requests (temperature above 0, or not given) are kept.
        samples: how many answers are kept for each sampled request; a call is given one of them at random.
        ignored: paths of request fields that do not count, in addition to those known not to change the answer.
    """

    ttl: Mapping[Kind, float | None] = field(default_factory=dict)
    model_ttl: Mapping[str, float | None] = field(default_factory=dict)
    policy: StorePolicy = field(default_factory=StorePolicy)
    cache_sampled: bool = True
    samples: int = 1
    ignored: tuple[str, ...] = ()

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

        Raises:
            UncacheableValue: the request holds what no key can be made of.
        """
        model = request.get("model")
        name = model if isinstance(model, str) else ""
        is_sampled = kind != "embedding" and request.get("temperature") != 0
        samples = control.samples or self.samples
        if is_sampled and samples > 1:
            parts = (*parts, random.randrange(samples))  # noqa: S311 - no secret
        attributes: dict[str, Any] = {"model": name, "kind": kind}
        if scope is not None:
            attributes["scope"] = scope
        key = request_key(kind, request, user=user, scope=scope, parts=parts, ignored=self.ignored)
        return Plan(
            kind=kind,
            model=name,
            key=key,
            options={"ttl": self._ttl(kind, name, control), "tags": (*control.tags,), "attributes": attributes},
            max_age=control.oldest,
            stores=not control.no_store and (self.cache_sampled or not is_sampled),
            only_if_cached=control.only_if_cached,
            scope=scope,
        )

    def _ttl(self, kind: Kind, model: str, control: CacheControl) -> float | None:
        if control.ttl is not OWN:
            return control.ttl
        if model in self.model_ttl:
            return self.model_ttl[model]
        return self.ttl.get(kind, OWN)
