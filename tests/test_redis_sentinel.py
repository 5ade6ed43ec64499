"""RedisBackend behind sentinels: whom it asks, whom it believes, what it says (failovers: test_redis_failover.py)."""

from __future__ import annotations

import asyncio
import re
import uuid
from urllib.parse import urlsplit

import pytest
import redis

from tests.peers import silence
from tests.test_redis import connections, entry, name_of_client, until
from tests.test_redis_faults import both, takes_at_most
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, ConfigurationError
from tiercache.testing.servers.redis import running
from tiercache_redis import RedisBackend

CANARY = "s3cr3t-canary"


@pytest.fixture
def make(redis_sentinels):
    made = []
    below = f"{uuid.uuid4().hex}:"

    def make(url=redis_sentinels.url, **options):
        made.append(RedisBackend(url, **{"prefix": below, "timeout": 10, **options}))
        return made[-1]

    make.below = below
    yield make
    for backend in made:
        backend.close()
    with redis.Redis.from_url(redis_sentinels.primary.url) as client:
        client.flushall()


def port(server):
    return urlsplit(server.url).port


def sentinel(serve, named, asked=None):
    """Start a sentinel that always names this server as the primary; None: it knows none. Return its place."""

    def talk(peer, stop):
        while data := peer.recv(65536):
            if asked is not None:
                asked.append(data)
            if b"GET-MASTER-ADDR-BY-NAME" not in data:
                peer.sendall(b"+OK\r\n" * len(re.findall(rb"\*\d+\r\n\$", data)))
            elif named is None:
                peer.sendall(b"*-1\r\n")
            else:
                number = b"%d" % port(named)
                peer.sendall(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(number), number))

    return f"127.0.0.1:{serve(talk)}"


async def test_what_is_written_goes_to_the_primary(make, redis_sentinels):
    backend = make()
    assert await both(backend, "put", "key", entry("key")) == [True, True]
    with redis.Redis.from_url(redis_sentinels.primary.url) as client:
        assert client.exists(f"{make.below}key")


async def test_only_new_connections_ask_the_sentinels(make, serve, redis_sentinels):
    asked = []
    backend = make(f"redis+sentinel://{sentinel(serve, redis_sentinels.primary, asked)}/main")
    for _ in range(10):
        await both(backend, "get", "key")
    assert len([data for data in asked if b"GET-MASTER-ADDR-BY-NAME" in data]) == 2  # one of each face


async def test_sentinels_may_be_dead_or_silent_but_one(make, serve, free_port, redis_sentinels):
    alive = sentinel(serve, redis_sentinels.primary)
    backend = make(f"redis+sentinel://127.0.0.1:{free_port},127.0.0.1:{serve(silence)},{alive}/main", timeout=3)
    with takes_at_most(3):
        assert await both(backend, "get", "key") == [None, None]
    assert alive.endswith(f":{backend._connections._sentinels._nodes[0][1]}")  # it is asked first from now on


async def test_sentinels_that_never_answer_are_a_timeout(make, serve):
    backend = make(f"redis+sentinel://127.0.0.1:{serve(silence)},127.0.0.1:{serve(silence)}/main", timeout=0.1)
    with takes_at_most(0.2):
        assert [type(error) for error in await both(backend, "get", "key")] == [BackendTimeout] * 2
    await backend.aclose()


async def test_dead_sentinels_are_unavailable(make, free_port):
    for error in await both(make(f"redis+sentinel://127.0.0.1:{free_port}/main"), "get", "key"):
        assert isinstance(error, BackendUnavailable)
        assert "refused" in str(error)


async def test_a_service_that_the_sentinels_do_not_know_is_a_configuration_error(make, redis_sentinels):
    for error in await both(make(redis_sentinels.url.replace("/main/", f"/{CANARY}/")), "get", "key"):
        assert isinstance(error, ConfigurationError)
        assert CANARY not in f"{error!r}"


