"""The flow of an embeddings request: items from the cache, from calls of others under way, the rest from one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..entry import AttributeValue
from ..options import Computed
from ..result import Result
from ..savings import NOTHING, SHARED, Ledger, Saving
from .counters import KindCounters
from .items import Batch
from .parts import Part, Unfit, put_together, taken_apart
from .policy import Policy
from .rules import Plan
from .worlds import World

_TRIES = 3
"""How often a request joins others, of whom some fail; after that it is sent past them."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """What a provider answered.

    Attributes:
        answer: plain data, as JSON gives it.
        whole: attributes of the whole call (`costs.attributes_of`).
        more: further attributes of each entry.
        refusal: why it must not be stored, whatever the policy says.
    """

    answer: Any
    whole: Mapping[str, AttributeValue] = field(default_factory=dict)
    more: Mapping[str, AttributeValue] = field(default_factory=dict)
    refusal: str | None = None


Ask = Callable[[Mapping[str, Any] | None], Awaitable[Reply]]
"""Sends a request for some of the items; None: the caller's own, as it is. What it raises is the failure."""


class AskFailed(Exception):
    """Somebody's call failed.

    Attributes:
        error: how.
        asked: for what, and in which encoding: an equal request would have met with the same.
    """

    def __init__(self, error: Exception, asked: tuple[Any, ...]) -> None:
        super().__init__(type(error).__name__)
        self.error = error
        self.asked = asked


class SentAlone(Exception):
    """The request has to be sent as it is: its items cannot be had from the cache, or not soon."""


