"""RedisBackend on a Redis Cluster: URLs, slots, redirections, dead nodes (failovers: test_redis_failover.py)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import redis
from redis.crc import key_slot

from scripts.storm import of_backend, storm
from tests.peers import silence
from tests.test_redis import connections, entry, name_of_client, until
from tests.test_redis_faults import both, takes_at_most
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.coherence.notice import Letter
from tiercache.errors import (
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    CorruptEntry,
    MissingExtra,
    PartialFailure,
)
from tiercache.testing.servers import ports
from tiercache.testing.servers.redis import running
from tiercache_redis import RedisBackend
from tiercache_redis.address import parse
from tiercache_redis.cluster import ClusterConnections
from tiercache_redis.connections import Connections
from tiercache_redis.loops import LoopConnections

CANARY = "s3cr3t-canary"


@pytest.fixture
def nodes(redis_cluster):
    """A client of each of the three primaries."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(redis.Redis.from_url(node.url)) for node in redis_cluster.primaries]


@pytest.fixture
def make(redis_cluster):
    made = []
    below = f"{uuid.uuid4().hex}:"

    def make(url=redis_cluster.url, **options):
        made.append(RedisBackend(url, **{"prefix": below, "timeout": 10, **options}))
        return made[-1]

    make.below = below
    yield make
    for backend in made:
        backend.close()
    with redis.RedisCluster.from_url(redis_cluster.primaries[0].url) as client:
        client.flushall()


@pytest.fixture
def stocked(make):
    """The keys of a hundred entries, whose payloads they are; every node has some."""
    keys = [f"key-{number}" for number in range(100)]
    make().put_many({key: entry(key, key.encode(), ttl=600) for key in keys})
    return keys


def place(server):
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def router(backend):
    return backend._connections._router


def slot_of(make, key):
    return key_slot(f"{make.below}{key}".encode())


def owner(make, key):
    """Return the number of the primary that has the key."""
    return min(slot_of(make, key) // 5461, 2)


def key_on(make, number):
    """Return a new key of that primary."""
    return next(key for key in iter(lambda: uuid.uuid4().hex, None) if owner(make, key) == number)


def lead_astray(backend, wrong, right):
    """Make the backend believe that a node is at another place."""
    slots = router(backend).slots
    router(backend).slots = replace(
        slots,
        owners=[wrong if node == right else node for node in slots.owners],
        primaries=sorted(wrong if node == right else node for node in slots.primaries),
        nodes=slots.nodes | {wrong},
    )


# URLs


@pytest.mark.parametrize(
    ("url", "scheme", "kind", "nodes", "service"),
    [
        ("redis+cluster://one", "redis", "cluster", [("one", 6379)], ""),
        ("redis+cluster://u:p%40@one:1,two:2/?timeout=1", "redis", "cluster", [("one", 1), ("two", 2)], ""),
        ("rediss+cluster://u:p%40@[::1]:1,two/0", "rediss", "cluster", [("::1", 1), ("two", 6379)], ""),
        ("redis+sentinel://one/main", "redis", "sentinel", [("one", 26379)], "main"),
        ("rediss+sentinel://u:p%40@one:1,two/a%20b/0", "rediss", "sentinel", [("one", 1), ("two", 26379)], "a b"),
    ],
)
def test_a_url_names_several_hosts(url, scheme, kind, nodes, service):
    address = parse(url)
    assert (address.scheme, address.kind, [*address.nodes], address.service) == (scheme, kind, nodes, service)
    if "@" in url:
        assert (address.connection["username"], address.connection["password"]) == ("u", "p@")
    assert "p@" not in repr(address)
    RedisBackend(url).close()


@pytest.mark.parametrize(
    "url",
    [
        f"redis+proxy://user:{CANARY}@one",
        f"http+cluster://user:{CANARY}@one",
        f"redis+cluster://user:{CANARY}@",
        f"redis+cluster://user:{CANARY}@one,",
        f"redis+cluster://user:{CANARY}@one:port,two",
        f"redis+cluster://user:{CANARY}@one,two:port",
        f"redis+cluster://user:{CANARY}/x@one,two",
        f"redis+cluster://user:{CANARY}#x@one,two",
        f"redis+cluster://user:?{CANARY}@one,two",
        f"redis+cluster://one,two/{CANARY}",
        f"redis+cluster://one?sentinel_password={CANARY}",
        f"redis+sentinel://user:{CANARY}@one,two",
        f"redis+sentinel://user:{CANARY}@one,two/main/first",
        f"redis+sentinel://[{CANARY}/main",
    ],
)
def test_a_url_that_cannot_be_meant_is_a_configuration_error_and_is_not_quoted(url):
    with pytest.raises(ConfigurationError) as caught:
        RedisBackend(url)
    error = caught.value
    assert CANARY not in f"{error} {error!r} {error.__context__} {error.__cause__}"


@pytest.mark.parametrize(
    "place",
    [
        "redis+cluster://u:{}@one:7000,two:7001",
        "rediss+cluster://u:{}@one:7000,two:7001/",
        "redis+sentinel://u:{}@one,two/main",
        "rediss+sentinel://u:{}@one,two/main/0",
    ],
)
def test_a_chain_is_made_of_these_urls_too(place):
    chain = TierChain.from_urls(f"{place.format(CANARY)}?timeout=50ms")
    (tier,) = chain.tiers
    assert isinstance(tier.backend, RedisBackend)
    assert tier.name == "redis"
    assert tier.backend.timeout == 0.05
    assert CANARY not in f"{chain!r} {tier!r} {tier.backend!r}"


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: [])
    with pytest.raises(MissingExtra, match=r"tiercache\[redis\]"):
        TierChain.from_urls("redis+cluster://one")


