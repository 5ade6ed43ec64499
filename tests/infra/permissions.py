"""Which permissions a request to a store needs, by what the vendors document; they are the tables below.

S3: "Actions, resources, and condition keys for Amazon S3" in the Service Authorization Reference. Google: "IAM
permissions for JSON methods". Azure: "Authorize with Microsoft Entra ID", permissions for calling data operations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

T = TypeVar("T")


class Request(NamedTuple):
    """A request as it goes over the wire: `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    host: str = ""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query, True).items()}


class Need(NamedTuple):
    """A permission that a request needs, and on what: an object's name, or the prefix of a listing."""

    permission: str
    container: str
    name: str


class UnknownRequest(Exception):
    """No table has this kind of request: add it, with the permission that the vendor documents."""


# By method, whether it is of an object or the bucket, and what the query asks for.
S3 = {
    ("GET", "object", ""): "s3:GetObject",
    ("HEAD", "object", ""): "s3:GetObject",
    ("PUT", "object", ""): "s3:PutObject",
    ("POST", "object", "uploads"): "s3:PutObject",
    ("PUT", "object", "uploadId"): "s3:PutObject",
    ("POST", "object", "uploadId"): "s3:PutObject",
    ("DELETE", "object", "uploadId"): "s3:AbortMultipartUpload",
    ("DELETE", "object", ""): "s3:DeleteObject",
    ("POST", "bucket", "delete"): "s3:DeleteObject",
    ("GET", "bucket", "list-type"): "s3:ListBucket",
    ("HEAD", "bucket", ""): "s3:ListBucket",
    ("GET", "bucket", "lifecycle"): "s3:GetLifecycleConfiguration",
    ("PUT", "bucket", "lifecycle"): "s3:PutLifecycleConfiguration",
    ("DELETE", "bucket", "lifecycle"): "s3:PutLifecycleConfiguration",
}
S3_PARAMETERS = {"prefix", "continuation-token", "max-keys", "encoding-type", "partNumber"}
S3_HEADERS = {"x-amz-tagging": "s3:PutObjectTagging", "x-amz-acl": "s3:PutObjectAcl"}

GCS = {
    ("GET", "object"): ["storage.objects.get"],
    ("PATCH", "object"): ["storage.objects.update"],
    ("DELETE", "object"): ["storage.objects.delete"],
    ("POST", "objects"): ["storage.objects.create", "storage.objects.delete"],  # delete: if it writes over another
    ("GET", "objects"): ["storage.objects.list"],
    ("GET", "bucket"): ["storage.buckets.get"],
    ("PATCH", "bucket"): ["storage.buckets.update"],
}
GCS_PATH = re.compile(r"(?:/upload|/download)?/storage/v1/b/([^/]+)(?:(/o)(?:/([^/]+))?)?")

CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers/"
AZURE = {
    ("GET", "blob", ""): "blobs/read",
    ("HEAD", "blob", ""): "blobs/read",
    ("PUT", "blob", ""): "blobs/write",
    ("PUT", "blob", "block"): "blobs/write",
    ("PUT", "blob", "blocklist"): "blobs/write",
    ("PUT", "blob", "metadata"): "blobs/write",
    ("PUT", "blob", "properties"): "blobs/write",
    ("PUT", "blob", "tier"): "blobs/write",
    ("PUT", "blob", "tags"): "blobs/tags/write",
    ("DELETE", "blob", ""): "blobs/delete",
    ("GET", "container", "list"): "blobs/read",
    ("GET", "container", ""): "read",
    ("HEAD", "container", ""): "read",
    ("PUT", "container", ""): "write",
}
ACCOUNT_IN_PATH = re.compile(r"[\d.]+|localhost")  # Azurite: an account's own host needs a name


def of_s3(request: Request) -> Iterator[Need]:
    """Yield what a request to S3 needs; the bucket stands in the path."""
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    query = request.query
    asks = "uploadId" if "uploadId" in query else next((name for name in query if name not in S3_PARAMETERS), "")
    permission = _look_up(S3, (request.method, "object" if key else "bucket", asks))
    if asks == "delete":
        names = re.findall(r"<Key>([^<]*)</Key>", request.body.decode())
        yield from (Need(permission, bucket, unescape(name)) for name in names)
    else:
        yield Need(permission, bucket, key or query.get("prefix", ""))
    yield from (Need(more, bucket, key) for header, more in S3_HEADERS.items() if header in request.headers)


def of_gcs(request: Request) -> Iterator[Need]:
    """Yield what a request to Cloud Storage's JSON API needs."""
    if request.path.startswith("/batch/"):
        yield from (need for inner in _within(request) for need in of_gcs(inner))
        return
    found, query = GCS_PATH.fullmatch(request.path), request.query
    if found is None:
        raise UnknownRequest(f"{request.method} {request.path}")
    if "upload_id" in query:  # goes on with an upload that was allowed when it began
        return
    bucket, kind = unquote(found[1]), "object" if found[3] else "objects" if found[2] else "bucket"
    permissions = _look_up(GCS, (request.method, kind))
    name = unquote(found[3] or "") or query.get("prefix", "")
    if (request.method, kind) == ("POST", "objects"):
        name = query.get("name") or _uploaded_name(request.body)
        if query.get("ifGenerationMatch") == "0":  # it never writes over another
            permissions = ["storage.objects.create"]
    yield from (Need(permission, bucket, name) for permission in permissions)


def of_azure(request: Request) -> Iterator[Need]:
    """Yield what a request to Blob Storage needs."""
    query = request.query
    if query.get("comp") == "batch":
        yield from (need for inner in _within(request) for need in of_azure(inner))
        return
    path = unquote(request.path).lstrip("/")
    if ACCOUNT_IN_PATH.fullmatch(request.host):
        _, _, path = path.partition("/")
    container, _, blob = path.partition("/")
    kind = "container" if query.get("restype") == "container" else "blob"
    permission = _look_up(AZURE, (request.method, kind, query.get("comp", "")))
    yield Need(CONTAINERS + permission, container, blob or query.get("prefix", ""))
    if "x-ms-tags" in request.headers:
        yield Need(CONTAINERS + "blobs/tags/write", container, blob)


OF = {"aws": of_s3, "gcp": of_gcs, "azure": of_azure}


def _look_up(table: Mapping[Any, T], kind: tuple[str, ...]) -> T:
    try:
        return table[kind]
    except KeyError:
        raise UnknownRequest(" ".join(kind)) from None


def _within(batch: Request) -> Iterator[Request]:
    """The requests within a batch, which is one of type multipart/mixed."""
    for method, target in re.findall(r"^([A-Z]+) (\S+) HTTP/1\.1\s*$", batch.body.decode("latin-1"), re.MULTILINE):
        yield Request(method, target, host=batch.host)


def _uploaded_name(body: bytes) -> str:
    """The name of an uploaded object, which stands in the JSON before its content."""
    start = body.index(b"{")
    described, _ = json.JSONDecoder().raw_decode(body[start:].decode("latin-1"))
    return str(described["name"])
