"""The one place where what S3 and its SDK report becomes an error of tiercache."""

from __future__ import annotations

import re
import time
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from tiercache.errors import ConfigurationError, TiercacheError
from tiercache.objectstore.faults import Absent, Conflict, Faults, Refused, Words, retry_after


class UnusableSettings(sdk.BotoCoreError):
    """The SDK cannot make a client of these settings, such as an endpoint_url that is no URL."""


class NoCredentials(sdk.BotoCoreError):
    """The SDK finds no credentials anywhere."""


WORDS = Words(
    store="S3",
    container="bucket",
    endpoint="endpoint_url",
    credentials="give access_key_id and secret_access_key, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a"
    " profile, or run with a role",
    permissions={
        "GetObject": "s3:GetObject",
        "HeadObject": "s3:GetObject",
        "PutObject": "s3:PutObject",
        "DeleteObject": "s3:DeleteObject",
        "DeleteObjects": "s3:DeleteObject",
        "ListObjectsV2": "s3:ListBucket",
        "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
        "GetBucketVersioning": "s3:GetBucketVersioning",
    },
    listing="s3:ListBucket",
    readers=frozenset({"GetObject", "HeadObject"}),
)
_ABSENT = {"NoSuchKey", "NoSuchVersion", "InvalidObjectState", "NoSuchLifecycleConfiguration"}
_CREDENTIALS = {
    "AuthFailure": "check them",
    "CredentialsNotSupported": "check them",
    "ExpiredToken": "renew the session token",
    "ExpiredTokenException": "renew the session token",
    "InvalidAccessKeyId": "the access key is unknown there; check it, and endpoint_url",
    "InvalidSecurity": "check them",
    "InvalidToken": "renew the session token",
    "NotSignedUp": "sign the account up for S3",
    "RequestTimeTooSkewed": WORDS.clock,
    "SignatureDoesNotMatch": "check the secret access key, and the region",
    "TokenRefreshRequired": "renew the session token",
    "UnrecognizedClientException": "check them",
}
_BUSY = {
    "BandwidthLimitExceeded",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "Redirect",
    "TemporaryRedirect",
}
_REGION = re.compile(r"expecting '([a-z0-9-]+)'")
_CODE = re.compile(r"[A-Za-z0-9.-]{1,60}")  # and no text of a server, which may hold anything
_NO_CREDENTIALS = (
    NoCredentials,
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
    sdk.UnauthorizedSSOTokenError,
)
_SETTINGS = (
    sdk.ParamValidationError,
    sdk.NoRegionError,
    sdk.InvalidRegionError,
    sdk.ProfileNotFound,
    sdk.ConfigParseError,
    sdk.InvalidConfigError,
    sdk.EndpointProviderError,
    sdk.DataNotFoundError,
    UnusableSettings,
)


def translate(error: Exception, operation: str, faults: Faults, deadline: float | None) -> TiercacheError | None:
    """Return the error to raise instead; None for one that is not the SDK's.

    Args:
        error: what the SDK raised.
        operation: the API operation, such as `GetObject`.
        faults: the errors of the bucket.
        deadline: when the operation had to end.
    """
    if isinstance(error, sdk.ClientError):
        return _answered(error, operation, faults)
    if not isinstance(error, (sdk.BotoCoreError, ResponseParserError, HTTPError, OSError)):
        return None
    kind = type(error).__name__
    if isinstance(error, _NO_CREDENTIALS):
        return faults.no_credentials(kind)
    if isinstance(error, ResponseParserError):
        return faults.not_a_store(kind)
    if isinstance(error, _SETTINGS):
        return ConfigurationError(f"the SDK refuses the settings ({kind}): check bucket, region, endpoint_url, profile")
    late = deadline is not None and time.monotonic() >= deadline
    if late or isinstance(error, (sdk.ConnectTimeoutError, sdk.ReadTimeoutError, TimeoutError)):
        return faults.timed_out(operation, kind)
    return faults.unreachable(operation, kind)


def by_code(code: str, operation: str, faults: Faults, status: int = 0, *, wait: float | None = None) -> TiercacheError:
    """Return the error for a code of the S3 API, as an answer or one key of a bulk delete carries it.

    Args:
        code: such as `SlowDown`; the HTTP status as text where the answer had no body, as for HEAD.
        operation: the API operation.
        faults: the errors of the bucket.
        status: the HTTP status, 0 when there is none of its own.
        wait: seconds that the answer asks for (`Retry-After`).
    """
    code = code if _CODE.fullmatch(code) else str(status)
    what = f"{code}, HTTP {status}" if status and code != str(status) else code
    if code in _ABSENT or (status == 404 and operation == "HeadObject"):
        return Absent(what)
    if status == 416:
        return faults.beyond_end(operation, what)
    if code == "PreconditionFailed" or status == 412:
        return Refused(what)
    if code == "ConditionalRequestConflict":
        return Conflict(what)
    if code == "NoSuchBucket":
        return faults.no_container()
    if code == "RequestTimeout":
        return faults.timed_out(operation, what)
    if code in _BUSY or status >= 500 or status == 429:
        # Without a code of S3 it came from something before S3, or from something that is not S3.
        return faults.busy(operation, what, explained=code != str(status), retry_after=wait)
    if code in _CREDENTIALS:
        return faults.bad_credentials(what, _CREDENTIALS[code])
    if code in ("AccessDenied", "AllAccessDisabled", "AccountProblem") or status in (401, 403):
        return faults.denied(operation, what)
    if code in ("EntityTooLarge", "MaxMessageLengthExceeded"):
        return faults.too_large(what)
    if code == "InvalidStorageClass":
        return ConfigurationError(
            f"{faults.where} does not take this storage_class: directory buckets take EXPRESS_ONEZONE, others do not"
        )
    if code in ("NotImplemented", "MethodNotAllowed") or code == str(status):
        return faults.not_a_store(what)
    return faults.refused(operation, what, "check prefix, sse, kms_key_id and checksums")


def credentials_refused(error: Exception) -> bool:
    """Whether the credentials themselves were refused, so that fresh ones may help."""
    return isinstance(error, sdk.ClientError) and error.response.get("Error", {}).get("Code") in _CREDENTIALS


def _answered(error: sdk.ClientError, operation: str, faults: Faults) -> TiercacheError:
    answer: dict[str, Any] = dict(error.response)
    details: dict[str, Any] = answer.get("Error", {})
    envelope: dict[str, Any] = answer.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), int(envelope.get("HTTPStatusCode", 0))
    headers: dict[str, str] = envelope.get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or details.get("Region")
    if region is None and (found := _REGION.search(str(details.get("Message", "")))):
        region = found[1]
    region = region if region and _CODE.fullmatch(region) else None
    without_body = operation == "HeadObject" and status == 400 and region is not None
    if code in _WRONG_REGION or status in (301, 302, 307) or without_body:
        where = (
            f"is in region {region!r}; pass region={region!r}" if region else "is in another region; pass its region"
        )
        return ConfigurationError(f"{faults.where} {where}")
    return by_code(code, operation, faults, status, wait=retry_after(headers))