def test_the_constructor_does_no_io():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        RedisBackend(f"redis+cluster://127.0.0.1:{server.getsockname()[1]}").close()
        with pytest.raises(BlockingIOError):
            server.accept()


# Slots


async def test_a_batch_is_one_round_trip_to_each_node(make, stocked, monkeypatch):
    backend = make()
    await both(backend, "ping")
    asked = []
    for kind in (Connections, LoopConnections):
        exchange = kind.exchange
        monkeypatch.setattr(
            kind,
            "exchange",
            lambda self, commands, *args, exchange=exchange, **options: (
                asked.append(len(commands)) or exchange(self, commands, *args, **options)
            ),
        )
    for name, argument in [
        ("get_many", stocked),
        ("put_many", {key: entry(key, key.encode()) for key in stocked}),
        ("delete_many", stocked),
    ]:
        asked.clear()
        await both(backend, name, argument)
        assert len(asked) == 6  # three of each face
        assert sum(asked) == 200


async def test_an_entry_lies_on_the_node_of_its_slot(make, nodes, stocked):
    holding = [{name.decode() for name in node.scan_iter(f"{make.below}*")} for node in nodes]
    assert all(holding)
    assert holding == [{make.below + key for key in stocked if owner(make, key) == number} for number in range(3)]


async def test_keys_with_a_hash_tag_lie_together(make, nodes):
    backend = make(prefix=f"{{{make.below}}}")
    keys = [str(number) for number in range(50)]
    await both(backend, "put_many", {key: entry(key) for key in keys})
    assert sorted(node.dbsize() for node in nodes) == [0, 0, 50]
    for found in await both(backend, "get_many", keys):
        assert list(found) == keys


async def test_a_batch_keeps_the_order_of_its_keys(make, stocked):
    for found in await both(make(), "get_many", [*reversed(stocked), "absent"]):
        assert [(key, each.payload.decode()) for key, each in found.items()] == [
            (key, key) for key in reversed(stocked)
        ]


async def test_foreign_values_fail_as_on_one_server(make, nodes, stocked):
    backend = make()
    lists, bad = key_on(make, 0), key_on(make, 1)
    nodes[0].rpush(make.below + lists, "x")
    nodes[1].set(make.below + bad, b"foreign")
    for error in await both(backend, "get", lists):
        assert isinstance(error, CorruptEntry)
    for error in await both(backend, "get_many", [*stocked, lists, bad]):
        assert isinstance(error, PartialFailure)
        assert list(error.results) == stocked
        assert list(error.failed) == [bad]


async def test_a_listing_goes_through_all_nodes(make):
    backend = make()
    keys = {f"{number:05}" for number in range(4000)}
    backend.put_many({key: entry(key, b"", ttl=600) for key in keys})
    backend.put("other", entry("other"))
    for full in (False, True):
        assert {key for key, _ in backend.scan("0", full=full)} == keys
        assert {key async for key, _ in backend.ascan("0", full=full)} == keys
    assert backend.clear("00") == 1000
    assert await backend.aclear("0") == 3000
    assert backend.get("other") is not None


