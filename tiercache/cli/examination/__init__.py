"""What `tiercache doctor` looks at: trials of each operation, the clock, what a bucket costs, and the chain as a whole.

A backend takes part with methods of its own, where it has them: `examine`, `server_time` and `allow`
(`tiercache.findings`).
"""

from .buckets import PLACE
from .chains import of_chain
from .tiers import TierReport, examine

__all__ = ["PLACE", "TierReport", "examine", "of_chain"]