class Collecting:
    """One request, while its items are collected.

    Attributes:
        is_own: the caller's own request was sent as it is, and its reply is the answer.
        results: where each item came from, by key.
    """

    def __init__(
        self,
        world: World,
        batch: Batch,
        plan: Plan,
        ask: Ask,
        *,
        policy: Policy,
        counters: KindCounters,
        reducible: bool = True,
    ) -> None:
        self._world = world
        self._batch = batch
        self._plan = plan
        self._ask = ask
        self._policy = policy
        self._counters = counters
        self._reducible = reducible
        self._error: Exception | None = None
        self._made: dict[str, Part] = {}
        self._parts: dict[str, Part] = {}
        self._sent: set[str] = set()
        self._sent_whole = False
        self.is_own = False
        self.results: dict[str, Result] = {}

    async def collect(self) -> None:
        """Get all items.

        Raises:
            SentAlone: that is not possible; the request is to be sent past the cache.
            Exception: what `ask` raised; what the cache raised.
        """
        pending, max_age = list(self._batch.items), self._plan.max_age
        for _ in range(_TRIES):
            found = await self._world.lookup_or_set_many(
                pending, self._make, max_age=max_age, errors="return", **self._plan.options
            )
            self.is_own = self._sent_whole and not all(_is_hit(result) for result in found.values())
            if self.is_own:
                return
            pending, max_age = self._taken(pending, found, max_age)
            if not pending:
                return
        raise SentAlone

    async def find(self, *, stale: bool = False) -> bool:
        """Look for all items without asking; return whether they are there, for this caller, and fresh unless told."""
        if self._plan.max_age == 0:
            return False
        found = await self._world.lookup_many(self._batch.items, allow_stale=stale)
        oldest = self._plan.max_age
        young = {key: one for key, one in found.items() if oldest is None or (one.age or 0.0) <= oldest}
        missing, _ = self._taken(list(self._batch.items), young, None)
        return not missing

    def answer(self) -> dict[str, Any]:
        """Return the answer that the items make up, in the encoding that the caller asked for."""
        fresh = next(iter(self._made.values()), None)
        first = self._parts[self._batch.keys[0]] if fresh is None else fresh
        parts = [self._parts[key] for key in self._batch.keys]
        return put_together(parts, self._parts.values(), self._batch.encoding, str(first.attributes["answer"]))

    @property
    def asked(self) -> set[str]:
        """The keys of the items that the caller's own calls were for."""
        if self.is_own:
            return self._sent
        return {key for key, result in self.results.items() if not result.hit and key in self._sent}

    def agreed(self, *names: str) -> dict[str, AttributeValue]:
        """Return the attributes of these names as far as all items have the same."""
        said = {name: {part.attributes.get(name) for part in self._parts.values()} for name in names}
        return {name: values.pop() for name, values in said.items() if len(values) == 1 and None not in values}

    def fresh(self, name: str) -> dict[str, AttributeValue]:
        """Return an attribute of what was just asked for, if anything was, and it has that."""
        found = next((part.attributes.get(name) for part in self._made.values()), None)
        return {} if found is None else {name: found}

    def count(self, ledger: Ledger) -> None:
        """Count hits and misses, by input, and what the hits saved, by distinct item."""
        asked, counters = self.asked, self._counters
        counters.misses += len(asked)
        counters.hits += len(self._batch.keys) - len(asked)
        if self.is_own:
            return
        savings: dict[tuple[str, str], Saving] = {}
        for key, result in self.results.items():
            if key in asked or result.metadata is None:
                continue
            counters.shared += not result.hit
            attributes = result.metadata.attributes
            row = str(attributes.get("model", "")), result.tier or SHARED
            savings[row] = savings.get(row, NOTHING) + Saving.of(attributes)
        for (model, tier), saving in savings.items():
            ledger.add(model, tier, saving)

    async def _make(self, keys: list[str]) -> dict[str, Any]:
        """Ask for the missing items; return what is stored of the reply."""
        own = self._batch.is_whole(keys) or not self._reducible
        sent = self._batch.keys if own else keys
        signature = (tuple(keys), own, self._batch.encoding)
        self._sent.update(sent)
        try:
            reply = await self._ask(None if own else self._batch.reduced(keys))
        except Exception as error:  # noqa: BLE001 - it is raised to the caller as it is
            self._error = error
            self._sent_whole = False
            raise AskFailed(error, signature) from None
        self._sent_whole = own
        return self._judged(reply, sent, keys)

    def _judged(self, reply: Reply, sent: Sequence[str], keys: Sequence[str]) -> dict[str, Computed]:
        refusal = reply.refusal or self._policy.refusal("embedding", reply.answer)
        try:
            parts = taken_apart(reply.answer, self._batch, sent, reply.whole, **reply.more)
        except Unfit as reason:
            self._counters.refuse(refusal or str(reason))
            raise
        self._made.update(parts)
        stores = self._plan.stores and refusal is None
        if refusal is not None:
            self._counters.refuse(refusal)
        elif stores:
            self._counters.stored += len(keys)
        return {key: Computed(parts[key].vector.array, attributes=parts[key].attributes, store=stores) for key in keys}

    def _taken(
        self, keys: Sequence[str], found: Mapping[str, Any], max_age: float | None
    ) -> tuple[list[str], float | None]:
        """Take what was found; return what has to be asked for once more, and how old it may be."""
        again: list[str] = []
        for key in keys:
            result = found.get(key)
            if isinstance(result, Exception):
                self._take_failure(result, key, keys, again)
            elif result is None or not self._take(key, result):
                again.append(key)
                max_age = 0 if result is not None else max_age  # what is there is not for this caller
        if not again and len({part.family for part in self._parts.values()}) > 1:
            self._parts.clear()  # another model goes by this name now, and its vectors do not fit those that are kept
            return list(self._batch.items), 0
        return again, max_age

    def _take(self, key: str, result: Result) -> bool:
        attributes = {} if result.metadata is None else result.metadata.attributes
        if not self._plan.admits(attributes):
            return False
        part = Part.of(result.value, attributes)
        if part is None:
            return False
        self._parts[key], self.results[key] = part, result
        return True

    def _take_failure(self, error: Exception, key: str, keys: Sequence[str], again: list[str]) -> None:
        if key in self._made:  # the store failed, not the provider
            part = self._made[key]
            self._parts[key], self.results[key] = part, Result(part.vector.array)
        elif isinstance(error, AskFailed):
            if error.error is self._error:
                raise error.error
            own = self._batch.is_whole(keys) or not self._reducible
            if error.asked == (tuple(keys), own, self._batch.encoding):
                raise error
            again.append(key)
        elif isinstance(error, Unfit):
            raise SentAlone from None
        else:
            raise error


def _is_hit(result: Any) -> bool:
    return isinstance(result, Result) and result.hit
