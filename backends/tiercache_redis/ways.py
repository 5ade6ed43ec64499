"""The way to Redis that a URL asks for: one server, a cluster, or the primary that sentinels name."""

from __future__ import annotations

from collections.abc import Callable

from .address import Address
from .cluster import ClusterConnections, ClusterLoops
from .connections import Connections
from .loops import Loops
from .routing import Router
from .sentinel import SentinelConnections, SentinelLoops, Sentinels


def ways(
    address: Address, limit: int, timeout: Callable[[], float | None]
) -> tuple[Connections | ClusterConnections, Loops | ClusterLoops]:
    """Return the connections of the blocking and of the awaited face; nothing is connected yet.

    Args:
        address: where they lead.
        limit: how many there are at most (of a cluster, to each node), and in each loop.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
    """
    if address.kind == "cluster":
        router = Router(address.nodes)
        return ClusterConnections(address, limit, timeout, router), ClusterLoops(address, limit, timeout, router)
    if address.kind == "sentinel":
        sentinels = Sentinels(address)
        return SentinelConnections(address, limit, timeout, sentinels), SentinelLoops(
            address, limit, timeout, sentinels
        )
    return Connections(address, limit, timeout), Loops(address, limit, timeout)
