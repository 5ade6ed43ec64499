"""The slots of a Redis Cluster: who owns which, and a command cut into the parts that one node can answer.

Servers refuse a command whose keys lie in several slots, even if one node owns all of them. What reads or removes many
keys is cut into one command a key; those of a node go out together, which is still one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tiercache.errors import BackendUnavailable, CorruptEntry, TiercacheError

from .address import Node
from .errors import NotServed
from .layout import Command, Reply

LEARN: Command = (b"CLUSTER", b"SLOTS")
START = b"0"
"""The first cursor of a listing, and the one after the last."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Who owns what.

    Attributes:
        owners: the primary of each of the 16,384 slots; None where there is none.
        primaries: all of them, in order.
        nodes: the primaries and their replicas.
    """

    owners: list[Node | None]
    primaries: list[Node]
    nodes: frozenset[Node]


def slot_map(reply: Reply, asked: Node) -> SlotMap:
    """Return what a node answered to CLUSTER SLOTS.

    Raises:
        BackendUnavailable: it knows of no slots, or its answer is none.
    """
    owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    nodes: set[Node] = set()
    try:
        for first, last, *servers in reply:
            # A node that was told no name of its own has the host that it was asked by.
            named = [((host or b"").decode() or asked[0], int(port)) for host, port, *_ in servers]
            owners[first : last + 1] = [named[0]] * (last + 1 - first)
            nodes.update(named)
    except (TypeError, ValueError, AttributeError, IndexError):
        raise BackendUnavailable("the answer to CLUSTER SLOTS cannot be read: check that the URL names Redis") from None
    primaries = sorted({owner for owner in owners if owner})
    if not primaries:
        raise BackendUnavailable("the node of the Redis Cluster knows of no slots: has it joined?")
    return SlotMap(owners, primaries, frozenset(nodes))


class Part:
    """A command for one node, and the reply to it.

    Attributes:
        command: what to send.
        slot: the slot of its key; None if it has none.
        node: who is to be asked; None if nobody owns the slot.
        asking: whether the node has the key although the slot is not its own yet.
        reply: what it answered, at last.
        broken: whether the reply is the failure of the whole round trip.
    """

    __slots__ = ("asking", "broken", "command", "node", "reply", "slot")

    def __init__(self, command: Command, slot: int | None, node: Node | None) -> None:
        self.command, self.slot, self.node = command, slot, node
        self.asking = self.broken = False
        self.reply: Reply = NotServed("no node of the Redis Cluster serves the key's slot", tier_wide=False)


Join = Callable[[list[Reply]], Reply]
"""Makes the reply to a command of the replies to its parts."""


def split(command: Command, slots: SlotMap) -> tuple[list[Part], Join]:
    """Return the parts of a command, and how their replies are put together."""
    name = command[0]
    if name == b"MGET":
        return [_of_key((b"GET", key), key, slots) for key in command[1:]], _list
    if name == b"UNLINK" and command[2:]:
        return [_of_key((b"UNLINK", key), key, slots) for key in command[1:]], _sum
    if name in _OF_ALL:
        return [Part(command, None, node) for node in slots.primaries], _OF_ALL[name]
    if name == b"SCAN":
        node, cursor = _position(command[1], slots)
        return [Part((name, cursor, *command[2:]), None, node)], lambda replies: _page(replies[0], node, slots)
    key = command[3] if name == b"EVAL" else command[1]
    return [_of_key(command, key, slots)], _first


def _of_key(command: Command, key: Any, slots: SlotMap) -> Part:
    slot = key_slot(key)
    return Part(command, slot, slots.owners[slot])


def _error(replies: Iterable[Reply]) -> TiercacheError | None:
    return next((reply for reply in replies if isinstance(reply, TiercacheError)), None)


def _first(replies: list[Reply]) -> Reply:
    return _error(replies) or replies[0]


def _sum(replies: list[Reply]) -> Reply:
    return _error(replies) or sum(replies)


def _list(replies: list[Reply]) -> Reply:
    """Return a list that may hold errors; where GET complains of the type, MGET finds nothing."""
    return [None if isinstance(reply, CorruptEntry) else reply for reply in replies]


_OF_ALL: dict[Any, Join] = {b"PING": _first, b"TIME": _first, b"INFO": list}
"""What every primary is asked, and how their replies are put together."""

# A listing goes from primary to primary: its cursor is the node's own cursor and the node.


def _position(cursor: Any, slots: SlotMap) -> tuple[Node, bytes]:
    own, _, place = cursor.partition(b" ")
    host, _, port = place.decode().rpartition(" ")
    node = (host, int(port)) if place else None
    if node in slots.primaries:
        return node, own
    return slots.primaries[0], START  # the beginning, or again from there: the cursors of another node mean nothing


def _page(reply: Reply, node: Node, slots: SlotMap) -> Reply:
    if isinstance(reply, TiercacheError):
        return reply
    cursor, names = reply
    if cursor == START:
        following = [other for other in slots.primaries if other > node]
        if not following:
            return [START, names]
        node = following[0]
    return [b"%s %s %d" % (cursor, node[0].encode(), node[1]), names]
