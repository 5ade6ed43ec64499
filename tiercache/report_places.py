"""Where processes leave their reports in a store, so that others find all of them without a walk through its keys.

A store that lists by prefix keeps each under the id of its process. In one that does not (Redis), there is a fixed
number of places with names that everybody knows: a process takes a free one, and who wants to read asks for all.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from .backend import Backend
from .entry import Entry
from .errors import BackendUnavailable
from .keys import RESERVED
from .tier import Tier

PREFIX = f"{RESERVED}:report:"
PLACES = 4096
"""Processes that a store without listings shows at most; to ask for so many costs it some milliseconds."""
_TRIES = 16


class Place:
    """The place of one process's reports in a tier; taken anew once it has not been renewed in time.

    Args:
        store: which keeps the tier's entries.
        id: of the process.
    """

    def __init__(self, store: Backend, id: str) -> None:
        self._is_numbered = not store.lists_by_prefix
        self._key = None if self._is_numbered else PREFIX + id
        self._until = 0.0

    def put(self, tier: Tier, entry_at: Callable[[str], Entry], now: float, until: float) -> None:
        """Leave a report in it.

        Args:
            tier: which takes it.
            entry_at: makes the entry of a key.
            now, until: as the report says.

        Raises:
            BackendError, ConfigurationError: as the tier does; or no place is free.
        """
        if self._key is None or (self._is_numbered and now >= self._until):
            self._key = self._taken(tier, entry_at)
        else:
            tier.put(self._key, entry_at(self._key)).perform()
        self._until = until

    def _taken(self, tier: Tier, entry_at: Callable[[str], Entry]) -> str:
        for number in random.sample(range(PLACES), _TRIES):
            key = _numbered(number)
            if tier.put(key, entry_at(key), if_absent=True).perform():
                return key
        raise BackendUnavailable("no place is free for the report of this process", tier_wide=False)


def keys_in(store: Backend) -> list[str]:
    """Return the keys under which reports may lie in a store: those that it lists, or all places."""
    if store.lists_by_prefix:
        return [key for key, _ in store.scan(PREFIX)]
    return [_numbered(number) for number in range(PLACES)]


def _numbered(number: int) -> str:
    return f"{PREFIX}{number:04d}"
