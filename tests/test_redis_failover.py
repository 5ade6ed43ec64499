"""A primary dies, or hands over: RedisBackend finds the next one without a restart, and no value is ever crossed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest
import redis

from tests.servers.support import had
from tests.test_redis import entry, until
from tests.test_redis_faults import SLACK
from tiercache import Cache, Tier, TierChain
from tiercache.errors import BackendError, PartialFailure
from tiercache.testing.servers import redis_cluster, redis_sentinels
from tiercache_redis import RedisBackend

TIMEOUT = 1.0
KEYS = [f"key-{number}" for number in range(60)]


class Traffic:
    """Reads, writes and batches on both faces, until told to stop; every value is checked.

    Attributes:
        wrong: values that are another key's.
        slow: seconds of operations that took longer than ten times what they were allowed.
        errors: the kinds of errors so far.
        done: operations of each face that went well so far.
    """

    def __init__(self, backend):
        self.backend, self.wrong, self.slow = backend, [], []
        self.errors, self.done = set(), {"blocking": 0, "awaited": 0}
        self.stop = threading.Event()

    def __enter__(self):
        self.threads = [
            threading.Thread(target=self.block, daemon=True),
            threading.Thread(target=asyncio.run, args=(self.wait(),), daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def goes_on(self):
        """Wait until both faces have served all keys and written all of them, from now on."""
        before = dict(self.done)
        until(lambda: all(self.done[face] > before[face] + 6 * len(KEYS) for face in self.done))

    def check(self, found):
        self.wrong += [key for key, each in found.items() if each is not None and each.payload != key.encode()]

    def block(self):
        while not self.stop.is_set():
            for key in KEYS:
                self.attempt("blocking", lambda key=key: self.backend.put(key, entry(key, key.encode(), ttl=600)))
                self.attempt("blocking", lambda key=key: self.check({key: self.backend.get(key)}))
            self.attempt("blocking", lambda: self.check(self.backend.get_many(KEYS)))

    def attempt(self, face, call):
        start = time.monotonic()
        try:
            call()
            self.done[face] += 1
        except BackendError as error:
            self.note(error)
        self.clock(start)

    async def wait(self):
        while not self.stop.is_set():
            for key in KEYS:
                await self.attempt_async(self.backend.aput(key, entry(key, key.encode(), ttl=600)))
                await self.attempt_async(self.backend.aget(key), lambda found, key=key: self.check({key: found}))
            await self.attempt_async(self.backend.aget_many(KEYS), self.check)

    async def attempt_async(self, call, check=lambda found: None):
        start = time.monotonic()
        try:
            check(await call)
            self.done["awaited"] += 1
        except BackendError as error:
            self.note(error)
        self.clock(start)
        await asyncio.sleep(0)

    def note(self, error):
        parts = error.failed.values() if isinstance(error, PartialFailure) else [error]
        self.errors |= {type(part).__name__ for part in parts}
        if isinstance(error, PartialFailure):
            self.check(error.results or {})

    def clock(self, start):
        if (took := time.monotonic() - start) > TIMEOUT * SLACK:
            self.slow.append(took)

    def went_well(self):
        assert self.wrong == []
        assert self.slow == []
        assert self.errors <= {"BackendUnavailable", "BackendTimeout"}


def role(url):
    """Return `master` or `slave`; nothing while it closes connections, as one does that changes."""
    try:
        with redis.Redis.from_url(url) as client:
            return client.role()[0].decode()
    except redis.ConnectionError:
        return ""


def info(url, section="replication"):
    with redis.Redis.from_url(url) as client:
        return client.info(section)


def in_step(primary, replica):
    """Whether the replica has all that the primary has."""
    ahead, behind = info(primary.url), info(replica.url)
    return behind.get("master_link_status") == "up" and behind["slave_repl_offset"] >= ahead["master_repl_offset"]


def by_role(*servers):
    """Return the primary and its replica, once the replica has all that the primary has."""
    until(lambda: {role(server.url) for server in servers} == {"master", "slave"})
    primary, replica = sorted(servers, key=lambda server: role(server.url) != "master")
    until(lambda: in_step(primary, replica))
    return primary, replica


@pytest.fixture(scope="module")
def pair():
    """A cluster, and the two servers of which one can take the other's place; who does changes."""
    with had(redis_cluster(node_timeout=1)) as cluster:
        yield cluster.url, (cluster.primaries[0], cluster.replica)


