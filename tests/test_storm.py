"""A small cancel storm (the large one is `make storm`): nobody gets another's answer, and nothing stays behind."""

from __future__ import annotations

import pytest

from scripts import storm
from tiercache.testing import FaultProxy
from tiercache_redis.link import Link
from tiercache_redis.loops import LoopConnections

SIZE = {"workers": 20, "count": 40, "seed": 20261126}


@pytest.fixture
def proxy(redis_url):
    with FaultProxy(redis_url) as proxy:
        proxy.inject("latency", seconds=storm.LATENCY)
        yield proxy


@pytest.mark.parametrize("run", [storm.on_backend, storm.on_cache], ids=["backend", "cache"])
async def test_operations_that_are_cancelled_at_random_leave_no_trace(redis_url, proxy, run):
    result = await run(redis_url, proxy.address, **SIZE)
    assert result.is_clean(), result
    assert result.kept <= storm.CONNECTIONS
    assert result.seen.cancelled > 100
    assert result.seen.done > 100
    assert result.seen.values > 100


async def test_the_storm_catches_connections_that_keep_an_answer(redis_url, proxy, monkeypatch):
    async def careless(self, link, commands, ends, replies, *, probe=False):
        try:
            await link.talk(commands, ends, replies, probe=probe)
        finally:
            self._idle.append(link)
            self._wake()

    async def read(self):
        return await self._connection.read_response(disconnect_on_error=False)  # redis-py is careful, too

    monkeypatch.setattr(LoopConnections, "_talk", careless)
    monkeypatch.setattr(Link, "_read", read)
    result = await storm.on_backend(redis_url, proxy.address, **SIZE)
    # An answer that is another's is noticed even then: an envelope is bound to its key.
    assert result.seen.wrong == 0
    assert result.seen.errors
    assert not result.is_clean()