async def test_a_listing_whose_node_is_gone_begins_again(make, stocked, redis_cluster):
    backend = make()
    listing = backend.scan()
    first, _ = next(listing)
    lead_astray(backend, ("127.0.0.1", 1), place(redis_cluster.primaries[0]))
    router(backend)._doubted = True
    assert {first, *(key for key, _ in listing)} == set(stocked)


# Redirections


def answer(peer, reply, until=None):
    """Answer each command so, until one of this name comes; return that."""
    while data := peer.recv(65536):
        if until and until in data:
            return data
        peer.sendall(reply * len(re.findall(rb"\*\d+\r\n\$", data)))
    return b""


@contextlib.contextmanager
def moved(nodes, slot, source, target):
    """Give an empty slot of one node to another for a while."""
    ids = [node.execute_command("CLUSTER", "MYID") for node in nodes]

    def give(to, others):
        for number in (to, *others):
            nodes[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[to])

    give(target, (source, 3 - source - target))
    try:
        yield
    finally:
        for node in nodes:
            node.flushall()
        give(source, (target, 3 - source - target))


async def test_a_slot_that_moved_is_followed_and_remembered(make, nodes, redis_cluster):
    backend = make()
    for face in (0, 1):
        await both(backend, "ping")
        key = key_on(make, 0)
        with moved(nodes, slot_of(make, key), 0, 2):
            put = backend.put(key, entry(key)) if face == 0 else await backend.aput(key, entry(key))
            assert put
            assert nodes[2].exists(make.below + key)
            assert all(await both(backend, "get", key))
            assert router(backend).slots.owners[slot_of(make, key)] == place(redis_cluster.primaries[2])
            assert backend.put(key, entry(key), if_absent=True) is False
            assert await both(backend, "delete", key) == [True, False]
        await both(backend, "get", key)


async def test_every_operation_follows_a_redirection(make, nodes, stocked):
    backend = make()
    await both(backend, "ping")
    key = key_on(make, 1)
    with moved(nodes, slot_of(make, key), 1, 0):
        keys = [*stocked, key]
        for name, argument in [
            ("put_many", {each: entry(each, each.encode()) for each in keys}),
            ("get_many", keys),
            ("delete_many", keys),
        ]:
            for face in (0, 1):
                router(backend).slots = parse_slots(backend, slot_of(make, key), nodes[1])
                call = getattr(backend, ("", "a")[face] + name)(argument)
                result = await call if face else call
                assert result is None or len(result if name == "get_many" else keys) == 101


def parse_slots(backend, slot, client):
    """Return the slots with one of them where it used to be."""
    slots = router(backend).slots
    where = client.connection_pool.connection_kwargs
    owners = [*slots.owners]
    owners[slot] = (where["host"], where["port"])
    return replace(slots, owners=owners)


async def test_a_slot_on_its_way_is_asked_where_it_goes(make, nodes, redis_cluster):
    backend = make()
    key = key_on(make, 0)
    slot = slot_of(make, key)
    ids = [node.execute_command("CLUSTER", "MYID") for node in nodes]
    nodes[1].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    nodes[0].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    try:
        assert await both(backend, "get", key) == [None, None]
        assert await both(backend, "put", key, entry(key)) == [True, True]
        assert not nodes[0].keys(make.below + key)
        assert nodes[1].keys(make.below + key)
        assert all(await both(backend, "get", key))
        assert backend.put(key, entry(key, b"new"), if_match=backend.head(key).etag)
        assert [found[key].payload for found in await both(backend, "get_many", [key])] == [b"new"] * 2
        assert router(backend).slots.owners[slot] == place(redis_cluster.primaries[0])
        assert await both(backend, "delete", key) == [True, False]
    finally:
        for node in nodes[:2]:
            node.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")


async def test_nodes_that_send_from_one_to_another_are_unavailable(make, redis_cluster, serve):
    port = serve(lambda peer, stop: answer(peer, b"-MOVED 1 127.0.0.1:%d\r\n" % port))
    backend = make()
    await both(backend, "ping")
    key = key_on(make, 0)
    lead_astray(backend, ("127.0.0.1", port), place(redis_cluster.primaries[0]))
    with pytest.raises(BackendUnavailable, match="from one to another"):
        backend.get(key)
    assert backend.get(key) is None  # the next one learns
    lead_astray(backend, ("127.0.0.1", port), place(redis_cluster.primaries[0]))
    with pytest.raises(BackendUnavailable, match="from one to another"):
        await backend.aget(key)
    assert await backend.aget(key) is None


