"""How much the property tests and the fuzz do: TIERCACHE_TEST_SCALE=10 does ten times as much."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("TIERCACHE_TEST_SCALE", "1"))
