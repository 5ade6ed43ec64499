"""A `requests` session whose requests end by their deadline; Google's and Microsoft's SDKs send through one.

Only those backends import this module: requests comes with their SDKs.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .sockets import pool_classes

_POOLS = pool_classes(HTTPConnectionPool, HTTPSConnectionPool)


class DeadlineAdapter(HTTPAdapter):
    """Sends through sockets that keep the deadline of the running operation (`tiercache.objectstore.sockets`)."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # its pools connect in their own way, each wait bounded by the SDK's
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        """Return what a connection is made with, without the TLS context that all sessions of the process may share.

        requests 2.32 passes such a one; with our sockets in it, everybody else's timeouts would not hold.
        """
        host, made_with = super().build_connection_pool_key_attributes(*args, **options)
        if made_with.pop("ssl_context", None) is not None:
            made_with["ca_certs"] = DEFAULT_CA_BUNDLE_PATH
        return host, made_with


def bind_to_deadlines(session: requests.Session, connections: int) -> None:
    """Let a session send through such sockets, without retries, keeping at most so many idle connections."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0))


def read_environment_once(session: requests.Session, url: str) -> None:
    """Take proxies and certificates for requests to `url` from the environment now, and never again.

    requests looks for them with each request, which costs a tenth of a GET or more, and takes credentials from a
    `.netrc` besides, in place of the SDK's.
    """
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify = found["proxies"], found["verify"]
    session.trust_env = False


class DirectSession(requests.Session):
    """A session for an SDK that brings all that its requests need: they are sent as they are given.

    No cookies, no redirects; proxies and certificates are the session's (`read_environment_once`). What requests does
    beside that with each request takes a tenth of the CPU of a GET.

    Args:
        connections: idle ones that are kept.
    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        bind_to_deadlines(self, connections)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send a request; the options are those of requests, as far as SDKs use them."""
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method, url, headers=options.get("headers"), data=options.get("data"), files=options.get("files")
        )
        stream = options.get("stream", False)
        response = self.get_adapter(url).send(
            prepared,
            stream=stream,
            timeout=options.get("timeout"),
            verify=self.verify,
            cert=options.get("cert"),
            proxies=self.proxies,
        )
        if not stream:
            response.content  # noqa: B018 - reads the body
        return response
