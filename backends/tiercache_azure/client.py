"""The SDK's client of a container: how it is set up, and what of its habits it is rid of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from tiercache.objectstore.client import user_agent
from tiercache.objectstore.session import DirectSession, read_environment_once
from tiercache.objectstore.sockets import UNBOUNDED_WAIT

from .credential import PatientCredential, default_credential, token_credential
from .errors import NotBlobStorage, UnusableSettings

Credential: TypeAlias = str | AzureNamedKeyCredential | AzureSasCredential | TokenCredential
# The SDK tells each request at INFO in some thirty lines, its URL with the key of the entry among them.
_requests = logging.getLogger("tiercache.azure.requests")
_requests.setLevel(logging.WARNING)
_LARGEST_PUT = 5000 * 2**20  # bytes that one Put Blob takes
LARGEST_ENTRY = _LARGEST_PUT - 2**24
"""Bytes of the largest payload: an envelope has to go with it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the container; either `connection_string` or `account_url` is given."""

    container: str
    connection_string: str | None = field(repr=False)
    account_url: str | None = field(repr=False)  # it may hold a SAS token
    credential: Credential | None = field(repr=False)  # None: what the others hold, or the default credential
    connections: int

    @property
    def finds_tokens(self) -> bool:
        """Whether it signs in with tokens, which may be other ones later; keys and SAS tokens stay as they are."""
        if self.credential is not None:
            return hasattr(self.credential, "get_token")
        return self.connection_string is None and "sig=" not in urlsplit(self.account_url or "").query


class _Transport(RequestsTransport):  # type: ignore[misc]  # loaded when it is asked for
    """Sends through a session that a close leaves to the requests that are under way, or about to be."""

    def close(self) -> None:
        self.session.close()


def build(connection: Connection, timeout: float | None) -> ContainerClient:
    """Return a client that keeps deadlines; `timeout` is for the SDK's own, which are a second line behind them."""
    session = DirectSession(connection.connections)
    seconds = UNBOUNDED_WAIT if timeout is None else timeout
    transport = _Transport(session=session, connection_timeout=seconds, read_timeout=seconds)
    options: dict[str, Any] = {
        "transport": transport,
        "retry_total": 0,  # the chain decides what to try again
        "permit_redirects": False,
        "max_single_put_size": _LARGEST_PUT,  # one request for each write
        "max_single_get_size": _LARGEST_PUT,  # and for each read; what is too large is not read (see `container`)
        "user_agent": user_agent(),
        "raw_response_hook": check_origin,
        "logger": _requests,
    }
    client = _client(connection, _credential(connection), options)
    read_environment_once(session, client.primary_endpoint)
    return client


def close(client: ContainerClient) -> None:
    """Close the connections of the client, and those of the default credential."""
    client.close()
    if isinstance(client.credential, PatientCredential):
        client.credential.close()


def _credential(connection: Connection) -> Any:
    """What the SDK signs with; None where the connection string or the URL holds it."""
    given = connection.credential
    if given is None:
        return default_credential() if connection.finds_tokens else None
    url = _with_scheme(connection.account_url or "")
    if isinstance(given, str) and "&" not in given and url.path.strip("/") and ".blob." not in url.netloc:
        # A key, and an emulator's URL: the SDK looks for the account there at localhost only.
        return AzureNamedKeyCredential(url.path.strip("/"), given)
    if isinstance(given, (str, AzureNamedKeyCredential, AzureSasCredential)):
        return given
    patient = token_credential(given)
    if patient is None:
        raise UnusableSettings(type(given).__name__)
    return patient


def _with_scheme(account_url: str) -> SplitResult:
    return urlsplit(account_url if account_url.lower().startswith("http") else f"https://{account_url}")  # as the SDK


def _client(connection: Connection, credential: Any, options: Mapping[str, Any]) -> ContainerClient:
    try:
        if connection.account_url is not None:
            return ContainerClient(connection.account_url, connection.container, credential, **options)
        return ContainerClient.from_connection_string(
            connection.connection_string or "", connection.container, credential, **options
        )
    except (ValueError, TypeError) as error:
        raise UnusableSettings(type(error).__name__) from None


def check_origin(answer: PipelineResponse[Any, Any]) -> None:
    """Raise when a success was answered by something else than Blob Storage: a web page, a proxy's login."""
    response = answer.http_response
    if response.status_code < 300 and "x-ms-request-id" not in response.headers:
        response.internal_response.close()
        raise NotBlobStorage("no request id")
