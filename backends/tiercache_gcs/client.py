"""The SDK's client, and the session that it sends through: without retries, ended by the deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests
from google.api_core.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage  # type: ignore[import-untyped]

from tiercache.objectstore.client import user_agent
from tiercache.objectstore.session import bind_to_deadlines, read_environment_once
from tiercache.objectstore.sockets import UNBOUNDED_WAIT

from .errors import Answered, NotAStore
from .tokens import OnceOnly, Tokens

Query = dict[str, Any]
_FOR_TOKENS = 4  # connections: few ask for a token, seldom


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the bucket; None: as the SDK finds it in the environment, files or the machine's account."""

    project: str | None
    endpoint_url: str | None = field(repr=False)  # it may hold a password
    credentials: Any = field(repr=False)
    credentials_file: str | None
    anonymous: bool
    connections: int


class Session(AuthorizedSession):
    """Sends each request once, and raises `Answered` for what is no success.

    After a 401 the token is renewed and the request sent again, once.
    """

    def __init__(self, credentials: Any, auth_request: OnceOnly, connections: int) -> None:
        # It would renew a token by itself, and leave the connection of a refused download open.
        super().__init__(credentials, refresh_status_codes=(), auth_request=auth_request)
        bind_to_deadlines(self, connections)
        self.max_redirects = 0
        self.headers["User-Agent"] = user_agent()

    def close(self) -> None:
        """Close the connections, those to whoever gives the tokens too."""
        self._auth_request.session.close()
        super().close()

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request and return the answer; its deadline is that of the thread's operation."""
        options.setdefault("timeout", UNBOUNDED_WAIT)
        answer: requests.Response = super().request(*args, **options)
        if answer.status_code == 401 and isinstance(self.credentials, Tokens):
            answer.close()
            self.credentials.refresh(self._auth_request)
            answer = super().request(*args, **options)
        if not 200 <= answer.status_code < 300:
            with answer:
                raise Answered.of(answer)
        return answer


class Link(NamedTuple):
    """What a request needs: the SDK's client, its session, and where they send to."""

    client: Any
    session: Session
    url: str

    def ask(self, method: str, path: str, query: Query | None = None, data: Query | None = None) -> dict[str, Any]:
        """Make one call of the JSON API, and return what the answer holds.

        The client's public methods make two: beside the first one for each bucket they ask about the bucket itself,
        in a thread of their own, with retries, and with a permission that a cache does not need.
        """
        call = self.client._connection.api_request
        answer = call(method=method, path=path, query_params=query or {}, data=data, expect_json=method != "DELETE")
        return {} if isinstance(answer, bytes) else _object(answer)


def json_of(answer: requests.Response) -> dict[str, Any]:
    """Return what an answer of the API holds."""
    return _object(answer.json())


def _object(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise NotAStore("JSON that is no object")
    return content


def build(connection: Connection) -> Link:
    """Return a client; it asks for credentials when the first request is sent."""
    plain = requests.Session()
    bind_to_deadlines(plain, _FOR_TOKENS)
    auth_request = OnceOnly(plain)
    credentials: Any = AnonymousCredentials()
    if not connection.anonymous:
        credentials = Tokens(connection.credentials, connection.credentials_file, auth_request)
    session = Session(credentials, auth_request, connection.connections)
    client: Any = storage.Client(
        project=connection.project,
        credentials=credentials,
        _http=session,
        client_info=ClientInfo(user_agent=user_agent()),
        client_options={"api_endpoint": connection.endpoint_url} if connection.endpoint_url else None,
    )
    url = client.api_endpoint.rstrip("/")
    read_environment_once(session, url)
    return Link(client, session, url)
