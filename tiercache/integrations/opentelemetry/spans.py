"""The spans: `FlowSpan` of a flow that left memory, `AskedSpan` of what it asks a tier or a function for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, Span, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from ...call import Call
from ...computing.operations import Factory, Follow
from ...errors import CircuitOpen, PartialFailure
from ...noted import Outcome, Reason
from . import names
from .instruments import Instruments


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """With what flows are watched.

    Attributes:
        tracer: makes the spans.
        instruments: keep the durations.
        namespace: the cache's; None: the flow belongs to no cache.
    """

    tracer: Tracer
    instruments: Instruments
    namespace: str | None = None


class FlowSpan:
    """The span of a flow: it is current while the flow runs, and is told how keys were had.

    It starts when the flow leaves memory, at the time at which the flow began; until then there is none.

    Args:
        watch: with what.
        name: what it is called, `tiercache.` left out.
        size: how many keys the flow is about; None: it is no batch.
        reads: whether it has an outcome.
        metered: whether its duration is one of an operation of the cache.
        apart: it is in the background: the root of a trace of its own, linked to the span that is current now.
    """

    def __init__(
        self,
        watch: Watch,
        name: str,
        *,
        size: int | None = None,
        reads: bool = False,
        metered: bool = False,
        apart: bool = False,
    ) -> None:
        self._watch = watch
        self._name = name
        self._size = size
        self._reads = reads
        self._metered = metered
        self._apart = apart
        self._cause = context.get_current()
        self._began = time.time_ns()
        self._span: Span | None = None
        self._token: Any = None
        self._answers: Counter[tuple[str | None, Outcome]] = Counter()
        self._unsaid: list[dict[str, AttributeValue]] = []

    def begin(self) -> None:
        """The flow begins, now."""
        self._began = time.time_ns()

    def start(self) -> None:
        """The flow leaves memory; again: nothing happens."""
        if self._span is not None:
            return
        parent, links = self._cause, []
        if self._apart:
            cause = trace.get_current_span(parent).get_span_context()
            links = [Link(cause)] if cause.is_valid else []
            parent = trace.set_span_in_context(trace.INVALID_SPAN, parent)
        self._span = self._watch.tracer.start_span(
            f"tiercache.{self._name}", parent, attributes=self._about(), links=links, start_time=self._began
        )
        self._token = context.attach(trace.set_span_in_context(self._span, parent))
        self._say()

    def answered(self, tier: str | None, outcome: Outcome, keys: int = 1) -> None:
        """Note how keys were had."""
        self._answers[tier, outcome] += keys

    def passed_over(self, tier: str, reason: Reason, keys: int = 1) -> None:
        """Note why a tier did not answer."""
        self._unsaid.append({names.TIER: tier, names.REASON: reason, names.KEYS: keys})
        if reason == "pending":  # a slower tier would have been asked
            self.start()
        self._say()

    def finish(self, error: BaseException | None) -> None:
        """The flow is over."""
        if self._span is None:
            return
        outcome = self._outcome(self._span) if error is None else "failed"
        if error is not None:
            _mark_failed(self._span, error)
        if outcome is not None:
            self._span.set_attribute(names.OUTCOME, outcome)
        if self._metered:
            instruments = self._watch.instruments
            namespace = instruments.subjects.named(self._watch.namespace or "")
            about = {names.NAMESPACE: namespace, names.OPERATION: self._name}
            about |= {} if outcome is None else {names.OUTCOME: outcome}
            instruments.operations.record((time.time_ns() - self._began) / 1e9, about)
        context.detach(self._token)
        self._span.end()
        self._span = None

    def abandon(self) -> None:
        """Nobody finishes the flow; this may be another thread or task, where something else is current."""
        if self._span is not None:
            if trace.get_current_span() is self._span:
                context.attach(self._cause)
            self._span.end()
            self._span = None

    def _about(self) -> dict[str, AttributeValue]:
        about: dict[str, AttributeValue] = {names.OPERATION: self._name}
        if self._watch.namespace is not None:
            about[names.NAMESPACE] = self._watch.namespace
        if self._size is not None:
            about[names.BATCH_SIZE] = self._size
        return about

    def _say(self) -> None:
        if self._span is not None:
            for attributes in self._unsaid:
                self._span.add_event("tiercache.passed_over", attributes)
            self._unsaid.clear()

    def _outcome(self, span: Span) -> str | None:
        if not self._reads:
            return None
        if self._size is not None:
            return self._outcome_of_many(span, self._size)
        for tier, outcome in self._answers:
            if tier is not None:
                span.set_attribute(names.TIER, tier)
            return outcome
        return "miss"

    def _outcome_of_many(self, span: Span, size: int) -> str:
        for (tier, outcome), keys in self._answers.items():
            where = {} if tier is None else {names.TIER: tier}
            span.add_event("tiercache.answered", {names.OUTCOME: outcome, names.KEYS: keys, **where})
        from_tiers = sum(keys for (tier, _), keys in self._answers.items() if tier is not None)
        span.set_attribute(names.BATCH_HITS, from_tiers)
        outcomes = {outcome for _, outcome in self._answers}
        if not outcomes:
            return "miss"
        return outcomes.pop() if len(outcomes) == 1 and self._answers.total() >= size else "partial"


class AskedSpan:
    """The span of one operation on a tier, of the caller's function, or of a wait for another caller's computation."""

    def __init__(self, operation: Call[Any] | Factory | Follow, watch: Watch) -> None:
        self._operation = operation
        self._instruments = watch.instruments
        self._before = context.get_current()
        self._span = watch.tracer.start_span(_name(operation), attributes=_about(operation))
        self._token = context.attach(trace.set_span_in_context(self._span))
        self._began = time.perf_counter_ns()

    def over(self, result: Any, error: BaseException | None) -> None:
        """The operation came to this."""
        operation = self._operation
        if error is not None:
            _mark_failed(self._span, error)
        if isinstance(operation, Call):
            outcome = _found(self._span, operation, result) if error is None else _failure(error)
            if outcome is not None:
                self._span.set_attribute(names.OUTCOME, outcome)
            if not isinstance(error, CircuitOpen):  # nothing was sent
                self._time(operation, error)
        context.detach(self._token)
        self._span.end()

    def abandon(self) -> None:
        """Nobody waits for the operation any more; as for a flow."""
        if trace.get_current_span() is self._span:
            context.attach(self._before)
        self._span.end()

    def _time(self, call: Call[Any], error: BaseException | None) -> None:
        about = {names.TIER: call.tier.label, names.OPERATION: call.method}
        about |= {} if error is None else {names.ERROR_TYPE: type(error).__name__}
        self._instruments.tiers.record((time.perf_counter_ns() - self._began) / 1e9, about)


def _name(operation: Call[Any] | Factory | Follow) -> str:
    if isinstance(operation, Call):
        return f"tiercache.tier.{operation.method}"
    return "tiercache.factory" if isinstance(operation, Factory) else "tiercache.wait"


def _about(operation: Call[Any] | Factory | Follow) -> dict[str, AttributeValue]:
    if not isinstance(operation, Call):
        return {}
    about: dict[str, AttributeValue] = {names.TIER: operation.tier.label, names.OPERATION: operation.method}
    first = operation.args[0] if operation.args else None
    if isinstance(first, str) and first.startswith("_meta:"):
        about[names.INTERNAL] = True
    elif isinstance(first, Sized) and not isinstance(first, str):
        about[names.BATCH_SIZE] = len(first)
    return about


def _found(span: Span, call: Call[Any], result: Any) -> str | None:
    """Return what a tier was found to hold; None: it was not asked for that."""
    if call.method in ("get", "head"):
        return "absent" if result is None else "found"
    if call.method == "get_seen":
        return "absent" if result.entry is None else "found"
    if call.method == "get_many":
        found = len(result)
    elif call.method == "get_many_seen":
        found = sum(seen.entry is not None for seen in result.values())
    else:
        return None
    span.set_attribute(names.BATCH_HITS, found)
    return "found" if found == len(call.args[0]) else "partial" if found else "absent"


def _failure(error: BaseException) -> str:
    if isinstance(error, CircuitOpen):
        return "refused"
    return "partial" if isinstance(error, PartialFailure) and error.results else "failed"


def _mark_failed(span: Span, error: BaseException) -> None:
    """Say which class of error it was. Its message may be somebody else's, and quote what it was about."""
    kind = type(error).__name__
    span.set_attribute(names.ERROR_TYPE, kind)
    if not isinstance(error, CircuitOpen):
        span.set_status(Status(StatusCode.ERROR, kind))