# Nodes that are down


async def test_the_hosts_of_the_url_may_be_dead_or_silent_but_one(redis_cluster, free_port, serve):
    silent = serve(silence)
    alive = "{}:{}".format(*place(redis_cluster.primaries[2]))
    url = f"redis+cluster://127.0.0.1:{free_port},127.0.0.1:{silent},{alive}/"
    backend = RedisBackend(url, timeout=2)
    with takes_at_most(2):
        assert await both(backend, "get", "key") == [None, None]
    await backend.aclose()


async def test_no_host_that_answers_is_unavailable(free_port):
    backend = RedisBackend(f"redis+cluster://127.0.0.1:{free_port}/", timeout=5)
    for error in await both(backend, "get", "key"):
        assert isinstance(error, BackendUnavailable)
        assert "refused" in str(error)
    await backend.aclose()


async def test_hosts_that_never_answer_are_a_timeout(serve):
    places = ",".join(f"127.0.0.1:{serve(silence)}" for _ in range(3))
    backend = RedisBackend(f"redis+cluster://{places}/", timeout=0.2)
    with takes_at_most(0.4):
        assert [type(error) for error in await both(backend, "get_many", ["a", "b"])] == [BackendTimeout] * 2
    await backend.aclose()


async def test_when_a_node_is_silent_the_others_still_answer(make, stocked, redis_cluster, serve):
    backend = make()
    silent = ("127.0.0.1", serve(silence))
    theirs = [key for key in stocked if owner(make, key) == 0]
    for face in (0, 1):
        await both(backend, "get_many", stocked)
        lead_astray(backend, silent, place(redis_cluster.primaries[0]))
        backend.timeout = 0.3
        with takes_at_most(0.3), pytest.raises(PartialFailure) as caught:
            backend.get_many(stocked) if face == 0 else await backend.aget_many(stocked)
        assert list(caught.value.results) == [key for key in stocked if key not in theirs]
        assert {key: type(error) for key, error in caught.value.failed.items()} == dict.fromkeys(theirs, BackendTimeout)
        backend.timeout = 10
        for found in await both(backend, "get_many", stocked):  # it has asked again who owns what
            assert list(found) == stocked


async def test_when_a_node_is_dead_the_cluster_is_asked_again_within_the_call(make, stocked, redis_cluster, free_port):
    backend = make()
    for name, argument in [
        ("get_many", stocked),
        ("put_many", {key: entry(key, key.encode()) for key in stocked}),
        ("delete_many", stocked),
    ]:
        for face in (0, 1):
            await both(backend, "ping")
            lead_astray(backend, ("127.0.0.1", free_port), place(redis_cluster.primaries[0]))
            call = getattr(backend, ("", "a")[face] + name)(argument)
            result = await call if face else call
            assert result is None or result == 100 or list(result) == stocked


async def test_a_node_that_stays_dead_is_not_the_whole_tier(make, stocked, redis_cluster, free_port, monkeypatch):
    backend = make()
    await both(backend, "ping")
    lead_astray(backend, ("127.0.0.1", free_port), place(redis_cluster.primaries[0]))
    wrong = router(backend).slots
    monkeypatch.setattr("tiercache_redis.routing.slot_map", lambda reply, node: wrong)  # the cluster knows no better
    theirs = {key for key in stocked if owner(make, key) == 0}
    for name, arguments in [("get", (min(theirs),)), ("put", (min(theirs), entry("x"))), ("delete", (min(theirs),))]:
        for error in await both(backend, name, *arguments):
            assert isinstance(error, BackendUnavailable)
            assert error.tier_wide is False
    for error in await both(backend, "get_many", stocked):
        assert set(error.failed) == theirs
        assert set(error.results) == set(stocked) - theirs


def test_a_rebuilt_client_learns_who_owns_what(make, stocked, nodes, redis_cluster):
    url, name = name_of_client(redis_cluster.url)
    backend = make(url)
    assert list(backend.get_many(stocked)) == stocked

    def open_now():  # each node counts its own
        return {(number, found["id"]) for number, node in enumerate(nodes) for found in connections(node, name)}

    before = open_now()
    backend.rebuild()
    assert list(backend.get_many(stocked)) == stocked
    assert not before & open_now()


