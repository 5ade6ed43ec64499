"""The cancel storm: workers whose operations are cancelled at random moments, and what they saw. Standard library only.

It serves any client: `storm.py` gives it tiercache's backend and cache, `storm_control.py` an old redis-py that must
fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

Operation = Callable[[random.Random], Awaitable[Mapping[str, str | None]]]
"""Does something with keys of its choice and returns what it read: the value of each key, None where there is none."""

KEYS = [f"key-{number:03}" for number in range(200)]


@dataclass
class Seen:
    """What the workers saw.

    Attributes:
        done: operations that came to their end.
        cancelled: operations that did not.
        wrong: values that belong to another key.
        values: values that were read.
        errors: how often each kind of error was raised.
    """

    done: int = 0
    cancelled: int = 0
    wrong: int = 0
    values: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str, number: int = 1) -> None:
        """Count errors of a kind."""
        self.errors[kind] = self.errors.get(kind, 0) + number

    async def end_of(self, operation: Awaitable[Mapping[str, str | None]]) -> None:
        """Wait for the end of an operation, and check what it read."""
        try:
            self.read(await operation)
            self.done += 1
        except asyncio.CancelledError:
            self.cancelled += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            self.count(type(error).__name__)

    def read(self, found: Mapping[str, str | None]) -> None:
        """Check values, which begin with their key."""
        for key, value in found.items():
            if value is not None:
                self.values += 1
                self.wrong += not (isinstance(value, str) and value.startswith(f"{key} "))


def value(key: str, dice: random.Random) -> str:
    """Return a value of the key, of 20 to 4,000 characters."""
    return f"{key} " + "x" * dice.randrange(10, 4000)


async def storm(
    operations: list[Operation], *, workers: int, count: int, patience: float, seed: int, share: float = 0.5
) -> Seen:
    """Have each worker do `count` operations, one after another, and cancel `share` of them after a random time.

    Args:
        operations: of which each worker takes one after another at random.
        workers: how many work at the same time.
        count: operations of each.
        patience: seconds after which an operation is cancelled at the latest.
        seed: of the dice.
        share: how many are to be cancelled; some of these come to their end before.
    """
    seen = Seen()
    await asyncio.gather(
        *(_work(operations, count, patience, share, random.Random(seed + n), seen) for n in range(workers))
    )
    return seen


async def _work(
    operations: list[Operation], count: int, patience: float, share: float, dice: random.Random, seen: Seen
) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        task = asyncio.ensure_future(dice.choice(operations)(dice))
        timer = loop.call_later(dice.random() * patience, task.cancel) if dice.random() < share else None
        await seen.end_of(task)
        if timer is not None:
            timer.cancel()
