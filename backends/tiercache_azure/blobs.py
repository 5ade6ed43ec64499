"""Blobs as Azure names and describes them, and objects as the rest of tiercache does."""

from __future__ import annotations

from functools import partial
from typing import Any

import requests
from azure.core import MatchConditions
from azure.storage.blob import BlobProperties

from tiercache.objectstore import ObjectInfo, check_size
from tiercache.objectstore.ranges import bytes_of

from .classes import ARCHIVED
from .errors import NotBlobStorage


def info_of(blob: BlobProperties) -> ObjectInfo:
    """Return what a HEAD or a listing tells of a blob."""
    tier = None if blob.blob_tier is None else str(blob.blob_tier)
    return ObjectInfo(
        _object_name(blob.name),
        blob.size,
        quoted_etag(blob.etag),
        tier,
        blob.last_modified.timestamp() if blob.last_modified else 0.0,
        tier in ARCHIVED,  # it is in that tier, too, while it is rehydrated
        {_mirrored(name): text or "" for name, text in (blob.metadata or {}).items()},
    )


def body_of(answer: Any, limit: int) -> bytes:
    """Return the body of a Get Blob, undecoded, once it is known not to be too large."""
    response: requests.Response = answer.internal_response
    size = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    whole = int(size) if size.isdecimal() else None
    if whole is None or whole > limit:
        response.close()
    if whole is None:
        raise NotBlobStorage("no length")
    check_size(whole, limit)
    body: bytes = response.raw.read(decode_content=False)
    return body


def part_of(answer: Any, start: int, length: int) -> bytes:
    """Return the bytes of a Get Blob of this range, undecoded."""
    response: requests.Response = answer.internal_response
    read = partial(response.raw.read, decode_content=False)
    try:
        return bytes_of(answer.status_code, answer.headers.get("Content-Range"), start, length, read)
    finally:
        response.close()


def condition(if_match: str | None) -> dict[str, Any]:
    """Return the options of a call that is made only while the blob has this version."""
    return {} if if_match is None else {"etag": if_match, "match_condition": MatchConditions.IfNotModified}


def quoted_etag(etag: str | None) -> str | None:
    """Return the version with its quotes, which a listing leaves out."""
    return None if etag is None else '"' + etag.strip('"') + '"'


def blob_name(name: str) -> str:
    """Return the name of the blob for an object's name: Azure drops a dot at the end, `~` stands at none of ours."""
    return f"{name}~" if name.endswith(".") else name


def _object_name(blob: str) -> str:
    return blob[:-1] if blob.endswith(".~") else blob


def identifier(name: str) -> str:
    """Return a name of the mirror as Azure takes it: its names of metadata are identifiers of C#."""
    return name.replace("-", "_")


def _mirrored(name: str) -> str:
    return name.replace("_", "-")
