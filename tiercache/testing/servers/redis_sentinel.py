"""Redis with sentinels: a primary, a replica, and three sentinels that make the replica the primary when it is time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .ports import HOST
from .process import START_SECONDS, ServerUnavailable
from .redis import RedisServer, running

SERVICE = "main"


@dataclass(frozen=True, slots=True)
class RedisSentinels:
    """A running deployment: `url` is `redis+sentinel://` with all three sentinels, `primary` the first primary."""

    url: str
    primary: RedisServer
    replica: RedisServer
    sentinels: tuple[RedisServer, ...]


@contextmanager
def redis_sentinels(*, down_after: float = 1.0) -> Iterator[RedisSentinels]:
    """Run two `redis_server`s and three sentinels. They take about two seconds to know each other.

    Args:
        down_after: seconds after which a silent primary counts as down.

    Raises:
        ServerUnavailable: there is no server, or redis-py is not installed.
    """
    try:
        import redis
    except ImportError:
        raise ServerUnavailable("to wait for sentinels takes redis-py: pip install tiercache[redis]") from None
    with ExitStack() as stack:
        primary = stack.enter_context(running(["--save", "", "--repl-diskless-sync-delay", "0"]))
        port = _port(primary)
        replica = stack.enter_context(running(["--save", "", "--replicaof", HOST, str(port)]))
        _until(stack.enter_context(redis.Redis.from_url(replica.url)), "replication", "master_link_status", "up")
        config = (
            f"sentinel monitor {SERVICE} {HOST} {port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {int(down_after * 1000)}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        sentinels = [stack.enter_context(running(["--sentinel"], config=config)) for _ in range(3)]
        for server in sentinels:
            client = stack.enter_context(redis.Redis.from_url(server.url.removesuffix("/0")))
            _until(client, "sentinel", "master0", {"status": "ok", "slaves": 1, "sentinels": 3})
        hosts = ",".join(f"{HOST}:{_port(server)}" for server in sentinels)
        yield RedisSentinels(f"redis+sentinel://{hosts}/{SERVICE}/0", primary, replica, tuple(sentinels))


def _port(server: RedisServer) -> int:
    return int(server.url.removesuffix("/0").rpartition(":")[2])


def _until(client: object, section: str, name: str, wanted: object) -> None:
    """Wait until INFO says so; of a line with several fields, those that are wanted."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = client.info(section).get(name)  # type: ignore[attr-defined]
        if found == wanted or (
            isinstance(wanted, dict) and isinstance(found, dict) and wanted.items() <= found.items()
        ):
            return
        if time.monotonic() > deadline:
            raise ServerUnavailable("the Redis servers and their sentinels did not find each other")
        time.sleep(0.02)
