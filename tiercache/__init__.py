"""tiercache: a cache for LLM responses and embeddings in tiers: memory, Redis, an object store."""

from .backend import Backend
from .cache import Cache
from .chain import TierChain, TierHealth
from .disk import DiskBackend
from .entry import Entry, Metadata
from .errors import StorageClassWarning, TiercacheError
from .eviction import EvictionPolicy
from .health.breaker import BreakerPolicy
from .memory import MemoryBackend
from .options import Computed
from .result import Result
from .sealing.keyring import KeyRing
from .shutdown import drain_on_sigterm
from .stats import Stats, TierStats
from .storage_class import StorageClassRule
from .tier import Tier

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BreakerPolicy",
    "Cache",
    "Computed",
    "DiskBackend",
    "Entry",
    "EvictionPolicy",
    "KeyRing",
    "MemoryBackend",
    "Metadata",
    "Result",
    "Stats",
    "StorageClassRule",
    "StorageClassWarning",
    "Tier",
    "TierChain",
    "TierHealth",
    "TierStats",
    "TiercacheError",
    "__version__",
    "drain_on_sigterm",
]
