"""Deleting what was invalidated, and nothing that was made since: tier by tier, by the moment of each entry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from .. import keys
from ..cache import Cache
from ..errors import BackendError, PartialFailure
from ..objectstore import ObjectStoreBackend
from ..objectstore.faults import Conflict, Refused
from ..packed import PackedBackend
from ..tier import Tier
from .contents import Found, Selection, Walk, is_dead

BATCH = 100
"""Entries that are looked at once more, payloads and all, and deleted together."""
BATCH_OF_OBJECTS = 1000
"""Objects of which only names and versions are kept until they are deleted."""
PATIENCE = 60.0
"""Seconds for a batch."""


def purge(cache: Cache, tier: Tier, selection: Selection, progress: Callable[[int], object]) -> set[str]:
    """Delete the dead entries of a selection from one tier; return their full keys.

    What was stored anew since it was listed stays: object stores delete by the version that was seen; elsewhere each
    entry is looked at once more just before. Packed segments lose what is dead when they are compacted.

    Args:
        cache: on the tier's chain.
        tier: where.
        selection: which of the invalidated entries.
        progress: called with each number of entries that are gone.
    """
    removed: set[str] = set()
    if isinstance(tier.backend, PackedBackend):
        return removed
    dead = (found for found in Walk(cache, tier, selection, full=True) if found.dead)
    for batch in _batches(dead, BATCH_OF_OBJECTS if isinstance(tier.backend, ObjectStoreBackend) else BATCH):
        gone = _delete(cache, tier, batch)
        removed |= gone
        progress(len(gone))
    return removed


def _batches(found: Iterator[Found], most: int) -> Iterator[list[Found]]:
    while batch := list(islice(found, most)):
        yield batch


def _delete(cache: Cache, tier: Tier, batch: list[Found]) -> set[str]:
    backend, due = tier.backend, time.monotonic() + PATIENCE
    if isinstance(backend, ObjectStoreBackend):
        return _delete_versions(backend, batch, due)
    dead = _still_dead(cache, tier, batch, due)
    backend.delete_many(dead, deadline=due)
    return set(dead)


def _delete_versions(backend: ObjectStoreBackend, batch: list[Found], due: float) -> set[str]:
    named = {backend.prefix + keys.object_name(found.full): found for found in batch}
    gone: set[str] = set()
    names = iter(named)
    while some := list(islice(names, backend.objects.bulk_delete)):
        errors = backend.objects.remove_many({name: named[name].metadata.etag for name in some}, deadline=due)
        failed: dict[str, BackendError] = {
            named[name].full: error for name, error in errors.items() if not isinstance(error, (Refused, Conflict))
        }
        if failed:
            raise PartialFailure(failed)
        gone |= {named[name].full for name in some if name not in errors}
    return gone


def _still_dead(cache: Cache, tier: Tier, batch: list[Found], due: float) -> list[str]:
    """Those of which the copy that is there now was invalidated, too."""
    now = tier.backend.get_many([found.full for found in batch], deadline=due)
    spaces = {found.namespace: cache.chain.epochs.space(found.namespace) for found in batch}
    return [full for full, entry in now.items() if is_dead(spaces[full.partition(":")[0]], tier, entry.metadata)]
