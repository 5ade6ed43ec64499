"""Redis with sentinels: each new connection first asks them who the primary is.

A connection lives until something goes wrong on it. Sentinels that demote a server close its connections, so that
whoever used it asks again; a server that falls silent costs a deadline, after which all its idle connections go.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    TiercacheError,
)

from .address import Address, Node
from .connections import CLASSES, Connections, connected, connecting_ends, connection_arguments, talk
from .errors import VENDOR_ERRORS, mapped
from .layout import Command, Reply, value
from .link import Link
from .loops import CLASSES as AWAITED_CLASSES
from .loops import LoopConnections, Loops, linked

_ROLE: Command = (b"ROLE",)
_WRONG_SERVER = (BackendTimeout, BackendUnavailable)


class Sentinels:
    """Some sentinels, and what to ask of them; the one that answered last is asked first.

    Args:
        address: where they are, and how their service is called.
    """

    def __init__(self, address: Address) -> None:
        own = connection_arguments(address)
        # The credentials in the URL are the primary's: a sentinel gets those that are for sentinels, or none.
        for name in ("username", "password", "db", "host", "port"):
            own.pop(name, None)
        self._arguments = {**own, **address.sentinel}
        self._scheme = address.scheme
        self._question: Command = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", address.service.encode())
        self._nodes = list(address.nodes)

    def primary(self, ends: float | None) -> Node:
        """Return where the primary is.

        Raises:
            TiercacheError: no sentinel says so before `ends`.
        """
        failure: TiercacheError = BackendUnavailable("no sentinel answered")
        for node, until in self._turns(ends):
            replies: list[Reply] = []
            try:
                sentinel = connected(CLASSES[self._scheme], self._at(node), until)
                try:
                    talk(sentinel, [self._question], until, replies)
                finally:
                    sentinel.disconnect()
                return self._answered(node, replies[0])
            except (TiercacheError, *VENDOR_ERRORS) as error:
                failure = _failure(error)
        raise failure

    async def aprimary(self, ends: float | None) -> Node:
        """`primary`, awaited."""
        failure: TiercacheError = BackendUnavailable("no sentinel answered")
        for node, until in self._turns(ends):
            replies: list[Reply] = []
            try:
                sentinel = await linked(AWAITED_CLASSES[self._scheme], self._at(node), until)
                try:
                    await sentinel.talk([self._question], until, replies)
                finally:
                    await sentinel.close()
                return self._answered(node, replies[0])
            except (TiercacheError, *VENDOR_ERRORS) as error:
                failure = _failure(error)
        raise failure

    def _turns(self, ends: float | None) -> list[tuple[Node, float | None]]:
        """Return whom to ask until when: a silent one leaves the others time."""
        now, nodes = monotonic(), self._nodes
        if ends is None:
            return [(node, None) for node in nodes]
        share = (ends - now) / len(nodes)
        return [(node, now + share * number) for number, node in enumerate(nodes, 1)]

    def _at(self, node: Node) -> dict[str, Any]:
        return {**self._arguments, "host": node[0], "port": node[1]}

    def _answered(self, node: Node, reply: Reply) -> Node:
        if isinstance(reply, ConfigurationError):  # it does not know the question
            raise ConfigurationError(
                "a server that the URL names is no sentinel: name the sentinels, whose port is mostly 26379, or write "
                "redis:// for a server of its own"
            )
        place = value(reply)
        if place is None:
            raise ConfigurationError("the sentinels know no primary of the name in the URL: compare it with theirs")
        self._nodes = [node, *(other for other in self._nodes if other != node)]
        return place[0].decode(), int(place[1])


class SentinelConnections(Connections):
    """`Connections` to the primary of the moment.

    Args:
        address: what all its servers have in common.
        limit: how many connections there are at most.
        timeout: returns the seconds that an exchange may take; None: as long as it likes.
        sentinels: who know where it is.
    """

    def __init__(self, address: Address, limit: int, timeout: Callable[[], float | None], sentinels: Sentinels) -> None:
        super().__init__(address, limit, timeout)
        self._sentinels = sentinels
        self._primary: Node | None = None

    def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        """`Connections.exchange`; after a failure the next one begins at the sentinels."""
        try:
            return super().exchange(commands, ends, repeatable=repeatable)
        except _WRONG_SERVER:
            self.drop_idle()
            raise

    def _connect(self, **options: Any) -> Any:
        ends = connecting_ends(self._timeout())
        primary = self._sentinels.primary(ends)
        if primary != self._primary:
            self._primary = primary
            self.drop_idle()
        arguments = {**self._arguments, **options, "host": primary[0], "port": primary[1]}
        connection = connected(self._class, arguments, ends)
        replies: list[Reply] = []
        try:
            talk(connection, [_ROLE], ends, replies)
            _check_role(replies[0])
        except BaseException:
            connection.disconnect()
            raise
        return connection


class _LoopConnections(LoopConnections):
    async def exchange(self, commands: list[Command], ends: float | None, *, repeatable: bool) -> list[Reply]:
        try:
            return await super().exchange(commands, ends, repeatable=repeatable)
        except _WRONG_SERVER:
            await self._drop_idle()
            raise


class SentinelLoops(Loops):
    """`Loops` whose connections lead to the primary of the moment. The arguments are those of `SentinelConnections`."""

    def __init__(self, address: Address, limit: int, timeout: Callable[[], float | None], sentinels: Sentinels) -> None:
        super().__init__(address, limit, timeout)
        self._kind = _LoopConnections
        self._sentinels = sentinels

    async def _open(self) -> Link:
        ends = connecting_ends(self._timeout())
        host, port = await self._sentinels.aprimary(ends)
        link = await linked(self._class, {**self._arguments, "host": host, "port": port}, ends)
        replies: list[Reply] = []
        try:
            await link.talk([_ROLE], ends, replies)
            _check_role(replies[0])
        except BaseException:
            await link.close()
            raise
        return link


def _check_role(reply: Reply) -> None:
    if isinstance(reply, AccessDenied):  # to ask for its role is not allowed to everyone
        return
    if value(reply)[0] != b"master":
        raise BackendUnavailable("the server that the sentinels call the primary is none: a failover is under way")


def _failure(error: BaseException) -> TiercacheError:
    ours = error if isinstance(error, TiercacheError) else mapped(error)
    if isinstance(ours, AccessDenied):
        return AccessDenied("the sentinels want credentials: name them with ?sentinel_password=… in the URL")
    return ours
