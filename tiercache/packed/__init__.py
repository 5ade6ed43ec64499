"""Packed segments: many entries in one immutable object, for stores where the request is what costs.

What an object is: `segment` (the format), `naming`. Where entries are: `pending` (not stored yet), `catalogue` over
`shards` (stored), `newest` (of the two). Changes: `changes` makes records, `writer` segments. `discovery` finds
segments: it lists `names`, reads `tails`, hears what it is `told`; what it found is `known`, what it cannot read is
set `aside`. `reader` and `ranges` read entries, `listing` lists them. `backend` is the whole, `beneath` what the store
beneath answers. Upkeep: `compaction`, `sweeping`, `erasing`, each a `round`; `lease`; `census` says what segments
hold, `rewriting` copies it, `report` tells; `lifecycle` lets the store delete by itself. `moving` brings entries here
from another backend, and back: from `origins` to `destinations`, with the `invalidations`.
"""

from .backend import PackedBackend
from .moves import MigrationReport
from .moving import amigrate, migrate
from .report import CompactionReport

__all__ = ["CompactionReport", "MigrationReport", "PackedBackend", "amigrate", "migrate"]
