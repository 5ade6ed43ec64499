"""Redis Cluster: the connections to each node, and who is asked through them (`routing`), blocking and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from tiercache.errors import BackendUnavailable, CacheClosed, TiercacheError
from tiercache.pool import DaemonPool

from .address import Address, Node
from .connections import Connections
from .errors import VENDOR_ERRORS
from .layout import Command, Reply
from .loops import Loops
from .routing import Answer, Ask, Router

AT_ONCE = 64
"""Threads at most that ask the second and further nodes of blocking batches; beyond, nodes are asked in turn."""

Timeout = Callable[[], float | None]


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)


class Nodes(Generic[C]):
    """What leads to each node, made when it is first asked; what leads to nodes that left is closed."""

    def __init__(self, make: Callable[[Node], C], router: Router) -> None:
        self._make = make
        self._router = router
        self._known: dict[Node, C] = {}
        self._slots = router.slots

    def __getitem__(self, node: Node) -> C:
        found = self._known.get(node)
        return self._known.setdefault(node, self._make(node)) if found is None else found

    def prune(self) -> None:
        """Close what leads to nodes that are no longer in the cluster."""
        slots = self._router.slots
        if slots is not self._slots and slots is not None:
            self._slots = slots
            for node in [node for node in list(self._known) if node not in slots.nodes]:
                if (gone := self._known.pop(node, None)) is not None:
                    gone.close()

    def all(self) -> list[C]:
        """Return everything that is there."""
        return list(self._known.values())


class ClusterConnections:
    """`Connections` to all nodes of a cluster.

    Args:
        address: one of its nodes.
        limit: how many connections there are at most to each node.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
        router: what is known of the cluster.
    """

    def __init__(self, address: Address, limit: int, timeout: Timeout, router: Router) -> None:
        Connections(address, limit, timeout)  # an option that redis-py refuses should be refused now
        self._nodes = Nodes(lambda node: Connections(address.at(node), limit, timeout), router)
        self._router = router
        self._others = DaemonPool(AT_ONCE, "tiercache-redis-nodes", max_queue=0)
        self._closed = False

    def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """`Connections.exchange`, the nodes all asked at the same time; redirections go on until `ends`."""
        self._nodes.prune()
        plan = self._router.exchange(commands, repeatable=repeatable)
        try:
            asks = next(plan)
            while True:
                asks = plan.send(self._ask_all(asks, ends))
        except StopIteration as stop:
            replies: list[Reply] = stop.value
            return replies

    def drop_idle(self) -> None:
        """Close the connections that nobody uses, and have the next caller learn who owns what."""
        self._router.doubt()
        for connections in self._nodes.all():
            connections.drop_idle()

    def open_apart(self) -> Any:
        """`Connections.open_apart`, to one node: what is published on any of them reaches all."""
        failure: Exception = BackendUnavailable("no node of the Redis Cluster answered")
        for node in self._router.candidates():
            try:
                return self._nodes[node].open_apart()
            except (TiercacheError, *VENDOR_ERRORS) as error:
                failure = error
        raise failure

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        self._closed = True
        self._others.close()
        for connections in self._nodes.all():
            connections.close()

    def _ask_all(self, asks: list[Ask], ends: float | None) -> list[Answer]:
        others = [self._begin(ask, ends) for ask in asks[1:]]
        first = self._ask(asks[0], ends)
        later = zip(asks[1:], others, strict=True)
        return [first, *(self._ask(ask, ends) if other is None else other.result() for ask, other in later)]

    def _begin(self, ask: Ask, ends: float | None) -> Future[Answer] | None:
        try:
            return self._others.submit(self._ask, ask, ends)
        except BackendUnavailable:  # no thread for it
            return None

    def _ask(self, ask: Ask, ends: float | None) -> Answer:
        try:
            return self._nodes[ask.node].exchange(ask.commands, _share(ask, ends), repeatable=ask.repeatable)
        except CacheClosed:
            return _closed(self._closed)
        except TiercacheError as error:
            return error


class ClusterLoops:
    """`Loops` for all nodes of a cluster. The arguments are those of `ClusterConnections`."""

    def __init__(self, address: Address, limit: int, timeout: Timeout, router: Router) -> None:
        Loops(address, limit, timeout)  # an option that redis-py refuses should be refused now
        self._nodes = Nodes(lambda node: Loops(address.at(node), limit, timeout), router)
        self._router = router

    async def here(self) -> ClusterLoops:
        """Return what asks from any loop."""
        return self

    async def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """`ClusterConnections.exchange`, awaited."""
        self._nodes.prune()
        plan = self._router.exchange(commands, repeatable=repeatable)
        try:
            asks = next(plan)
            while True:
                if len(asks) == 1:
                    answers = [await self._ask(asks[0], ends)]
                else:
                    answers = await asyncio.gather(*(self._ask(ask, ends) for ask in asks))
                asks = plan.send(answers)
        except StopIteration as stop:
            replies: list[Reply] = stop.value
            return replies

    def drop_idle(self) -> None:
        """`ClusterConnections.drop_idle`; each loop does so when it runs next."""
        self._router.doubt()
        for loops in self._nodes.all():
            loops.drop_idle()

    async def aclose(self) -> None:
        """Close the running loop's connections, and have the other loops close theirs."""
        for loops in self._nodes.all():
            await loops.aclose()

    def close(self) -> None:
        """Have each loop close its connections when it runs next."""
        for loops in self._nodes.all():
            loops.close()

    async def _ask(self, ask: Ask, ends: float | None) -> Answer:
        try:
            connections = await self._nodes[ask.node].here()
            return await connections.exchange(ask.commands, _share(ask, ends), repeatable=ask.repeatable)
        except TiercacheError as error:
            return error


def _share(ask: Ask, ends: float | None) -> float | None:
    if ends is None or ask.share == 1:
        return ends
    return ends - (ends - monotonic()) * (1 - ask.share)


def _closed(wholly: bool) -> BackendUnavailable:
    if wholly:
        raise CacheClosed("this RedisBackend")
    return BackendUnavailable("the node has just left the Redis Cluster")