async def test_a_write_that_must_not_be_repeated_is_not(make, redis_cluster, serve):
    asked = []

    def hang_up(peer, stop):
        asked.append(answer(peer, b"+OK\r\n", b"UNLINK"))

    backend = make()
    key = key_on(make, 0)
    backend.put(key, entry(key))
    for face in (0, 1):
        lead_astray(backend, ("127.0.0.1", serve(hang_up)), place(redis_cluster.primaries[0]))
        with pytest.raises(BackendUnavailable) as error:
            backend.delete(key) if face == 0 else await backend.adelete(key)
        assert error.value.tier_wide is False  # the others answer
        assert backend.get(key) is not None
    assert len([data for data in asked if b"UNLINK" in data]) == 2


def is_served(client, key):
    try:
        client.get(key)
    except redis.ResponseError:  # CLUSTERDOWN
        return False
    return True


async def test_slots_that_nobody_serves_are_unavailable_and_others_are_served():
    (port,) = ports.free_ports(1)
    options = ["--cluster-enabled", "yes", "--cluster-port", str(port), "--cluster-require-full-coverage", "no"]
    with running(["--save", "", *options]) as server, redis.Redis.from_url(server.url) as client:
        backend = RedisBackend(server.url.replace("redis://", "redis+cluster://"), prefix="p:", timeout=10)
        for error in await both(backend, "get", "key"):
            assert isinstance(error, BackendUnavailable)
            assert "knows of no slots" in str(error)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        until(lambda: is_served(client, "bar"))
        keys = [f"key-{number}" for number in range(30)]
        served = [key for key in keys if key_slot(f"p:{key}".encode()) <= 8000]
        assert 0 < len(served) < 30
        for error in await both(backend, "put_many", {key: entry(key) for key in keys}):
            assert isinstance(error, PartialFailure)
            assert sorted(error.failed) == sorted(set(keys) - set(served))
        for error in await both(backend, "get_many", keys):
            assert isinstance(error, PartialFailure)
            assert list(error.results) == served
        for error in await both(backend, "get", next(key for key in keys if key not in served)):
            assert isinstance(error, BackendUnavailable)
            assert "slot" in str(error)
        await backend.aclose()


async def test_a_cluster_that_says_it_is_down_is_unavailable():
    (port,) = ports.free_ports(1)
    options = ["--cluster-enabled", "yes", "--cluster-port", str(port)]  # all slots are wanted
    with running(["--save", "", *options]) as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        backend = RedisBackend(server.url.replace("redis://", "redis+cluster://"), prefix="{bar}:", timeout=10)
        for error in await both(backend, "get", "key"):
            assert isinstance(error, BackendUnavailable)
            assert "cluster is down" in str(error)
        await backend.aclose()


async def test_the_url_of_another_kind_of_server_is_a_configuration_error(redis_cluster, redis_url, make):
    plain = RedisBackend(redis_cluster.primaries[0].url, prefix=make.below, timeout=10)
    for error in await both(plain, "get", key_on(make, 1)):
        assert isinstance(error, ConfigurationError)
        assert "redis+cluster://" in str(error)
    await plain.aclose()
    cluster = RedisBackend(redis_url.replace("redis://", "redis+cluster://"), timeout=10)
    for error in await both(cluster, "get", "key"):
        assert isinstance(error, ConfigurationError)
        assert "in place of redis+cluster://" in str(error)
    await cluster.aclose()


# Threads, loops and processes


def test_threads_share_the_cluster_and_each_gets_its_own(make, stocked):
    backend = make(max_connections=4)

    def work(number):
        for turn in range(20):
            keys = stocked[(number * 7 + turn) % 50 :: 3]
            assert [found.payload.decode() for found in backend.get_many(keys).values()] == keys
            assert backend.get(keys[0]).payload.decode() == keys[0]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))


def test_loops_one_after_another_leave_no_connection_behind(make, nodes, stocked, redis_cluster):
    url, name = name_of_client(redis_cluster.url)
    backend = make(url)

    async def use():
        assert len(await backend.aget_many(stocked)) == 100
        assert all(await asyncio.gather(*(backend.aget(key) for key in stocked)))

    for _ in range(3):
        asyncio.run(use())
        until(lambda: not any(connections(node, name) for node in nodes))


