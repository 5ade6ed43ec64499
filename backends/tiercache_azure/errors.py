"""The one place where what Azure Blob and its SDK report becomes an error of tiercache."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from azure.core import exceptions as sdk
from urllib3.exceptions import HTTPError

from tiercache.errors import AccessDenied, ConfigurationError, TiercacheError
from tiercache.objectstore.faults import Absent, Faults, Refused, Words, retry_after


class UnusableSettings(sdk.AzureError):
    """The SDK cannot make a client of these settings, such as a connection string without an endpoint."""


class NotBlobStorage(sdk.AzureError):
    """An answer that lacks what every answer of Blob Storage has."""


class Unchangeable(Absent):
    """The blob can only be deleted: it is in the Archive tier, or, for a write, of another type than ours."""


class NoContainer(ConfigurationError):
    """The container is missing."""


_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
WORDS = Words(
    store="Azure Blob",
    container="container",
    endpoint="account_url",
    credentials="give connection_string, or account_url with credential (an account key, a SAS token or a token"
    " credential), or set AZURE_STORAGE_CONNECTION_STRING; DefaultAzureCredential takes a managed identity, a workload"
    " identity, AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or the login of the Azure CLI",
    permissions={
        "GetBlob": f"{_BLOBS}/read (in a SAS: r)",
        "GetBlobProperties": f"{_BLOBS}/read (in a SAS: r)",
        "PutBlob": f"{_BLOBS}/write (in a SAS: w)",
        "DeleteBlob": f"{_BLOBS}/delete (in a SAS: d)",
        "BlobBatch": f"{_BLOBS}/delete (in a SAS: d)",
        "ListBlobs": f"{_BLOBS}/read (in a SAS: l)",
        "CreateContainer": "Microsoft.Storage/storageAccounts/blobServices/containers/write (in a SAS: c)",
        "GetBlobServiceProperties": "Microsoft.Storage/storageAccounts/blobServices/read (a SAS for the service: r)",
        "GetManagementPolicy": "Microsoft.Storage/storageAccounts/managementPolicies/read",
        "PutManagementPolicy": "Microsoft.Storage/storageAccounts/managementPolicies/write",
        "DeleteManagementPolicy": "Microsoft.Storage/storageAccounts/managementPolicies/delete",
    },
)
ACCOUNT_WORDS = replace(
    WORDS,
    store="Azure Resource Manager",
    container="storage account",
    endpoint="management_url",
    credentials="pass a credential of somebody who may change the storage account, such as DefaultAzureCredential",
)
_UNCHANGEABLE = {"BlobArchived", "BlobBeingRehydrated", "InvalidBlobType"}
_ABSENT = {"BlobNotFound", "ManagementPolicyNotFound"}
_REFUSED = {"ConditionNotMet", "BlobAlreadyExists", "ContainerAlreadyExists"}
_BUSY = {
    "AccountBeingCreated",
    "ContainerBeingDeleted",
    "ContainerDisabled",
    "InternalError",
    "ServerBusy",
    "SystemInUse",
    "TooManyRequests",
}
_CREDENTIALS = {
    "AccountIsDisabled": "the account is disabled; enable it, or use another one",
    "AuthenticationFailed": "check the account key or the SAS token, whether it has expired, and this machine's clock",
    "AuthorizationFailure": "check them, and whether the account's network rules let this machine in",
    "AuthorizationProtocolMismatch": "the SAS token is for https; use an https account_url",
    "AuthorizationResourceTypeMismatch": "make the SAS token for containers and objects (srt=co)",
    "AuthorizationServiceMismatch": "make the SAS token for the blob service (ss=b)",
    "AuthorizationSourceIPMismatch": "the SAS token is for other addresses than this machine's",
    "ExpiredAuthenticationToken": "the token has expired; renew it, and check this machine's clock",
    "InvalidAuthenticationInfo": "check them, and the tenant that issued the token",
    "InvalidAuthenticationToken": "check the credential, and the cloud and tenant that issued its token",
    "InvalidAuthenticationTokenTenant": "the token comes from another tenant than the subscription's; log in there",
    "KeyBasedAuthenticationNotPermitted": "the account takes no keys; leave credential out, or pass a token credential",
    "NoAuthenticationInformation": WORDS.credentials,
}
# What the detail of an AuthenticationFailed says, and what to do then.
_DETAILS = {
    "date header": WORDS.clock,
    "signature not valid in the specified time frame": "the SAS token has expired, or is not valid yet; renew it",
    "mac signature": "check the account key, and that it is the one of this account",
    "signature did not match": "the SAS token is not signed by a key of this account; make a new one",
    "lifetime validation": "the token has expired; renew it, and check this machine's clock",
    "issuer validation": "the token comes from another tenant than the account's; set AZURE_TENANT_ID",
}
_PROTECTED = {
    "BlobImmutableDueToLegalHold": "lift the legal hold",
    "BlobImmutableDueToPolicy": "use a container without an immutability policy",
    "LeaseIdMissing": "end the lease of the blob",
    "SnapshotsPresent": "delete the blob's snapshots, and make none of a cache",
}
_PLACE = "check subscription_id, resource_group and the account's name, and that the credential may see them"
_TIER = "this account takes no such access_tier: choose another, or None for an account without tiers (premium)"
_SETTINGS = {
    "AccountRequiresHttps": "the account takes no plain HTTP; use an https account_url",
    "AccessTierNotSupportedForBlobType": _TIER,
    "BlobAccessTierNotSupportedForAccountType": _TIER,
    "BlobTierInadequateForContentLength": _TIER,
    "InvalidBlobTier": _TIER,
    "InvalidHeaderValue": "it may not know the SDK's version of the API: of Azurite, start the latest with"
    " --skipApiVersionCheck",
    "InvalidResourceName": "container must have 3 to 63 lower-case letters, digits and single hyphens",
    "OutOfRangeInput": "container must have 3 to 63 lower-case letters, digits and single hyphens",
    "ResourceGroupNotFound": _PLACE,
    "ResourceNotFound": "check where the account is, and the credentials: it cannot be seen with them",
    "SubscriptionNotFound": _PLACE,
}


def translate(error: Exception, operation: str, faults: Faults, deadline: float | None) -> TiercacheError | None:
    """Return the error to raise instead; None for one that is not the SDK's.

    Args:
        error: what the SDK raised.
        operation: the API operation, such as `GetBlob`.
        faults: the errors of the container.
        deadline: when the operation had to end.
    """
    kind = type(error).__name__
    if not isinstance(error, (sdk.AzureError, HTTPError, OSError)):
        return None
    if isinstance(error, UnusableSettings):
        return ConfigurationError(
            f"the SDK refuses the settings ({error.message}): check connection_string, account_url (https with a token"
            " credential; with a key and a domain of your own, an AzureNamedKeyCredential), credential and container"
        )
    if isinstance(error, (NotBlobStorage, sdk.DecodeError)):
        return faults.not_a_store(kind)
    if isinstance(error, sdk.ClientAuthenticationError) and not code_of(error):  # no key to sign with, or no token
        return faults.no_credentials(kind)
    if isinstance(error, sdk.HttpResponseError) and error.status_code in (401, 403) and not _from_azure(error):
        return faults.not_a_store(f"HTTP {error.status_code}")
    if isinstance(error, sdk.HttpResponseError) and error.status_code:
        wait = retry_after(getattr(error.response, "headers", {}))
        return by_code(code_of(error), error.status_code, operation, faults, _details(error), wait=wait)
    late = deadline is not None and time.monotonic() >= deadline
    if late or isinstance(error, (sdk.ServiceRequestTimeoutError, sdk.ServiceResponseTimeoutError, TimeoutError)):
        return faults.timed_out(operation, kind)
    return faults.unreachable(operation, kind)


def code_of(error: sdk.HttpResponseError) -> str:
    """Return the code of the API; empty where the answer has none."""
    headers = getattr(error.response, "headers", {})
    code = getattr(error, "error_code", None) or headers.get("x-ms-error-code", "")
    return str(getattr(code, "value", code))


def by_code(
    code: str,
    status: int,
    operation: str,
    faults: Faults,
    details: Mapping[str, str] | None = None,
    *,
    wait: float | None = None,
) -> TiercacheError:
    """Return the error for a code of the API, as an answer or a part of a batch carries it.

    Args:
        code: such as `ServerBusy`; empty where the answer has none.
        status: the HTTP status.
        operation: the API operation.
        faults: the errors of the container.
        details: what the answer says beside its code; none of it is shown.
        wait: seconds that it asks for (`Retry-After`).
    """
    details = details or {}
    what = f"{code}, HTTP {status}" if code else f"HTTP {status}"
    if code in _UNCHANGEABLE:
        return Unchangeable(what)
    if code in _ABSENT:
        return Absent(what)
    if code == "ContainerNotFound":
        return NoContainer(str(faults.no_container()))
    if code in _PROTECTED:
        return AccessDenied(f"{faults.words.store} protects a blob from {operation} ({what}): {_PROTECTED[code]}")
    if status == 416:
        return faults.beyond_end(operation, what)
    if code in _REFUSED or status == 412:
        return Refused(what)
    if code == "OperationTimedOut":
        return faults.timed_out(operation, what)
    if code in _BUSY or status >= 500 or status == 429:
        return faults.busy(operation, what, explained=bool(code), retry_after=wait)
    if code in _CREDENTIALS:
        said = details.get("authenticationerrordetail", "").lower()
        advice = next((advice for sign, advice in _DETAILS.items() if sign in said), _CREDENTIALS[code])
        return faults.bad_credentials(what, advice)
    if code and status in (401, 403):
        return faults.denied(operation, what)
    if code == "RequestBodyTooLarge" or status == 413:
        return faults.too_large(what)
    if not code:
        return faults.not_a_store(what)
    if details.get("headername", "").lower() == "x-ms-access-tier":
        return faults.refused(operation, what, _TIER)
    return faults.refused(operation, what, _SETTINGS.get(code, "check container, prefix and access_tier"))


def credentials_refused(error: Exception) -> bool:
    """Whether the credentials themselves were refused, so that fresh ones may help."""
    return isinstance(error, sdk.HttpResponseError) and code_of(error) in _CREDENTIALS


def _from_azure(error: sdk.HttpResponseError) -> bool:
    """Whether the answer comes from Azure or what stands for it: S3 denies in much the same words."""
    return "x-ms-request-id" in getattr(error.response, "headers", {})


def _details(error: sdk.HttpResponseError) -> dict[str, str]:
    """What the body of an answer says, by lower-case name."""
    return {name: text or "" for name, text in getattr(error, "additional_info", {}).items()}
