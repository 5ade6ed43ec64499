"""Credentials that run out: renewed beside the requests, so that none waits longer than it may."""

from __future__ import annotations

from typing import Any

from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from tiercache.errors import BackendTimeout
from tiercache.objectstore.beside import Beside

from .errors import NoCredentials

_LAST_SECONDS = 60  # before their end: what is signed with them may still be under way


def be_patient(credentials: Any) -> None:
    """Let requests take what these credentials are at the moment, where the SDK would renew them first.

    It asks a server or runs a program for others a quarter of an hour before they run out; until a minute before,
    nobody waits for that.
    """
    if isinstance(credentials, RefreshableCredentials):
        setattr(credentials, "get_frozen_credentials", _Patience(credentials).get)  # noqa: B010 - mypy knows the method


class _Patience:
    def __init__(self, credentials: RefreshableCredentials) -> None:
        self._credentials = credentials
        self._ask = credentials.get_frozen_credentials
        self._last: ReadOnlyCredentials | None = None
        self._renewal = Beside(self._renew)

    def get(self) -> ReadOnlyCredentials:
        """Return credentials that are still good, and have others fetched in time."""
        if self._last is None or self._credentials.refresh_needed(_LAST_SECONDS):
            self._wait()
        elif self._credentials.refresh_needed():
            self._renewal.start()
        if self._last is None:
            raise NoCredentials
        return self._last

    def _wait(self) -> None:
        try:
            self._renewal.wait()
        except TimeoutError:
            raise BackendTimeout("the credentials for S3 are still being looked for or renewed") from None

    def _renew(self) -> None:
        try:
            self._last = self._ask()
        except (ValueError, RuntimeError):  # the SDK's own for an answer that is none, or is out of date
            raise NoCredentials from None
