"""From values to entries and back where a value may have to be computed: the flows of `get_or_set`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from .. import codec
from ..computing.singleflight import Kind, Outcome
from ..entry import Entry
from ..errors import CorruptEntry, UncacheableValue, UnknownFormat
from ..memory import Slot
from ..noted import answered
from ..options import OWN, Computed, ComputeOptions, Freshness, Options, checked_attributes, checked_tags
from ..result import Result
from ..units import Duration
from .compute import Answer, obtain, refresh
from .compute_many import obtain_many
from .job import Job, Made
from .many_values import ManyValueFlows
from .read import Found

Errors = Literal["raise", "return"]
Shown = Callable[[Any, Outcome], Any]
"""What a caller of many keys gets for a value."""
_NO_MATCH = "the factory's value is not of the type that was asked for"


class ComputedFlows(ManyValueFlows):
    """The flows of one namespace, computations included."""

    def job(
        self,
        factory: Callable[..., Any],
        *,
        ttl: Duration | None = OWN,
        stale_for: Duration | None = OWN,
        tags: Iterable[str] = (),
        attributes: Mapping[str, Any] | None = None,
        storage_class: str | None = None,
        **accepted: Any,
    ) -> Job:
        """Check what a caller says about a computation.

        Raises:
            ConfigurationError: an option has no such value.
            TypeError: the factory cannot be called, or there is no option of that name.
        """
        if not callable(factory):
            raise TypeError(f"the factory must be a function, not a {factory.__class__.__name__}")
        if unknown := accepted.keys() - ComputeOptions.__annotations__:
            known = ", ".join(ComputeOptions.__annotations__)
            raise TypeError(f"there is no option {', '.join(sorted(unknown))} here; there are type, {known}")
        freshness = Freshness(self.defaults, stale_for=stale_for, **accepted)
        options = self.options(ttl, freshness.keeps_for, tags, attributes, storage_class)
        build = self._builder(options, freshness.negative_ttl)
        return Job(self.chain, self.prefix, factory, build, freshness, self.counters, self.clock)

    async def get_or_set(self, full: str, job: Job, type: type[Any] | None) -> Any:
        """Return the value, computed if it is missing."""
        kind: Kind = "find"
        while True:
            answer = await obtain(self.chain, full, job, kind)
            if answer.outcome.entry is None:
                self.counters.misses += 1
                answered(None, "computed" if answer.led else "shared")
                return answer.outcome.value
            value, kind = self._decoded(answer.outcome.entry, answer, type)
            if kind == "find":
                return value

    async def lookup_or_set(self, full: str, job: Job, type: type[Any] | None, max_age: float | None) -> Result:
        """Return the value and where it came from; computed if it is missing, or older than `max_age` seconds."""
        kind: Kind = "renew" if max_age == 0 else "find"
        while True:
            answer = await obtain(self.chain, full, job, kind)
            outcome = answer.outcome
            if outcome.entry is None:
                self.counters.misses += 1
                answered(None, "computed" if answer.led else "shared")
                return Result(outcome.value)
            if self._is_too_old(answer, max_age):
                kind = "renew"
                continue
            value, kind = self._decoded(outcome.entry, answer, type)
            if kind == "find":
                return self._with_origin(value, outcome)

    async def refresh_early(self, full: str, slot: Slot, job: Job) -> None:
        """Look in the background for a newer value than one that memory served in the last part of its life."""
        await refresh(self.chain, full, job, Found(Entry(slot.payload, slot.metadata(full)), self.chain.tiers[0]))

    async def get_or_set_many(
        self, fulls: list[str], job: Job, type: type[Any] | None, errors: Errors
    ) -> dict[str, Any]:
        """Return the values in the order of the keys; those that are missing are computed, in one call."""
        return await self._many(fulls, job, type, errors, _value_alone)

    async def lookup_or_set_many(
        self, fulls: list[str], job: Job, type: type[Any] | None, max_age: float | None, errors: Errors
    ) -> dict[str, Any]:
        """Return the values and where they came from; computed if missing, or older than `max_age` seconds."""
        return await self._many(fulls, job, type, errors, self._with_origin, max_age)

    async def _many(
        self,
        fulls: list[str],
        job: Job,
        type: type[Any] | None,
        errors: Errors,
        shown: Shown,
        max_age: float | None = None,
    ) -> dict[str, Any]:
        results: dict[str, Any] = {}
        asking: dict[Kind, list[str]] = {"renew" if max_age == 0 else "find": fulls}
        while asking:
            kind, keys = asking.popitem()
            for full, answer in (await obtain_many(self.chain, keys, job, kind)).items():
                again = "renew" if self._is_too_old(answer, max_age) else self._take(full, answer, type, results, shown)
                if again != "find":
                    asking.setdefault(again, []).append(full)
        if errors == "raise":
            for full in fulls:
                if isinstance(results.get(full), _Failed):
                    raise results[full].error
        values = {full: results[full] for full in fulls if full in results}
        return {
            full[len(self.prefix) :]: value.error if isinstance(value, _Failed) else value
            for full, value in values.items()
        }

    def _is_too_old(self, answer: Answer, max_age: float | None) -> bool:
        entry = answer.outcome.entry
        if max_age is None or entry is None or answer.outcome.tier is None:
            return False
        return entry.metadata.age(self.clock()) > max_age

    def _with_origin(self, value: Any, outcome: Outcome) -> Result:
        metadata = None if outcome.entry is None else outcome.entry.metadata
        if outcome.tier is None or metadata is None:
            return Result(value, metadata=metadata)
        return self.result_of(value, outcome.tier.label, metadata)

    def _take(self, full: str, answer: Answer, type: type[Any] | None, results: dict[str, Any], shown: Shown) -> Kind:
        """Note the value or the error of a key; return how it is asked for again, or "find" if it is not."""
        outcome = answer.outcome
        if outcome.entry is None:
            self.counters.misses += 1
            if outcome.error is not None:
                results[full] = _Failed(outcome.error.with_traceback(outcome.traceback))
            elif not outcome.absent:
                results[full] = shown(outcome.value, outcome)
            return "find"
        try:
            value, again = self._decoded(outcome.entry, answer, type)
        except TypeError as error:
            results[full] = _Failed(error)
            return "find"
        if again == "find":
            results[full] = shown(value, outcome)
        return again

    def _decoded(self, entry: Entry, answer: Answer, type: type[Any] | None) -> tuple[Any, Kind]:
        """Return the value of an entry and "find"; or how it is asked for again, where it is not what is asked for."""
        if answer.outcome.tier is not None:
            try:
                value = self.decode(Found(entry, answer.outcome.tier), type)
            except UnknownFormat:
                return None, "aside"  # a later release's entry: left in place
            except CorruptEntry:
                return None, "renew"  # not what is asked for (an older version of a class, say): a miss, made anew
            self.counters.hits += 1
            self._note(Found(entry, answer.outcome.tier))
            return value, "find"
        try:
            value = codec.decode(entry.payload, entry.metadata.codec, type)
        except CorruptEntry as error:
            if answer.led:
                self.counters.misses += 1
                raise TypeError(f"{_NO_MATCH}: {error}") from None
            return None, "renew"  # the one who computed it asked for another type
        self.counters.misses += 1
        answered(None, "computed" if answer.led else "shared")
        return value, "find"

    def _builder(self, options: Options, negative_ttl: float | None) -> Callable[[str, Any, float], Made]:
        def build(full: str, value: Any, began: float) -> Made:
            self.counters.computed += 1
            own, store = options, True
            if isinstance(value, Computed):
                own, store, value = self._options_of(value, options), value.store, value.value
            elif value is None and negative_ttl is not None:
                own = Options(negative_ttl, None, options.tags, options.attributes, options.storage_class)
            try:
                entry = self.entry(full, value, own, began)
            except UncacheableValue:
                if store:
                    self.counters.uncacheable += 1
                return Made(None, value)
            return Made(entry, value, store)

        return build

    def _options_of(self, computed: Computed, options: Options) -> Options:
        """Return what a factory says of its value, on top of what the call says."""
        return Options(
            options.ttl if computed.ttl is OWN else self._seconds(computed.ttl),
            options.stale_for,
            tuple(dict.fromkeys((*options.tags, *checked_tags(computed.tags)))),
            options.attributes | checked_attributes(computed.attributes),
            options.storage_class,
        )


def _value_alone(value: Any, outcome: Outcome) -> Any:
    return value


class _Failed:
    """The error of a key, told from an exception that is itself the value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error
