"""Who in a Redis Cluster is asked for what, and whom to ask when it is no longer there: decided here, done elsewhere.

A plan is a generator: it yields what to ask of which nodes, all at the same time, and is sent an answer of each.
The drivers are in `cluster`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tiercache.errors import BackendTimeout, BackendUnavailable, TiercacheError

from .address import Node
from .errors import NotServed, Redirected
from .layout import Command, Reply
from .slots import LEARN, Part, SlotMap, slot_map, split

T = TypeVar("T")

ROUNDS = 4
"""Times that a command is sent on before its caller is told."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Commands for a node, in one round trip.

    Attributes:
        node: who is asked.
        commands: for what.
        repeatable: whether it does no harm to send them twice.
        share: how much of the time that is left it may take.
    """

    node: Node
    commands: list[Command]
    repeatable: bool = True
    share: float = 1.0


Answer = list[Reply] | TiercacheError
"""A reply to each command, or why there are none."""
Plan = Generator[list[Ask], list[Answer], T]


class Router:
    """What is known of a cluster, for all threads and loops; it is replaced, never changed, and needs no lock.

    Args:
        seeds: nodes to ask first.
    """

    def __init__(self, seeds: Sequence[Node]) -> None:
        self.slots: SlotMap | None = None
        self._seeds = seeds
        self._doubted = True  # the next caller learns anew; the others go on meanwhile
        self._suspects: dict[Node, None] = {}  # did not answer: asked last

    def doubt(self) -> None:
        """Have the next caller ask who owns what; the others go on with what is known."""
        self._doubted = True

    def candidates(self) -> list[Node]:
        """Return all nodes that are known, those that are likely to answer first."""
        known = self.slots
        nodes = dict.fromkeys([*(known.primaries if known else ()), *(known.nodes if known else ()), *self._seeds])
        return sorted(nodes, key=lambda node: node in self._suspects)

    def exchange(self, commands: list[Command], *, repeatable: bool) -> Plan[list[Reply]]:
        """Have the commands answered by the nodes that own their keys.

        Raises:
            TiercacheError: no node answered. Where only some did not, their replies are errors.
        """
        slots = self.slots
        if slots is None or self._doubted:
            slots = yield from self._learn(slots)
        cut = [split(command, slots) for command in commands]
        parts = [part for its, _ in cut for part in its]
        waiting = parts
        for _ in range(ROUNDS):
            yield from self._round([part for part in waiting if part.node], repeatable)
            waiting = yield from self._again(waiting, slots, repeatable)
            if not waiting:
                break
        for part in waiting:
            part.reply = NotServed("the nodes of the Redis Cluster send from one to another: it is being changed")
        if all(part.broken for part in parts):
            raise parts[0].reply
        for part in parts:
            if isinstance(part.reply, NotServed):
                # The difference is for this file only.
                part.reply = BackendUnavailable(str(part.reply), tier_wide=part.reply.tier_wide)
        return [join([part.reply for part in its]) for its, join in cut]

    def _round(self, parts: list[Part], repeatable: bool) -> Plan[None]:
        by_node: dict[Node, list[Part]] = {}
        for part in parts:
            if part.node is not None:
                by_node.setdefault(part.node, []).append(part)
        groups = sorted(by_node.items(), key=lambda item: item[0] in self._suspects)
        asks = [Ask(node, _commands(its), repeatable) for node, its in groups]
        answers = (yield asks) if asks else []
        for (node, its), answer in zip(groups, answers, strict=True):
            if isinstance(answer, TiercacheError):
                self._suspects[node] = None
                for part in its:
                    part.reply, part.broken = answer, True
            else:
                replies = iter(answer)
                for part in its:
                    if part.asking:
                        next(replies)
                    part.reply, part.broken = next(replies), False

    def _again(self, parts: list[Part], slots: SlotMap, repeatable: bool) -> Plan[list[Part]]:
        """Return the parts that another node may answer, which they now name."""
        again: list[Part] = []
        lost: list[Part] = []
        for part in parts:
            reply = part.reply
            if isinstance(reply, Redirected):
                host = part.node[0] if part.node else ""
                part.node, part.asking = (reply.node[0] or host, reply.node[1]), reply.once
                again.append(part)
                self._doubted = self._doubted or not reply.once
            elif isinstance(reply, NotServed) or (part.broken and isinstance(reply, BackendUnavailable)):
                lost.append(part)
            elif part.broken and isinstance(reply, BackendTimeout):
                self._doubted = True
        if lost:
            try:
                slots = yield from self._learn(slots)
            except TiercacheError:
                return again  # what the parts hold says it better
            for part in lost:
                owner = None if part.slot is None else slots.owners[part.slot]
                done_nothing = isinstance(part.reply, NotServed)
                if owner not in (None, part.node) and (repeatable or done_nothing):
                    part.node, part.asking = owner, False
                    again.append(part)
                elif not done_nothing:  # another node has just answered
                    part.reply = BackendUnavailable(
                        str(part.reply), retry_after=part.reply.retry_after, tier_wide=False
                    )
        return again

    def _learn(self, known: SlotMap | None) -> Plan[SlotMap]:
        """Ask who owns what, of one node after another until one answers."""
        if self.slots is not None and self.slots is not known:
            return self.slots  # another caller was quicker
        self._doubted = False
        failure: TiercacheError = BackendUnavailable("no node of the Redis Cluster answered")
        candidates = self.candidates()
        for number, node in enumerate(candidates, 1):
            (answer,) = yield [Ask(node, [LEARN], share=0.5 if number < len(candidates) else 1.0)]
            try:
                if isinstance(answer, TiercacheError):
                    raise answer
                (reply,) = answer
                if isinstance(reply, TiercacheError):
                    raise reply
                self.slots = slots = slot_map(reply, node)
            except TiercacheError as error:
                self._suspects[node] = None
                failure = error
            else:
                self._suspects.pop(node, None)
                return slots
        self._doubted = True
        raise failure


def _commands(parts: list[Part]) -> list[Command]:
    commands: list[Command] = []
    for part in parts:
        if part.asking:
            commands.append((b"ASKING",))
        commands.append(part.command)
    return commands
