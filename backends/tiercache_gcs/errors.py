"""The one place where what Google Cloud Storage and its libraries report becomes an error of tiercache."""

from __future__ import annotations

import re
import time
from typing import Any

import requests
from google.auth import exceptions as auth
from requests import exceptions as http
from urllib3.exceptions import HTTPError, LocationValueError

from tiercache.errors import BackendUnavailable, ConfigurationError, TiercacheError
from tiercache.objectstore.faults import Absent, Conflict, Faults, Refused, Words, retry_after

WORDS = Words(
    store="Google Cloud Storage",
    container="bucket",
    endpoint="endpoint_url (and STORAGE_EMULATOR_HOST)",
    credentials="give credentials_file or credentials_json, set GOOGLE_APPLICATION_CREDENTIALS, log in with"
    " `gcloud auth application-default login`, or run with a service account",
    permissions={
        "objects.get": "storage.objects.get",
        "objects.insert": "storage.objects.create (and storage.objects.delete, to replace an object)",
        "objects.delete": "storage.objects.delete",
        "objects.list": "storage.objects.list",
        "buckets.get": "storage.buckets.get",
        "buckets.patch": "storage.buckets.update",
    },
    listing="storage.objects.list",
    readers=frozenset({"objects.get"}),
)
_BUSY = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}
_ABOUT_OBJECTS = {"objects.get", "objects.delete"}  # a 404 in any other operation is about the bucket
_NO_URL = (http.InvalidURL, http.InvalidSchema, http.MissingSchema, LocationValueError)
_TIMEOUTS = (http.Timeout, TimeoutError)
_IN_TRANSPORT = (http.RequestException, HTTPError, OSError)
_CODE = re.compile(r"[A-Za-z_ ]{1,60}")


class Answered(Exception):
    """The answer to a request is no success.

    Args:
        status: HTTP's.
        content: the body, as far as it is JSON.
        wait: seconds that it asks for (`Retry-After`).
    """

    def __init__(self, status: int, content: Any, wait: float | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = wait
        self.explained = isinstance(content, dict) and isinstance(content.get("error"), dict)
        self.reason = _reason(content["error"]) if self.explained else ""

    @classmethod
    def of(cls, answer: requests.Response) -> Answered:
        """Return the error that an answer tells of."""
        wait = retry_after(answer.headers)
        try:
            return cls(answer.status_code, answer.json(), wait)
        except (ValueError, http.RequestException):  # no JSON, or it did not arrive: the status says enough
            return cls(answer.status_code, None, wait)


class NoToken(auth.GoogleAuthError):
    """Whoever gives the tokens cannot be reached, or cannot serve."""


class NoTokenYet(auth.GoogleAuthError):
    """The credentials are still being looked for, or renewed."""


class NotAStore(Exception):
    """What answers is not Google Cloud Storage, for the reason given."""


def translate(error: Exception, operation: str, faults: Faults, deadline: float | None) -> TiercacheError | None:
    """Return the error to raise instead; None for one that is not the libraries'.

    Args:
        error: what they raised.
        operation: the API's method, such as `objects.get`.
        faults: the errors of the bucket.
        deadline: when the operation had to end.
    """
    kind = type(error).__name__
    if isinstance(error, Answered):
        return by_status(error, operation, faults)
    if isinstance(error, auth.GoogleAuthError):
        return _without_token(error, operation, faults)
    if isinstance(error, NotAStore):
        return faults.not_a_store(str(error))
    if isinstance(error, (http.InvalidJSONError, http.TooManyRedirects)):
        return faults.not_a_store(kind)
    if isinstance(error, _NO_URL):
        return ConfigurationError(f"endpoint_url is no URL that can be used ({kind}): give https://host")
    if not isinstance(error, _IN_TRANSPORT):
        return None
    if isinstance(error, _TIMEOUTS) or (deadline is not None and time.monotonic() >= deadline):
        return faults.timed_out(operation, kind)
    return faults.unreachable(operation, kind)


def by_status(answer: Answered, operation: str, faults: Faults) -> TiercacheError:
    """Return the error for an answer, or for the answer to one part of a batch."""
    status, reason = answer.status, answer.reason
    what = f"HTTP {status} {reason}".rstrip()
    if status == 404:
        return Absent(what) if operation in _ABOUT_OBJECTS else _no_bucket(answer, faults, what)
    if status == 416:
        return faults.beyond_end(operation, what)
    if status == 412:
        return Refused(what)
    if status == 409:
        return Conflict(what)
    if status == 408:
        return faults.timed_out(operation, what)
    if status == 429 or status >= 500 or reason in _BUSY:
        # Unexplained, it came from something before the store, or from something that is not the store.
        return faults.busy(operation, what, explained=answer.explained, retry_after=answer.retry_after)
    if status == 401:
        return faults.bad_credentials(what, f"they are missing, expired or revoked; {WORDS.credentials}")
    if status == 403 and (answer.explained or operation == "objects.get"):  # a download explains nothing
        return faults.denied(operation, what)
    if status == 413:
        return faults.too_large(what)
    if not answer.explained:
        return faults.not_a_store(what)
    return faults.refused(operation, what, "check bucket, prefix, storage_class and project")


def credentials_refused(error: Exception) -> bool:
    """Whether the credentials themselves were refused, so that others may help."""
    return isinstance(error, auth.RefreshError) or (isinstance(error, Answered) and error.status == 401)


def _no_bucket(answer: Answered, faults: Faults, what: str) -> ConfigurationError:
    return faults.no_container() if answer.explained else faults.not_a_store(f"{what}; or {faults.where} is missing")


def _without_token(error: auth.GoogleAuthError, operation: str, faults: Faults) -> TiercacheError:
    if isinstance(error, NoTokenYet):
        return faults.timed_out(operation, "its credentials are still being looked for or renewed")
    if isinstance(error, (NoToken, auth.TransportError)):
        what = str(error) if isinstance(error, NoToken) else type(error).__name__
        return BackendUnavailable(f"no token for {WORDS.store} can be fetched ({what}): check the network")
    if not isinstance(error, auth.RefreshError):
        return faults.no_credentials(type(error).__name__)
    text = str(error)
    if "reasonable timeframe" in text or "iat and exp" in text:
        return faults.skewed("invalid_grant")
    return faults.bad_credentials(
        "invalid_grant" if "invalid_grant" in text else type(error).__name__,
        "the key or the login is revoked, expired or of another account; renew it",
    )


def _reason(error: dict[str, Any]) -> str:
    """The reason that an error of the API names: a code, and no text that may hold an object's name."""
    try:
        reason = str(error["errors"][0]["reason"])
    except (LookupError, TypeError):
        reason = str(error.get("status", ""))
    return reason if _CODE.fullmatch(reason) else ""
