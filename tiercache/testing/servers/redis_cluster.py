"""A real Redis Cluster: three primaries, each with a third of the slots, and a replica of the first one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from .ports import HOST, free_ports
from .process import START_SECONDS, ServerUnavailable
from .redis import RedisServer, running

_SLOTS = [(0, 5460), (5461, 10922), (10923, 16383)]


@dataclass(frozen=True, slots=True)
class RedisCluster:
    """A running cluster.

    Attributes:
        url: `redis+cluster://` with all three primaries.
        primaries: of the slots 0 to 5460, 5461 to 10922 and 10923 to 16383.
        replica: of the first primary.
    """

    url: str
    primaries: tuple[RedisServer, ...]
    replica: RedisServer


@contextmanager
def redis_cluster(*, node_timeout: float = 2.0) -> Iterator[RedisCluster]:
    """Run a cluster of four `redis_server`s. It takes two to four seconds to form.

    Args:
        node_timeout: seconds after which a silent primary is replaced by its replica.

    Raises:
        ServerUnavailable: there is no server, it knows no cluster mode, or redis-py is not installed.
    """
    try:
        import redis
    except ImportError:
        raise ServerUnavailable("forming a Redis Cluster takes redis-py: pip install tiercache[redis]") from None
    options = [
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        str(int(node_timeout * 1000)),
    ]
    # Above the port by 10,000 there may be none.
    ports = free_ports(4)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                running([*options, "--cluster-port", str(port), "--cluster-replica-validity-factor", "0"])
            )
            for port in ports
        ]
        clients = [stack.enter_context(redis.Redis.from_url(server.url)) for server in servers]
        _form(clients, servers, ports)
        hosts = ",".join(_place(server) for server in servers[:3])
        yield RedisCluster(f"redis+cluster://{hosts}/", tuple(servers[:3]), servers[3])


def _form(clients: list[Any], servers: list[RedisServer], ports: list[int]) -> None:
    for number, (client, slots) in enumerate(zip(clients, _SLOTS, strict=False), 1):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number)
    for server, port in zip(servers[1:], ports[1:], strict=True):
        clients[0].execute_command("CLUSTER", "MEET", HOST, _place(server).split(":")[1], port)
    first = clients[0].execute_command("CLUSTER", "MYID")
    _until(lambda: all(_info(client)["cluster_known_nodes"] == "4" for client in clients))
    _until(lambda: _replicates(clients[3], first))
    _until(lambda: all(_info(client)["cluster_state"] == "ok" for client in clients))
    _until(lambda: clients[3].info("replication").get("master_link_status") == "up")
    # All have heard of the replica: CLUSTER SLOTS is the same everywhere.
    _until(lambda: all(_count(client) == [2, 1, 1] for client in clients))


def _replicates(client: Any, primary: Any) -> bool:
    import redis

    try:
        client.execute_command("CLUSTER", "REPLICATE", primary)
    except redis.ResponseError:  # it has not heard of the primary yet
        return False
    return True


def _info(client: Any) -> dict[str, str]:
    found = client.execute_command("CLUSTER INFO")
    return dict(found) if isinstance(found, dict) else dict(line.split(":") for line in found.decode().split())


def _count(client: Any) -> list[int]:
    """Return how many servers each range of slots has, in the order of the slots."""
    reply = client.execute_command("CLUSTER SLOTS")
    ranges = reply.items() if isinstance(reply, dict) else [((row[0], row[1]), row[2:]) for row in reply]
    return [1 + len(found["replicas"]) if isinstance(found, dict) else len(found) for _, found in sorted(ranges)]


def _place(server: RedisServer) -> str:
    return server.url.removeprefix("redis://").removesuffix("/0")


def _until(condition: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ServerUnavailable("the nodes of the Redis Cluster did not come together")
        time.sleep(0.02)
