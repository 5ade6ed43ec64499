"""`GCSBucket`: the calls of `tiercache.objectstore.ObjectStore`, one request each.

Bodies go through the SDK's session: its own download tells an object's size after it has read it, its upload takes
two requests and more from 8 MiB on, and its batches hold what some servers leave out (`tiercache_gcs.batch`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import requests

from tiercache.errors import BackendError, TiercacheError
from tiercache.objectstore import CONTENT_TYPE, ObjectInfo, Upload, check_size
from tiercache.objectstore.client import LazyClient
from tiercache.objectstore.faults import Absent, BeyondEnd, Faults, seconds_of
from tiercache.objectstore.ranges import bytes_of, range_header
from tiercache.objectstore.sdk import SdkStore, took_place

from . import batch
from .client import Link, json_of
from .errors import WORDS, NotAStore, by_status, credentials_refused, translate
from .lifecycle import GCSLifecycle

_ABOUT = "name,size,generation,storageClass,timeCreated,metadata"
_API = "/storage/v1"
_HASH = "x-goog-hash"
_LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class GCSBucket(SdkStore[Link]):
    """One bucket.

    Args:
        bucket: its name.
        client: where the client comes from.
        storage_class: of what is written.
    """

    bulk_delete = 100  # what a batch may hold
    mirror_bytes = 8192
    lists_metadata = True
    lists_from = True

    def __init__(self, bucket: str, client: LazyClient[Link], storage_class: str) -> None:
        super().__init__(client, Faults(WORDS, bucket))
        self._bucket = bucket
        self._storage_class = storage_class
        self._path = f"/b/{quote(bucket, safe='')}"
        self.lifecycle = GCSLifecycle(self._path, self.calling)

    def _of(self, name: str) -> str:
        return f"{self._path}/o/{quote(name, safe='')}"

    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        """Download as it is stored. A 404 does not tell which of object and bucket is missing, here and below."""
        try:
            with self.calling("objects.get", deadline) as link, self._download(link, name) as answer:
                body = _whole(answer, limit)
        except Absent:
            self.check_container(name, deadline)
            return None
        headers = answer.headers
        info = ObjectInfo(name, len(body), headers.get("x-goog-generation"), headers.get("x-goog-storage-class"))
        return info, body

    def read_range(self, name: str, start: int, length: int, *, deadline: float | None) -> bytes | None:
        """Download a part as it is stored; the store's checksum is of the whole, and nobody looks at it."""
        asked = range_header(start, length)
        try:
            with self.calling("objects.get", deadline) as link, self._download(link, name, Range=asked) as answer:
                if answer.status_code != 206 and _HASH not in answer.headers:
                    raise NotAStore(f"an object without {_HASH}")
                read = partial(answer.raw.read, decode_content=False)
                return bytes_of(answer.status_code, answer.headers.get("Content-Range"), start, length, read)
        except Absent:
            self.check_container(name, deadline)
            return None
        except BeyondEnd:
            return b""

    def _download(self, link: Link, name: str, **headers: str) -> requests.Response:
        """The answer with an object's body. With gzip the store sends what it stores; without, it unpacks what somebody
        marked as packed, and ignores ranges then."""
        url = f"{link.url}/download{_API}{self._of(name)}?alt=media"
        return link.session.request("GET", url, headers={"Accept-Encoding": "gzip"} | headers, stream=True)

    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        """Get the metadata."""
        try:
            with self.calling("objects.get", deadline) as link:
                return _info(link.ask("GET", self._of(name), {"fields": _ABOUT}))
        except Absent:
            self.check_container(name, deadline)
            return None

    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        """Insert metadata and body with one request; a conflict with another is tried once more, then it has lost."""
        generation = "0" if if_absent else if_match
        if if_match is not None and not _is_generation(if_match):
            return False
        condition = "" if generation is None else f"&ifGenerationMatch={generation}"
        content_type, body = _related(upload, upload.storage_class or self._storage_class)

        def insert() -> None:
            with self.calling("objects.insert", deadline) as link:
                url = f"{link.url}/upload{_API}{self._path}/o?uploadType=multipart&fields=generation{condition}"
                answer = link.session.request("POST", url, data=body, headers={"Content-Type": content_type})
                if "generation" not in json_of(answer):
                    raise NotAStore("an upload without a generation")

        return took_place(insert)

    def remove(self, name: str, *, deadline: float | None) -> None:
        """Delete."""
        try:
            with self.calling("objects.delete", deadline) as link:
                link.ask("DELETE", self._of(name))
        except Absent:
            self.check_container(name, deadline)

    def remove_many(self, versions: Mapping[str, str | None], *, deadline: float | None) -> dict[str, BackendError]:
        """Delete with one batch."""
        paths = (
            f"{_API}{self._of(name)}" + (f"?ifGenerationMatch={etag}" if etag else "")
            for name, etag in versions.items()
        )
        with self.calling("objects.delete", deadline) as link:
            answer = link.session.request(
                "POST",
                f"{link.url}/batch/storage/v1",
                data=batch.deletes(paths),
                headers={"Content-Type": batch.CONTENT_TYPE},
            )
            failed: dict[str, BackendError] = {}
            for name, part in zip(versions, batch.outcomes(answer, len(versions)), strict=True):
                error = None if part.status < 300 else by_status(part, "objects.delete", self._faults)
                if isinstance(error, Absent):
                    self.check_container(name, deadline)
                elif isinstance(error, BackendError):
                    failed[name] = error
                elif error is not None:
                    raise error
        return failed

    def list_page(
        self,
        prefix: str,
        token: str | None,
        *,
        after: str | None = None,
        limit: int | None = None,
        deadline: float | None,
    ) -> tuple[list[ObjectInfo], str | None]:
        """List, with the metadata."""
        query = {"prefix": prefix, "maxResults": limit or 1000, "fields": f"kind,items({_ABOUT}),nextPageToken"}
        if after is not None:
            query["startOffset"] = after  # that name included
        if token is not None:
            query["pageToken"] = token
        with self.calling("objects.list", deadline) as link:
            page = link.ask("GET", f"{self._path}/o", query)
            if page.get("kind") != "storage#objects":
                raise NotAStore("a listing that is none")
            found = [_info(item) for item in page.get("items") or ()]
        return [info for info in found if after is None or info.name > after], page.get("nextPageToken")

    def probe(self, prefix: str, *, deadline: float | None) -> None:
        """List one name: a permission for the prefix is enough."""
        self.list_page(prefix, None, limit=1, deadline=deadline)

    def time(self, prefix: str, *, deadline: float | None) -> float | None:
        """Return the store's clock by the date of an answer, Unix seconds; None: it told none."""
        with self.calling("objects.list", deadline) as link:
            url = f"{link.url}{_API}{self._path}/o?maxResults=1&fields=kind&prefix={quote(prefix, safe='')}"
            with link.session.request("GET", url) as answer:
                return seconds_of(answer.headers.get("Date"))

    def about(self, fields: str, *, deadline: float | None) -> dict[str, Any]:
        """Get the bucket's own description, these fields of it."""
        with self.calling("buckets.get", deadline) as link:
            return link.ask("GET", self._path, {"fields": fields})

    def translate(self, error: Exception, operation: str, deadline: float | None) -> TiercacheError | None:
        """Map what the libraries raise (`tiercache_gcs.errors`)."""
        return translate(error, operation, self._faults, deadline)

    def spoils_credentials(self, error: Exception) -> bool:
        """Whether the credentials were refused."""
        return credentials_refused(error)