async def test_a_server_that_is_no_sentinel_is_a_configuration_error(make, redis_url):
    for error in await both(make(f"redis+sentinel://{urlsplit(redis_url).netloc}/main"), "get", "key"):
        assert isinstance(error, ConfigurationError)
        assert "is no sentinel" in str(error)


async def test_a_sentinel_that_knows_the_service_is_believed_more_than_one_that_does_not(make, serve, redis_sentinels):
    hosts = f"{sentinel(serve, None)},{sentinel(serve, redis_sentinels.primary)}"
    assert await both(make(f"redis+sentinel://{hosts}/main"), "get", "key") == [None, None]


async def test_a_replica_is_not_taken_for_the_primary(make, serve, redis_sentinels):
    backend = make(f"redis+sentinel://{sentinel(serve, redis_sentinels.replica)}/main")
    for name, arguments in [("get", ("key",)), ("put", ("key", entry("key")))]:
        for error in await both(backend, name, *arguments):
            assert isinstance(error, BackendUnavailable)
            assert "failover" in str(error)


async def test_sentinels_have_credentials_of_their_own(make, redis_sentinels):
    config = f"sentinel monitor main 127.0.0.1 {port(redis_sentinels.primary)} 9\n"
    with running(["--sentinel"], config=config) as guarded, redis.Redis.from_url(guarded.url[:-2]) as client:
        client.acl_setuser("default", enabled=True, reset_passwords=True, passwords=[f"+{CANARY}"])
        place = urlsplit(guarded.url).netloc
        for query in ("", "?sentinel_password=wrong"):
            for error in await both(make(f"redis+sentinel://{place}/main{query}"), "get", "key"):
                assert isinstance(error, AccessDenied)
                assert "sentinel_password" in str(error)
        right = make(f"redis+sentinel://{place}/main?sentinel_username=default&sentinel_password={CANARY}")
        assert await both(right, "get", "key") == [None, None]
        assert CANARY not in f"{right!r} {vars(right)} {vars(right._connections)['_sentinels']!r}"


async def test_the_credentials_of_the_primary_are_not_told_to_the_sentinels(make, serve, redis_sentinels):
    asked = []
    backend = make(f"redis+sentinel://user:{CANARY}@{sentinel(serve, redis_sentinels.primary, asked)}/main")
    for error in await both(backend, "get", "key"):
        assert isinstance(error, AccessDenied)  # the primary has no such user
    assert asked
    assert CANARY.encode() not in b"".join(asked)


async def test_what_goes_wrong_on_one_connection_has_all_idle_ones_ask_again(make, redis_sentinels):
    url, name = name_of_client(redis_sentinels.url)
    backend = make(url, max_connections=4)
    await asyncio.gather(*(backend.aget("key") for _ in range(8)))
    await asyncio.gather(*(asyncio.to_thread(backend.get, "key") for _ in range(8)))
    with redis.Redis.from_url(redis_sentinels.primary.url) as client:
        before = {found["id"] for found in connections(client, name)}
        assert len(before) > 2
        # The first says that the server is no longer the primary.
        client.replicaof("127.0.0.1", port(redis_sentinels.replica))
        try:
            errors = await both(backend, "put", "key", entry("key"))
        finally:
            client.replicaof("NO", "ONE")
        assert [type(error) for error in errors] == [BackendUnavailable] * 2
        await asyncio.to_thread(until, lambda: not connections(client, name))
        assert await both(backend, "put", "key", entry("key")) == [True, True]


def test_loops_one_after_another_leave_no_connection_behind(make, redis_sentinels):
    url, name = name_of_client(redis_sentinels.url)
    backend = make(url)

    async def use():
        await asyncio.gather(*(backend.aget("key") for _ in range(10)))

    with redis.Redis.from_url(redis_sentinels.primary.url) as client:
        for _ in range(3):
            asyncio.run(use())
            until(lambda: not connections(client, name))
