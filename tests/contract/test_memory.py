"""The memory backend fulfils the contract under every eviction policy, with a clock that moves only when told to."""

from __future__ import annotations

import pytest

from tests.conftest import FakeClock
from tiercache import EvictionPolicy, MemoryBackend
from tiercache.testing import BackendContract


class TestMemory(BackendContract):
    supports_raw = False  # it keeps slots, no envelopes
    honours_deadline = False  # it never waits for anything

    @pytest.fixture(params=list(EvictionPolicy))
    def backend(self, request, clock):
        self.clock: FakeClock = clock
        backend = MemoryBackend(eviction=request.param, clock=clock)
        yield backend
        backend.close()

    def now(self):
        return self.clock()

    def advance(self, seconds):
        self.clock.advance(seconds)