def _whole(answer: requests.Response, limit: int) -> bytes:
    """The body, unless it is larger than the limit."""
    if _HASH not in answer.headers:
        raise NotAStore(f"an object without {_HASH}")
    size = answer.raw.length_remaining
    if size is not None:
        check_size(size, limit)
    data: bytes = answer.raw.read(None if size is not None else limit + 1, decode_content=False)
    check_size(len(data), limit)
    return data


def _info(item: Mapping[str, Any]) -> ObjectInfo:
    try:
        return ObjectInfo(
            str(item["name"]),
            int(item.get("size", 0)),
            item.get("generation"),
            item.get("storageClass"),
            _seconds(item.get("timeCreated", "")),
            user_metadata={name: str(text) for name, text in item.get("metadata", {}).items()},
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise NotAStore("an object that is described otherwise") from None


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _related(upload: Upload, storage_class: str) -> tuple[str, bytes]:
    """An object's metadata and body as one body, and the type of that."""
    about: dict[str, Any] = {
        "name": upload.name,
        "contentType": CONTENT_TYPE,
        "cacheControl": "no-store",  # of a public bucket, Google would keep copies for an hour
        "storageClass": storage_class,
        "metadata": dict(upload.user_metadata),
    }
    if upload.gone_at is not None:
        end = datetime.fromtimestamp(min(max(upload.gone_at, 0.0), _LAST_TIME), UTC)
        about["customTime"] = f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(about)}\r\n"
    media = f"--{boundary}\r\nContent-Type: {CONTENT_TYPE}\r\n\r\n"
    body = b"".join(((head + media).encode(), upload.body, f"\r\n--{boundary}--\r\n".encode()))
    return f"multipart/related; boundary={boundary}", body


def _is_generation(etag: str) -> bool:
    """Whether it can be a version: of no object is it 0, which would mean that there must be none."""
    return etag.isdecimal() and etag.isascii() and int(etag) > 0
