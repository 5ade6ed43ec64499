"""What a client is given so that it behaves as an SDK's own: timeouts, limits, proxies, and the cache before each."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.request import getproxies

from .exchange import Exchange
from .modules import Face

_FOR_THE_WIRE = (
    "verify",
    "cert",
    "http1",
    "http2",
    "limits",
    "trust_env",
    "uds",
    "local_address",
    "retries",
    "socket_options",
)
# What openai and anthropic have.
_SECONDS, _SECONDS_TO_CONNECT = 600, 5.0
_CONNECTIONS, _KEPT = 1000, 100


def options_of(module: Any, exchange: Exchange, face: Face, said: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a client of this module.

    A client that is given a transport looks for no proxies; those of the environment are mounted here, by the rules
    of httpx, each with the cache before it.
    """
    options = dict(said)
    wire = {name: options.pop(name) for name in _FOR_THE_WIRE if name in options}
    wire.setdefault("limits", module.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT))
    if "trust_env" in wire:
        options["trust_env"] = wire["trust_env"]
    inner, mounts = options.pop("transport", None), options.pop("mounts", None)
    proxy = options.pop("proxy", None)
    routes: dict[str, Any] = {}
    if proxy is not None:
        routes["all://"] = face.inner(proxy=proxy, **wire)
    elif inner is None and wire.get("trust_env", True):
        for pattern, url in _proxies().items():
            routes[pattern] = None if url is None else face.inner(proxy=url, **wire)
    routes |= mounts or {}
    options["mounts"] = {
        pattern: None if route is None else face.transport(exchange, route) for pattern, route in routes.items()
    }
    options["transport"] = face.transport(exchange, face.inner(**wire) if inner is None else inner)
    options.setdefault("timeout", module.Timeout(_SECONDS, connect=_SECONDS_TO_CONNECT))
    options.setdefault("follow_redirects", True)
    return options


def brings_its_own(said: dict[str, Any]) -> bool:
    """Whether the caller brings transports, which others may use and which are not to be closed with a lost client."""
    return said.get("transport") is not None or bool(said.get("mounts"))


def _proxies() -> dict[str, str | None]:
    """Return the proxies of the environment, by pattern; None: no proxy there."""
    found = getproxies()
    exempt = [host for host in map(str.strip, found.get("no", "").split(",")) if host]
    if "*" in exempt:
        return {}
    routes: dict[str, str | None] = {}
    for scheme in ("http", "https", "all"):
        url = found.get(scheme)
        if url:
            routes[f"{scheme}://"] = url if "://" in url else f"http://{url}"
    if routes:
        routes |= {pattern: None for pattern in map(_pattern, exempt) if pattern is not None}
    return routes


def _pattern(host: str) -> str | None:
    """Return what an item of NO_PROXY stands for; None: nothing that can be told from an URL (a network, say)."""
    if "://" in host:
        return host
    if host.startswith(("[", "*.")) or host.lower() == "localhost":
        return None if "/" in host else f"all://{host}"
    address, _, network = host.partition("/")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return None if network else f"all://*{host}"
    return f"all://[{host}]" if version == 6 else f"all://{host}"