@pytest.fixture
def deployment():
    """Sentinels and what they watch."""
    with had(redis_sentinels(down_after=1)) as deployment:
        yield deployment


def test_a_primary_of_a_cluster_hands_over(pair):
    url, servers = pair
    primary, replica = by_role(*servers)
    backend = RedisBackend(url, timeout=TIMEOUT)
    with Traffic(backend) as traffic, redis.Redis.from_url(replica.url) as client:
        traffic.goes_on()
        client.execute_command("CLUSTER", "FAILOVER")
        until(lambda: (role(replica.url), role(primary.url)) == ("master", "slave"))
        traffic.goes_on()
    traffic.went_well()
    assert list(backend.get_many(KEYS)) == KEYS  # nothing was lost: it handed over
    backend.close()


def test_a_primary_of_a_cluster_dies(pair):
    url, servers = pair
    primary, replica = by_role(*servers)
    backend = RedisBackend(url, timeout=TIMEOUT)
    with Traffic(backend) as traffic:
        traffic.goes_on()
        os.kill(primary.pid, signal.SIGKILL)
        until(lambda: role(replica.url) == "master")
        traffic.goes_on()
        until(lambda: all(served(backend, key) for key in KEYS))
    traffic.went_well()
    assert "BackendUnavailable" in traffic.errors
    backend.close()


def test_a_primary_dies_where_sentinels_watch(deployment):
    backend = RedisBackend(deployment.url, timeout=TIMEOUT)
    with Traffic(backend) as traffic:
        traffic.goes_on()
        os.kill(deployment.primary.pid, signal.SIGKILL)
        until(lambda: role(deployment.replica.url) == "master")
        traffic.goes_on()
    traffic.went_well()
    assert "BackendUnavailable" in traffic.errors
    assert all(served(backend, key) for key in KEYS)
    backend.close()


@pytest.mark.slow
def test_a_primary_hands_over_where_sentinels_watch(deployment):
    backend = RedisBackend(deployment.url, timeout=TIMEOUT)
    with Traffic(backend) as traffic, redis.Redis.from_url(deployment.sentinels[0].url[:-2]) as sentinel:
        traffic.goes_on()
        sentinel.execute_command("SENTINEL", "FAILOVER", "main")
        until(lambda: (role(deployment.replica.url), role(deployment.primary.url)) == ("master", "slave"))
        traffic.goes_on()
    traffic.went_well()
    assert served(backend, KEYS[0])
    (reply,) = backend._connections.exchange([(b"ROLE",)], None, repeatable=True)
    assert reply[0] == b"master"
    backend.close()


def served(backend, key):
    """Whether the key can be written and read back."""
    try:
        backend.put(key, entry(key, key.encode(), ttl=600))
        return backend.get(key).payload == key.encode()
    except BackendError:
        return False


@pytest.mark.parametrize("make", [redis_cluster, redis_sentinels], ids=["cluster", "sentinel"])
@pytest.mark.slow
def test_a_cache_goes_on_while_a_silent_primary_is_replaced(make):
    with had(make()) as servers:
        primary = servers.primaries[0] if make is redis_cluster else servers.primary
        with Cache(TierChain(Tier(RedisBackend(servers.url), timeout=0.2))) as cache:
            for key in KEYS:
                cache.set(key, key)
            os.kill(primary.pid, signal.SIGSTOP)
            try:
                guard = time.monotonic() + 60
                while role(servers.replica.url) != "master":
                    assert time.monotonic() < guard
                    for key in KEYS:
                        assert cache.get_or_set(key, lambda key=key: key) == key
                until(lambda: all(is_back(cache, key) for key in KEYS))
            finally:
                os.kill(primary.pid, signal.SIGCONT)


def is_back(cache, key):
    cache.set(key, key)
    return cache.get(key) == key
