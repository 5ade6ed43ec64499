"""Where Redis is: a URL, read into what its connections are made of. No message ever quotes the URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis.connection import parse_url

from tiercache.errors import ConfigurationError
from tiercache.units import parse_duration

_OURS = {"prefix", "timeout", "max_connections"}
_THEIRS = {"db", "username", "password", "client_name", "protocol", "socket_keepalive"}


@dataclass(frozen=True)
class Address:
    """A server, and what the URL's query says about using it.

    Attributes:
        scheme: `redis`, `rediss` (TLS) or `unix` (a socket file).
        connection: arguments of redis-py's connection classes, credentials among them.
        options: arguments of `RedisBackend` that stood in the query.
    """

    scheme: str
    connection: dict[str, Any] = field(repr=False)
    options: dict[str, Any]


def parse(url: str) -> Address:
    """Return the address that a URL names.

    Raises:
        ConfigurationError: it has another scheme, an unknown option, or is no URL at all.
    """
    parts = _split(url)
    if parts is None:
        raise ConfigurationError(_unreadable("cannot be read"))
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("a Redis URL starts with redis://, rediss:// (TLS) or unix://")
    if parts.fragment:
        raise ConfigurationError(_unreadable("holds a '#'"))
    if parts.scheme == "unix" and not parts.path:
        raise ConfigurationError("a unix:// URL names a socket file: unix:///run/redis.sock?db=0")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise ConfigurationError(_unreadable("has a path that is no database number"))
    connection = _arguments(url)
    if connection is None:
        raise ConfigurationError("an option in the URL's query has a value that cannot be read")
    connection.pop("connection_class", None)
    options = {name: connection.pop(name) for name in _OURS & connection.keys()}
    # The name of an unknown option is not shown: it may be the rest of a password that holds a '?'.
    if any(name not in _THEIRS | {"host", "port", "path"} and not name.startswith("ssl_") for name in connection):
        allowed = ", ".join(sorted(_OURS | _THEIRS))
        raise ConfigurationError(_unreadable(f"has an option that is not one of {allowed}, ssl_…"))
    if "timeout" in options:
        options["timeout"] = parse_duration(options["timeout"], "timeout")
    return Address(parts.scheme, connection, options)


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


def _unreadable(what: str) -> str:
    return f"the Redis URL {what}; write redis://user:password@host:6379/0, with special characters percent-encoded"
