"""What must be made anew in a forked child: locks that a thread of the parent may have held, work that stayed there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with a lock or with threads."""

    def after_fork(self) -> None:
        """Make locks and tables of work in progress anew; called in the child, which has one thread."""
        ...


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(thing: Forkable) -> None:
    """Call `thing.after_fork()` in every child forked from now on, as long as `thing` lives."""
    _known.add(thing)


def _after_fork() -> None:
    for thing in list(_known):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
