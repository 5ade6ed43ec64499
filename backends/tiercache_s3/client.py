"""The boto3 client: made at the first request, made again in a forked child, never shared with other code."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session
from botocore.utils import parse_timestamp

from tiercache.errors import CacheClosed

from .errors import UnusableSettings, no_credentials
from .sockets import UNBOUNDED_WAIT, bind_to_deadlines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Checksums = Literal["when_supported", "when_required"]


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the bucket; None: as the SDK finds it in the environment, files or the machine's role."""

    region: str | None
    endpoint_url: str | None = field(repr=False)  # it may hold a password
    access_key_id: str | None = field(repr=False)
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    profile: str | None
    path_style: bool
    checksums: Checksums
    connections: int


class LazyClient:
    """Holds the client of one backend.

    Args:
        connection: how to reach the bucket.
        timeout: asked when the client is made, for the SDK's own timeouts.
    """

    def __init__(self, connection: Connection, timeout: Callable[[], float | None]) -> None:
        self._connection = connection
        self._timeout = timeout
        self._closed = False
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        _clients.add(self)

    def get(self) -> S3Client:
        """Return the client.

        Raises:
            AccessDenied: there are no credentials.
            CacheClosed: `close` was called.
        """
        client = self._client
        if client is None:
            with self._lock:
                if self._closed:
                    raise CacheClosed("this S3 client")
                client = self._client
                if client is None:
                    client = self._client = _build(self._connection, self._timeout())
        return client

    def forget(self) -> None:
        """Make another client for the next request, which reads the credentials again where they can change."""
        if self._connection.access_key_id is None:
            self._client = None

    def close(self) -> None:
        """Close the connections; for good."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def reset(self) -> None:
        """Start anew, without a word to the connections of the process that was forked."""
        self._lock = threading.Lock()
        self._client = None


@cache
def _models(data_path: str | None) -> Loader:
    """The SDK's description of the S3 API: 0.1 s of CPU to read, so that all clients share it."""
    return create_loader(data_path)


def _build(connection: Connection, timeout: float | None) -> S3Client:
    core = get_session()
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_of)
    session = boto3.session.Session(
        botocore_session=core,
        aws_access_key_id=connection.access_key_id,
        aws_secret_access_key=connection.secret_access_key,
        aws_session_token=connection.session_token,
        region_name=connection.region,
        profile_name=connection.profile,
    )
    if session.get_credentials() is None:
        raise no_credentials("none found")
    seconds = UNBOUNDED_WAIT if timeout is None else timeout
    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the chain decides what to try again
        max_pool_connections=connection.connections,
        tcp_keepalive=True,
        user_agent_extra=f"tiercache/{_version()}",
        s3={"addressing_style": "path" if connection.path_style else "auto"},
        request_checksum_calculation=connection.checksums,
        response_checksum_validation="when_required",  # the envelope has a checksum of its own
    )
    try:
        client: S3Client = session.client("s3", endpoint_url=connection.endpoint_url, config=config)
    except ValueError:  # botocore's own for a bad URL
        raise UnusableSettings from None
    bind_to_deadlines(client)
    client.meta.events.register_last("before-parameter-build.s3", _stay_in_region)
    client.meta.events.register_last("before-call.s3", _send_at_once)
    if connection.checksums == "when_required":
        client.meta.events.register_last("before-call.s3.DeleteObjects", _sign_with_md5)
    return client


def _stay_in_region(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a bucket to another region: three requests for one, and traffic that costs."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Send headers and body together: asking first (`Expect: 100-continue`) costs a round trip for each write."""
    params["headers"].pop("Expect", None)


def _sign_with_md5(params: dict[str, Any], **_: Any) -> None:
    """Send the checksum that every store knows, in place of the CRC32 that some refuse."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def _time_of(value: Any) -> datetime:
    """Read the times of listings and headers; the SDK's parser, which guesses the format, takes 5 % of a GET."""
    try:
        if isinstance(value, str):
            if value.endswith("GMT"):
                return parsedate_to_datetime(value)
            if value.endswith("Z"):
                return datetime.fromisoformat(value)
        return parse_timestamp(value)
    except ValueError:
        raise ResponseParserError("a time cannot be read") from None


def _version() -> str:
    try:
        return version("tiercache")
    except PackageNotFoundError:  # run from a source tree
        return "0"


_clients: weakref.WeakSet[LazyClient] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