async def test_close_closes_the_connections_to_all_nodes(make, nodes, stocked, redis_cluster):
    url, name = name_of_client(redis_cluster.url)
    for close in ("close", "aclose"):
        backend = make(url)
        await both(backend, "get_many", stocked)
        assert all(connections(node, name) for node in nodes)
        if close == "close":
            backend.close()
        else:
            await backend.aclose()
        await asyncio.sleep(0)
        await asyncio.to_thread(until, lambda: not any(connections(node, name) for node in nodes))


def test_connections_to_a_node_that_left_are_closed(make, nodes, stocked, redis_cluster):
    url, name = name_of_client(redis_cluster.url)
    backend = make(url)
    backend.get_many(stocked)
    slots = router(backend).slots
    gone = place(redis_cluster.primaries[0])
    router(backend).slots = replace(slots, nodes=slots.nodes - {gone})
    backend.get(key_on(make, 1))
    until(lambda: not connections(nodes[0], name))
    assert connections(nodes[1], name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(make, stocked):
    backend = make()
    backend.get_many(stocked)
    asyncio.run(backend.aget_many(stocked))
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            right = list(backend.get_many(stocked)) == stocked
            right = right and list(asyncio.run(backend.aget_many(stocked))) == stocked
        finally:
            os._exit(0 if right else 1)
    for _ in range(20):
        assert [found.payload.decode() for found in backend.get_many(stocked).values()] == stocked
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_operations_that_are_cancelled_at_random_leave_no_trace(make, nodes, redis_cluster):
    url, name = name_of_client(redis_cluster.url)
    backend = make(url, max_connections=4)
    seen = await storm(of_backend(backend), workers=20, count=60, patience=0.02, seed=20261126)
    assert (seen.wrong, seen.errors) == (0, {})
    assert seen.cancelled > 50
    assert seen.values > 500
    assert all(len(connections(node, name)) <= 4 for node in nodes)
    assert len(asyncio.all_tasks()) == 1
    await backend.aclose()
    await asyncio.to_thread(until, lambda: not any(connections(node, name) for node in nodes))


def test_a_cache_works_on_a_cluster(redis_cluster, make):
    with Cache(TierChain(make())) as cache:
        cache.set_many({f"key-{number}": {"number": number} for number in range(50)})
        assert cache.get_many([f"key-{number}" for number in range(60)]) == {
            f"key-{number}": {"number": number} for number in range(50)
        }
        assert cache.get_or_set("key-1", lambda: "new") == {"number": 1}
        assert cache.delete("key-1")
        assert cache.get("key-1") is None


@pytest.mark.parametrize("deployment", ["redis_cluster", "redis_sentinels"])
def test_what_one_process_changes_leaves_the_memory_of_the_others(deployment, request):
    url = f"{request.getfixturevalue(deployment).url}?prefix={uuid.uuid4().hex}:"
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(Cache(TierChain(MemoryBackend(), RedisBackend(url, timeout=10)))) for _ in range(2)
        )
        keys = [f"key-{number}" for number in range(20)]  # on all nodes
        for number in range(3):
            one.set_many(dict.fromkeys(keys, number))
            until(lambda number=number: other.get_many(keys) == dict.fromkeys(keys, number))
        assert one.delete_many(keys)
        until(lambda: other.get_many(keys) == {})


def test_a_notice_goes_out_after_what_it_tells_of(make, stocked, monkeypatch):
    backend, asked = make(), []
    exchange = ClusterConnections.exchange
    monkeypatch.setattr(
        ClusterConnections,
        "exchange",
        lambda self, commands, *args, **options: (
            asked.append([command[0] for command in commands]) or exchange(self, commands, *args, **options)
        ),
    )
    backend.put_many({key: entry(key) for key in stocked[:2]}, letter=Letter([b"told"], pytest.fail))
    assert asked == [[b"SET", b"SET"], [b"PUBLISH"]]


def test_threads_that_ask_the_nodes_are_daemons(make, stocked):
    make().get_many(stocked)
    asking = [thread for thread in threading.enumerate() if thread.name == "tiercache-redis-nodes"]
    assert asking
    assert all(thread.daemon for thread in asking)
