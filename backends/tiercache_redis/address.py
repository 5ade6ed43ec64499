"""Where Redis is: a URL, read into what its connections are made of. No message ever quotes the URL."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.connection import parse_url

from tiercache.errors import ConfigurationError
from tiercache.units import parse_duration

Node = tuple[str, int]
"""Host and port."""

_OURS = {"prefix", "timeout", "max_connections"}
_SENTINEL = {"sentinel_username", "sentinel_password"}
_THEIRS = {"db", "username", "password", "client_name", "protocol", "socket_keepalive"}
_PORTS = {"single": 6379, "cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True)
class Address:
    """A server, and what the URL's query says about using it.

    Attributes:
        scheme: `redis`, `rediss` (TLS) or `unix` (a socket file).
        connection: arguments of redis-py's connection classes, credentials among them.
        options: arguments of `RedisBackend` that stood in the query.
        kind: `single`, `cluster` or `sentinel`.
        nodes: of a cluster, some of its nodes; else the sentinels.
        service: what the sentinels call the primary.
        sentinel: the credentials for the sentinels.
    """

    scheme: str
    connection: dict[str, Any] = field(repr=False)
    options: dict[str, Any]
    kind: str = "single"
    nodes: tuple[Node, ...] = field(default=(), repr=False)
    service: str = field(default="", repr=False)
    sentinel: dict[str, str] = field(default_factory=dict, repr=False)

    def at(self, node: Node) -> Address:
        """Return the address of another node, with the same credentials and options."""
        return replace(self, connection={**self.connection, "host": node[0], "port": node[1]})


def parse(url: str) -> Address:
    """Return the address that a URL names.

    Raises:
        ConfigurationError: it has another scheme, an unknown option, or is no URL at all.
    """
    kind, nodes, service, url = _one_host(url)
    parts = _split(url)
    if parts is None:
        raise ConfigurationError(_unreadable("cannot be read", kind))
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError(
            "a Redis URL starts with redis://, rediss:// (TLS), unix://, redis+cluster:// or redis+sentinel://"
        )
    if parts.fragment:
        raise ConfigurationError(_unreadable("holds a '#'", kind))
    if parts.scheme == "unix" and not parts.path:
        raise ConfigurationError("a unix:// URL names a socket file: unix:///run/redis.sock?db=0")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise ConfigurationError(_unreadable("has a path that is no database number", kind))
    connection = _arguments(url)
    if connection is None:
        raise ConfigurationError("an option in the URL's query has a value that cannot be read")
    connection.pop("connection_class", None)
    options = {name: connection.pop(name) for name in _OURS & connection.keys()}
    sentinel = {}
    if kind == "sentinel":
        sentinel = {name.removeprefix("sentinel_"): connection.pop(name) for name in _SENTINEL & connection.keys()}
    # The name of an unknown option is not shown: it may be the rest of a password that holds a '?'.
    if any(name not in _THEIRS | {"host", "port", "path"} and not name.startswith("ssl_") for name in connection):
        allowed = ", ".join(sorted(_OURS | set(known_options(kind)) - {"ssl_*"}))
        raise ConfigurationError(_unreadable(f"has an option that is not one of {allowed}, ssl_…", kind))
    if "timeout" in options:
        options["timeout"] = parse_duration(options["timeout"], "timeout")
    return Address(parts.scheme, connection, options, kind, nodes, service, sentinel)


def known_options(kind: str) -> tuple[str, ...]:
    """Return the options in a query that are not the backend's own."""
    return (*sorted(_THEIRS | (_SENTINEL if kind == "sentinel" else set())), "ssl_*")


def _one_host(url: str) -> tuple[str, tuple[Node, ...], str, str]:
    """Return kind, hosts and service of a URL, and the `redis://` URL that names its first host only."""
    scheme, colon, rest = url.partition("://")
    if "+" not in scheme or not colon:
        return "single", (), "", url
    base, _, kind = scheme.lower().partition("+")
    if base not in ("redis", "rediss") or kind not in ("cluster", "sentinel"):
        raise ConfigurationError(
            "a Redis URL with a '+' starts with redis+cluster://, redis+sentinel:// or, for TLS, rediss+…://"
        )
    place, question, query = rest.partition("?")
    if "@" in query:  # the rest of a password, perhaps
        raise ConfigurationError(_unreadable("holds an '@' after its '?'", kind))
    netloc, _, path = place.partition("/")
    login, at, hosts = netloc.rpartition("@")
    parts = [_split(f"//{host}") for host in hosts.split(",")]
    if not all(part and part.netloc and not part.path for part in parts):
        raise ConfigurationError(_unreadable("names no hosts, or one that cannot be read", kind))
    nodes = tuple((unquote(part.hostname or "localhost"), part.port or _PORTS[kind]) for part in parts if part)
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ConfigurationError(_unreadable("names no service", kind))
    first = hosts.split(",")[0]
    return kind, nodes, unquote(service), f"{base}://{login}{at}{first}/{path}{question}{query}"


# These return None instead of raising: a ValueError about a URL quotes it, and would be seen as the context of ours.


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
        return parts
    except ValueError:
        return None


def _arguments(url: str) -> dict[str, Any] | None:
    try:
        return dict(parse_url(url))  # type: ignore[no-untyped-call]
    except ValueError:
        return None


_EXAMPLES = {
    "single": "redis://user:password@host:6379/0",
    "cluster": "redis+cluster://user:password@host:7000,other:7001/",
    "sentinel": "redis+sentinel://user:password@host:26379,other:26379/service/0",
}


def _unreadable(what: str, kind: str = "single") -> str:
    return f"the Redis URL {what}; write {_EXAMPLES[kind]}, with special characters percent-encoded"
