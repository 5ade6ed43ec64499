"""The token that each request carries: found and renewed beside the requests, so that none waits longer than it may."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import google.auth
from google.auth.credentials import Credentials, TokenState, with_scopes_if_required
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport import DEFAULT_RETRYABLE_STATUS_CODES
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from tiercache.errors import ConfigurationError
from tiercache.objectstore.beside import Beside

from .errors import NoToken, NoTokenYet

SCOPES = ("https://www.googleapis.com/auth/devstorage.full_control",)  # what is allowed, the account's roles say


class OnceOnly(Request):
    """Sends what google-auth asks for, once: left alone, that tries again with pauses of seconds."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it, and return the answer."""
        try:
            answer: Any = super().__call__(*args, **options)
        except TransportError as error:
            raise NoToken(type(error.args[0]).__name__ if error.args else "TransportError") from None
        if answer.status in DEFAULT_RETRYABLE_STATUS_CODES:
            raise NoToken(f"HTTP {answer.status}")
        return answer


class _Sent(threading.local):
    token: str | None = None


class Tokens(Credentials):
    """Credentials that stand for those of the user, of a file, or of the machine.

    Args:
        given: the user's, or None.
        file: where they stand, or None.
        request: how google-auth sends its own requests.
    """

    def __init__(self, given: Any, file: str | None, request: OnceOnly) -> None:
        super().__init__()
        self._given = given
        self._file = file
        self._request = request
        self._found: Any = None
        self._refused: str | None = None
        self._sent = _Sent()
        self._renewal = Beside(self._renew)

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Give the request its token; wait for one only where there is none that the store still takes."""
        found = self._wait() if self._found is None else self._found
        if _runs_out(found):
            self._renewal.start()
            found.apply(headers)
        else:
            if not found.valid:
                self._wait()
            found.before_request(self._request, method, url, headers)
        self._sent.token = found.token

    def refresh(self, request: Any) -> None:
        """Renew the token that this thread's request was refused with, unless another thread did."""
        self._refused = self._sent.token
        self._wait()

    def _wait(self) -> Any:
        try:
            self._renewal.wait()
        except TimeoutError:
            raise NoTokenYet from None
        return self._found

    def _renew(self) -> None:
        if self._found is None:
            self._found = self._find()
            if _runs_out(self._found):  # it will do for now: let nobody wait
                return
        if not self._found.valid or (self._refused is not None and self._found.token == self._refused):
            self._found.refresh(self._request)

    def _find(self) -> Any:
        found = _found(self._file, self._request) if self._given is None else self._given
        return with_scopes_if_required(found, SCOPES)


def _runs_out(credentials: Any) -> bool:
    """Whether the token should be renewed, and is still taken."""
    return not credentials.valid and credentials.token_state is TokenState.STALE


def of_service_account(key: str | Mapping[str, Any]) -> Any:
    """Return the credentials of a service account.

    Args:
        key: its key as Google gives it out, as JSON or as what that decodes to.

    Raises:
        ConfigurationError: it is no such key.
    """
    try:
        fields = json.loads(key) if isinstance(key, str) else dict(key)
        return service_account.Credentials.from_service_account_info(fields, scopes=SCOPES)
    except (ValueError, TypeError, AttributeError, GoogleAuthError) as error:
        raise ConfigurationError(
            f"credentials_json cannot be used ({type(error).__name__}): it must be the key of a service account, as"
            " JSON or a dict; for other credentials see credentials_file and credentials"
        ) from None


def _found(file: str | None, request: OnceOnly) -> Any:
    """The credentials in a file, or where google-auth looks for some."""
    try:
        if file is None:
            return google.auth.default(scopes=SCOPES, request=request)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of files that one's users may have written
            return google.auth.load_credentials_from_file(file, scopes=SCOPES, request=request)[0]
    except NoToken as error:  # nor is there a metadata server
        raise DefaultCredentialsError(str(error)) from None
    except (OSError, ValueError, TypeError, AttributeError, DefaultCredentialsError) as error:
        if file is None and isinstance(error, DefaultCredentialsError):
            raise
        raise ConfigurationError(
            f"credentials_file (or GOOGLE_APPLICATION_CREDENTIALS) cannot be used ({type(error).__name__}): it must"
            " be the JSON file of a service account's key, or another that google-auth reads"
        ) from None
