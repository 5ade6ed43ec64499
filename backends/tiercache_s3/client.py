"""The boto3 client: how it is set up, and what of botocore's habits it is rid of."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool
from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session
from botocore.utils import parse_timestamp

from tiercache.objectstore.client import user_agent
from tiercache.objectstore.sockets import UNBOUNDED_WAIT, pool_classes

from .credentials import be_patient
from .errors import NoCredentials, UnusableSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_POOLS = pool_classes(AWSHTTPConnectionPool, AWSHTTPSConnectionPool)
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


@cache
def _models(data_path: str | None) -> Loader:
    """The SDK's description of the S3 API: 0.1 s of CPU to read, so that all clients share it."""
    return create_loader(data_path)


def build(connection: Connection, timeout: float | None) -> S3Client:
    """Return a client that keeps deadlines; `timeout` is for the SDK's own, which are a second line behind them."""
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
    try:
        credentials = session.get_credentials()
    except (ValueError, OSError):  # the SDK's own for a program that is missing, or answers nonsense
        raise NoCredentials from None
    if credentials is None:
        raise NoCredentials
    be_patient(credentials)
    seconds = UNBOUNDED_WAIT if timeout is None else timeout
    config = Config(
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the chain decides what to try again
        max_pool_connections=connection.connections,
        tcp_keepalive=True,
        user_agent_extra=user_agent(),
        s3={"addressing_style": "path" if connection.path_style else "auto"},
        request_checksum_calculation=connection.checksums,
        response_checksum_validation="when_required",  # the envelope has a checksum of its own
    )
    try:
        client: S3Client = session.client("s3", endpoint_url=connection.endpoint_url, config=config)
    except ValueError:  # botocore's own for a bad URL
        raise UnusableSettings from None
    _bind_to_deadlines(client)
    client.meta.events.register_last("before-parameter-build.s3", _stay_in_region)
    client.meta.events.register_last("before-call.s3", _send_at_once)
    if connection.checksums == "when_required":
        client.meta.events.register_last("before-call.s3.DeleteObjects", _sign_with_md5)
    return client


def _bind_to_deadlines(client: Any) -> None:
    """Make a botocore client connect through sockets that keep deadlines.

    It reaches into the client, for want of a public way. A botocore that is built otherwise keeps its own sockets
    and its own timeouts, which bound each wait, not the sum; tests of this package fail then.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    classes = getattr(session, "_pool_classes_by_scheme", None)
    if isinstance(classes, dict):
        classes.update(_POOLS)


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
