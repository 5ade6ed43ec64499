"""`Watched`: a flow that is seen through. What it asks its driver for passes by here, and becomes spans.

A flow hands out each operation as data (`tiercache.flow`), so a flow around it sees the operation, makes a span the
current one while the driver performs it, and watches the flows inside it as well. Nothing in the cache knows of it, and
a cache that is not instrumented has no such flow.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from ...call import Call
from ...computing.operations import Factory, Follow, Lead, Spawn
from ...flow import Background, Gather, Operation
from ...noted import watching
from .spans import AskedSpan, FlowSpan, Watch

T = TypeVar("T")
_BEHIND = {"_promote_remote": "promote", "_compare": "shadow"}
"""What flows in the background are called."""


class Watched(Coroutine[Any, Any, T]):
    """A flow around another one, to be run in that one's place by either driver.

    Args:
        flow: the one that is watched.
        watch: with what.
        span: the flow's; None: its operations belong to the span that is current where it runs.
    """

    def __init__(self, flow: Coroutine[Any, Any, T], watch: Watch, span: FlowSpan | None = None) -> None:
        self._flow = flow
        self._watch = watch
        self._span = span
        self._began = False
        self._before: Any = None
        self._asked: AskedSpan | None = None

    def send(self, value: Any, /) -> Any:
        """Go on with what the last operation came to."""
        self._begin()
        self._leave(value, None)
        try:
            operation = self._flow.send(value)
        except BaseException as end:
            self._finish(end)
            raise
        return self._enter(operation)

    def throw(self, error: Any, value: Any = None, traceback: Any = None, /) -> Any:
        """Go on with what the last operation raised."""
        self._leave(None, error)
        try:
            operation = self._flow.throw(error)
        except BaseException as end:
            self._finish(end)
            raise
        return self._enter(operation)

    def close(self) -> None:
        """Nobody finishes it."""
        self._flow.close()
        if self._asked is not None:
            self._asked.abandon()
        if self._span is not None:
            self._span.abandon()
            if watching.get() is self._span:
                watching.set(self._before)

    def __await__(self) -> Generator[Any, Any, T]:
        raise TypeError("a watched flow is run by a driver, not awaited by another flow")

    def _begin(self) -> None:
        if not self._began and self._span is not None:
            self._before = watching.get()
            watching.set(self._span)
            self._span.begin()
        self._began = True

    def _enter(self, operation: Operation[Any]) -> Operation[Any]:
        """Let an operation go to the driver, with the flows in it watched."""
        if isinstance(operation, Call) and operation.tier.local:
            return operation
        if self._span is not None:
            self._span.start()
        if isinstance(operation, Gather):
            operation.flows = [Watched(flow, self._watch) for flow in operation.flows]
        elif isinstance(operation, Background):
            name = getattr(operation.flow, "__name__", "")
            operation.flow = self._inner(operation.flow, _BEHIND.get(name, "background"), apart=True)
        elif isinstance(operation, Lead):
            operation.body = self._inner(operation.body, "flight")
        elif isinstance(operation, Spawn):
            operation.body = self._inner(operation.body, "refresh", apart=True)
        elif isinstance(operation, (Call, Factory)) or (isinstance(operation, Follow) and not operation.landing):
            self._asked = AskedSpan(operation, self._watch)
        return operation

    def _inner(self, flow: Coroutine[Any, Any, Any], name: str, *, apart: bool = False) -> Watched[Any]:
        return Watched(flow, self._watch, FlowSpan(self._watch, name, apart=apart))

    def _leave(self, result: Any, error: BaseException | None) -> None:
        if self._asked is not None:
            asked, self._asked = self._asked, None
            asked.over(result, error)

    def _finish(self, end: BaseException) -> None:
        if self._span is not None:
            watching.set(self._before)
            self._span.finish(None if isinstance(end, StopIteration) else end)
