"""The names of spans, events and attributes. They stay as they are; `docs/observability.md` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMESPACE: Final = "tiercache.namespace"
OPERATION: Final = "tiercache.operation"
OUTCOME: Final = "tiercache.outcome"
TIER: Final = "tiercache.tier"
REASON: Final = "tiercache.reason"
KEYS: Final = "tiercache.keys"
BATCH_SIZE: Final = "tiercache.batch.size"
BATCH_HITS: Final = "tiercache.batch.hits"
INTERNAL: Final = "tiercache.internal"
ERROR_TYPE: Final = "error.type"

SPANS: Mapping[str, str] = {
    "tiercache.{operation}": "an operation of a cache that left memory: `get`, `set`, `get_or_set`, `get_many` …",
    "tiercache.flight": "the look at the tiers, and the computation, on behalf of all who ask for a key at this time",
    "tiercache.factory": "the caller's function; spans of an SDK that it calls are below it",
    "tiercache.wait": "waiting for a computation that somebody else began",
    "tiercache.refresh": "a computation in the background; a trace of its own, linked to the call that found it due",
    "tiercache.promote": "a copy into a faster store; a trace of its own, linked to the call that found the entry",
    "tiercache.shadow": "a look into a tier in shadow, to compare; a trace of its own, linked to the read",
    "tiercache.write_behind": "what was queued is written; a trace of its own",
    "tiercache.tier.{operation}": "one operation on one tier: `get`, `put` …; spans of the store's client are below it",
}
"""Each span, and what it stands for."""
EVENTS: Mapping[str, str] = {
    "tiercache.passed_over": "a tier held something and did not answer: which, why, for how many keys",
    "tiercache.answered": "of a batch: how many keys were had from which tier, and how",
}
"""Each event of a span."""
ATTRIBUTES: Mapping[str, str] = {
    NAMESPACE: "the cache's namespace",
    OPERATION: "what was asked of the cache or of the tier",
    OUTCOME: "of a read: `hit`, `stale`, `computed`, `shared` (with another caller), `partial` (a batch), `miss`; "
    "of a tier: `found`, `partial`, `absent`, `refused` (not asked: its breaker is open), `failed`",
    TIER: "the name of the tier that was asked; of an operation of a cache: that answered",
    REASON: "why a tier did not answer",
    KEYS: "for how many keys",
    BATCH_SIZE: "the keys of a batch",
    BATCH_HITS: "those that were found",
    INTERNAL: "true where the tier was asked for marks of what was invalidated, not for an entry",
    ERROR_TYPE: "the class of the error; neither message nor stack, which may quote a key or a value",
}
"""Each attribute of spans and events."""
