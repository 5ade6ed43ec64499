"""What a Redis server says about itself that matters for a cache: memory, eviction, persistence, role, version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tiercache.errors import AccessDenied, TiercacheError
from tiercache.findings import Finding, Permission

from .layout import Steps, value

OLDEST = (5, 0)
FULL = 0.9
"""The share of `maxmemory` from which on a server is nearly full."""
SETTLED = 7200.0
"""Seconds after its start from which on a server that has saved nothing is taken for one that never does."""
_COMMANDS = {
    "read": "+get +mget",
    "write": "+set +eval +get +getrange +unlink",  # the last three in scripts
    "delete": "+unlink",
    "list": "+scan +pttl +strlen +getrange",
    "notices": "+subscribe +publish +ping",
    "lifecycle": "",
}
Info = Mapping[str, str]


def allow(permission: Permission, pattern: str) -> str:
    """Return the ACL command that lets a user do this with the keys of a pattern."""
    return f"ACL SETUSER <user> {_COMMANDS[permission]} ~{pattern} &{pattern}"


def info() -> Steps[list[Info]]:
    """Ask the server, or every primary of a cluster, about itself."""
    (reply,) = yield [(b"INFO",)]
    answers = value(reply)
    return [_parsed(value(each)) for each in (answers if isinstance(answers, list) else [answers])]


def time() -> Steps[float]:
    """Ask for the server's clock, Unix seconds."""
    (reply,) = yield [(b"TIME",)]
    seconds, microseconds = value(reply)
    return int(seconds) + int(microseconds) / 1e6


def unknown(error: TiercacheError) -> Finding:
    """Return what to say where the server tells nothing of itself."""
    fix = "allow it for this check: ACL SETUSER <user> +info" if isinstance(error, AccessDenied) else ""
    return Finding(level="note", about="server", text=f"what INFO tells was not looked at: {error}", fix=fix)


def judged(server: Info) -> Iterator[Finding]:
    """Yield what to know of a server that says this of itself."""
    yield from _version(server)
    yield from _role(server)
    yield from _memory(server)
    yield from _persistence(server)


def _version(server: Info) -> Iterator[Finding]:
    said = server.get("redis_version", "")
    parts = tuple(int(part) for part in said.split(".")[:2] if part.isdecimal())
    if len(parts) == 2 and parts < OLDEST:
        fix = "upgrade to Redis 5 or later, or to Valkey"
        yield Finding(level="fault", about="version", text=f"the server is Redis {said}: it lacks commands", fix=fix)


def _role(server: Info) -> Iterator[Finding]:
    if server.get("role") in ("slave", "replica"):
        yield Finding(
            level="fault",
            about="role",
            text="the server is a replica: it refuses writes, and may answer with what is out of date",
            fix="name the primary in the URL, or the sentinels that know it: redis+sentinel://host:26379/service/0",
        )


def _memory(server: Info) -> Iterator[Finding]:
    limit, used = _number(server, "maxmemory"), _number(server, "used_memory")
    policy, evicted = server.get("maxmemory_policy", ""), _number(server, "evicted_keys")
    if not limit:
        yield Finding(
            level="warning",
            about="memory",
            text="maxmemory is not set: entries without an expiry fill the memory until the system ends Redis",
            fix=f"CONFIG SET maxmemory 2gb (it uses {used / 2**20:,.0f} MiB now), CONFIG SET maxmemory-policy "
            "allkeys-lru, then CONFIG REWRITE",
        )
    elif policy == "noeviction":
        yield Finding(
            level="warning",
            about="eviction",
            text="maxmemory-policy is noeviction: when memory is full, every write is refused",
            fix="CONFIG SET maxmemory-policy allkeys-lru (or volatile-lru where other data must stay), then "
            "CONFIG REWRITE",
        )
    elif policy.startswith("volatile-"):
        yield Finding(
            level="note",
            about="eviction",
            text=f"maxmemory-policy is {policy}: entries without a ttl are never evicted, and crowd out the others",
            fix="give the cache a ttl, or the tier max_ttl=…; or CONFIG SET maxmemory-policy allkeys-lru",
        )
    if limit and used > FULL * limit and policy == "noeviction":
        yield Finding(
            level="warning",
            about="memory",
            text=f"{used / limit:.0%} of maxmemory is used, and nothing is evicted: writes are about to be refused",
            fix="raise maxmemory or set an eviction policy",
        )
    if evicted and (hours := _number(server, "uptime_in_seconds") / 3600) > 0:
        yield Finding(
            level="note",
            about="eviction",
            text=f"{evicted:,.0f} keys were evicted in {hours:,.0f} h, {evicted / hours:,.0f} an hour",
            fix="more memory would keep them: `tiercache plan` says whether that pays",
        )


def _persistence(server: Info) -> Iterator[Finding]:
    failing = [
        name for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
        if server.get(name, "ok") != "ok"
    ]  # fmt: skip
    if failing:
        yield Finding(
            level="warning",
            about="persistence",
            text=f"the server fails to save ({', '.join(failing)}): it refuses writes until that is over",
            fix="look at its log and its disk; for a cache alone: CONFIG SET stop-writes-on-bgsave-error no",
        )
    settled = _number(server, "uptime_in_seconds") > SETTLED
    if settled and server.get("aof_enabled") == "0" and _number(server, "rdb_saves", -1) == 0 and not failing:
        yield Finding(
            level="note",
            about="persistence",
            text="the server has saved nothing to disk: after its restart the tier is empty, and is filled again from "
            "those below",
        )


def _number(server: Info, name: str, default: float = 0.0) -> float:
    try:
        return float(server.get(name, default))
    except ValueError:
        return default


def _parsed(text: bytes | str) -> Info:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    lines = (line.strip() for line in text.removeprefix("txt:").splitlines())
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
