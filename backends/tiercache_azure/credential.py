"""Tokens: they are asked for beside the requests, which wait for them no longer than their deadline."""

from __future__ import annotations

import threading
import time
from inspect import iscoroutinefunction
from typing import Any

from azure.core.credentials import AccessToken, TokenCredential

from tiercache import fork
from tiercache.errors import MissingExtra
from tiercache.objectstore.beside import Beside

STORAGE_SCOPE = "https://storage.azure.com/.default"
_SOON = 300.0  # seconds before its end in which a token is renewed
_SEARCHED_AGAIN = 10.0  # seconds: a search for an identity asks a metadata server, and runs programs
_Asked = tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]


class PatientCredential:
    """A token credential that costs a request no more than its deadline, however long the token takes.

    A token is shared by all requests. In its last five minutes it is renewed while they go on with it.

    Args:
        credential: what finds tokens: it may ask a metadata server, or run a program.
        owned: whether it is the default one, which is closed with this one, and which searches in many places: that
            it found nothing is remembered for a while.
    """

    def __init__(self, credential: TokenCredential, *, owned: bool = False) -> None:
        self._credential = credential
        self._owned = owned
        self._tokens: dict[_Asked, AccessToken] = {}
        self._renewals: dict[_Asked, Beside] = {}
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Make the lock anew."""
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token; the SDK calls it.

        Raises:
            TimeoutError: the operation of this thread has no time left; the next one may find the token.
            Exception: what the credential raises.
        """
        asked = scopes, tuple(sorted(options.items()))
        token = self._tokens.get(asked)
        left = token.expires_on - time.time() if token is not None else 0.0
        if token is not None and left > _SOON:
            return token
        with self._lock:
            renewal = self._renewals.get(asked)
            if renewal is None:
                told_for = _SEARCHED_AGAIN if self._owned else 0.0
                renewal = self._renewals[asked] = Beside(lambda: self._renew(asked), told_for=told_for)
        if token is not None and left > 0:
            renewal.start()
            return token
        renewal.wait()
        return self._tokens[asked]

    def close(self) -> None:
        """Close the connections of a credential of our own."""
        if self._owned:
            self._credential.close()  # type: ignore[attr-defined]

    def _renew(self, asked: _Asked) -> None:
        scopes, options = asked
        self._tokens[asked] = self._credential.get_token(*scopes, **dict(options))


def token_credential(given: Any) -> PatientCredential | None:
    """Return what asks for tokens in time; None for what is no token credential, or one of azure-identity's `aio`."""
    usable = hasattr(given, "get_token") and not iscoroutinefunction(given.get_token)
    return PatientCredential(given) if usable else None


def default_credential() -> PatientCredential:
    """Return `DefaultAzureCredential`, which looks for an identity where this process runs."""
    try:
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError:
        raise MissingExtra("DefaultAzureCredential", "azure") from None
    return PatientCredential(DefaultAzureCredential(), owned=True)
