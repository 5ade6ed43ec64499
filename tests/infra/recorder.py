"""A pytest plugin that notes which permissions the requests of tiercache's own clients need.

It watches all HTTP requests of the process and picks those whose user agent says `tiercache/`: what the tests do
beside the backend, with clients of their own, is not the client's. A request is noted before it is sent, however it
ends. Noted too are the prefixes of the backends, below which their requests must stay.
`RECORD_CLOUD` says whose requests they are, `RECORD_TO` where the notes go (see client_permissions.py).
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import urllib3.connection
from permissions import OF, Need, Request, UnknownRequest

from tiercache.objectstore import ObjectStoreBackend

needs: set[Need] = set()
unknown: set[str] = set()
backends: list[tuple[ObjectStoreBackend, str]] = []


def note(host: str, method: str, target: str, headers: Any, body: Any) -> None:
    """Note a request, if it is one of ours."""
    read = {_text(name).lower(): _text(value) for name, value in dict(headers or {}).items()}
    if "tiercache/" not in read.get("user-agent", ""):
        return
    data = body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytes | bytearray) else b""
    try:
        needs.update(OF[os.environ["RECORD_CLOUD"]](Request(method, target, read, data, host)))
    except UnknownRequest as error:
        unknown.add(str(error))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _watch_urllib3() -> None:
    """boto3, google-cloud-storage and azure-storage-blob all send through it."""
    connection = urllib3.connection.HTTPConnection
    send = connection.request

    def request(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:
        note(self.host, method, url, headers, body)
        return send(self, method, url, body=body, headers=headers, **options)

    connection.request = request  # type: ignore[method-assign]


def _watch_aiohttp() -> None:
    """azure-storage-blob sends through it when it is awaited."""
    try:
        from aiohttp import ClientSession
    except ModuleNotFoundError:
        return
    send = ClientSession._request

    async def request(self: Any, method: str, url: Any, **options: Any) -> Any:
        parts = urlsplit(str(url))
        target = f"{parts.path}?{parts.query}"
        note(parts.hostname or "", method, target, options.get("headers"), options.get("data"))
        return await send(self, method, url, **options)

    ClientSession._request = request  # type: ignore[method-assign]


def _watch_backends() -> None:
    """Also those that are copies of others with a prefix of their own."""

    def set_attribute(self: ObjectStoreBackend, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name == "prefix":
            backends.append((self, value))

    ObjectStoreBackend.__setattr__ = set_attribute  # type: ignore[method-assign, assignment]


def _container(backend: Any) -> str:
    return str(getattr(backend, "bucket", None) or getattr(backend, "container", None))


def pytest_configure() -> None:
    _watch_urllib3()
    _watch_aiohttp()
    _watch_backends()


def pytest_unconfigure() -> None:
    with open(os.environ["RECORD_TO"], "w") as file:
        prefixes = sorted({(_container(backend), prefix) for backend, prefix in backends})
        json.dump({"needs": sorted(needs), "unknown": sorted(unknown), "prefixes": prefixes}, file)
