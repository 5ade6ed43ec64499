"""`S3Bucket`: the calls of `tiercache.objectstore.ObjectStore`, made with boto3."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tiercache.errors import AccessDenied, BackendError, BackendTimeout, TiercacheError
from tiercache.objectstore import CONTENT_TYPE, ObjectInfo, ObjectStore, check_size

from .classes import ARCHIVED
from .client import Connection, LazyClient
from .errors import Absent, Conflict, Refused, by_code, credentials_refused, translate
from .sockets import until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DIRECTORY_BUCKET = "--x-s3"


class S3Bucket(ObjectStore):
    """One bucket.

    Args:
        bucket: its name.
        connection: how to reach it.
        put_options: arguments of every `put_object`: storage class, encryption.
        timeout: asked when the client is made, for the SDK's own timeouts.
    """

    def __init__(
        self,
        bucket: str,
        connection: Connection,
        put_options: Mapping[str, str],
        timeout: Callable[[], float | None],
    ) -> None:
        self._bucket = bucket
        self._put_options = {"ContentType": CONTENT_TYPE, **put_options}
        self._client = LazyClient(connection, timeout)
        self._seen = False

    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        """GET."""
        try:
            with self._calling("GetObject", deadline) as client:
                answer = client.get_object(Bucket=self._bucket, Key=name)
                body, size = answer["Body"], answer.get("ContentLength")
                if size is not None and size > limit:
                    body.close()
                    check_size(size, limit)
                data = body.read() if size is not None else body.read(limit + 1)
        except Absent:
            return None
        check_size(len(data), limit)
        return ObjectInfo(name, len(data), answer.get("ETag"), answer.get("StorageClass", "STANDARD")), data

    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        """HEAD; a 404 does not tell which of object and bucket is missing, so the first one is looked into."""
        try:
            with self._calling("HeadObject", deadline) as client:
                answer = client.head_object(Bucket=self._bucket, Key=name)
        except Absent:
            if not self._seen:
                self._check_bucket(name, deadline)
            return None
        return ObjectInfo(
            name,
            answer["ContentLength"],
            answer.get("ETag"),
            answer.get("StorageClass", "STANDARD"),
            answer["LastModified"].timestamp() if "LastModified" in answer else 0.0,
            _is_archived(answer),
            answer.get("Metadata", {}),
        )

    def write(
        self,
        name: str,
        body: bytes,
        user_metadata: Mapping[str, str],
        *,
        if_absent: bool,
        if_match: str | None,
        deadline: float | None,
    ) -> bool:
        """PUT; a conflict with another conditional write is tried once more, then it has lost."""
        options: dict[str, Any] = dict(self._put_options)
        if if_absent:
            options["IfNoneMatch"] = "*"
        if if_match is not None:
            options["IfMatch"] = if_match
        for _ in range(2):
            try:
                with self._calling("PutObject", deadline) as client:
                    client.put_object(Bucket=self._bucket, Key=name, Body=body, Metadata=dict(user_metadata), **options)
                return True
            except (Refused, Absent):
                return False
            except Conflict:
                continue
        return False

    def remove(self, name: str, *, deadline: float | None) -> None:
        """DELETE; of an absent object, too, S3 says that it is done."""
        try:
            with self._calling("DeleteObject", deadline) as client:
                client.delete_object(Bucket=self._bucket, Key=name)
        except Absent:
            return

    def remove_many(self, names: Sequence[str], *, deadline: float | None) -> dict[str, BackendError]:
        """DeleteObjects; it answers 200 with the names that failed inside."""
        with self._calling("DeleteObjects", deadline) as client:
            answer = client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": name} for name in names], "Quiet": True}
            )
        failed: dict[str, BackendError] = {}
        for item in answer.get("Errors", ()):
            error = by_code(item.get("Code", ""), "DeleteObjects", self._bucket)
            if not isinstance(error, BackendError):
                raise error
            if not isinstance(error, Absent):
                failed[item.get("Key", "")] = error
        return failed

    def list_page(
        self, prefix: str, token: str | None, *, deadline: float | None
    ) -> tuple[list[ObjectInfo], str | None]:
        """ListObjectsV2."""
        if self._bucket.endswith(_DIRECTORY_BUCKET):  # they list whole directories only; the caller filters
            prefix = prefix[: prefix.rfind("/") + 1]
        options: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
        with self._calling("ListObjectsV2", deadline) as client:
            answer: dict[str, Any] = {**client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **options)}
        page = [
            ObjectInfo(
                item["Key"],
                item["Size"],
                item.get("ETag"),
                item.get("StorageClass", "STANDARD"),
                item["LastModified"].timestamp(),
                item.get("StorageClass") in ARCHIVED,
            )
            for item in answer.get("Contents", ())
        ]
        return page, answer.get("NextContinuationToken")

    def probe(self, prefix: str, *, deadline: float | None) -> None:
        """List one name: unlike HeadBucket it says what is wrong, and a permission for the prefix is enough."""
        with self._calling("ListObjectsV2", deadline) as client:
            client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _check_bucket(self, name: str, deadline: float | None) -> None:
        try:
            self.probe(name, deadline=deadline)
        except AccessDenied:  # it is there
            self._seen = True

    @contextmanager
    def _calling(self, operation: str, deadline: float | None) -> Iterator[S3Client]:
        """Lend the client for one request that ends by the deadline; map what it raises."""
        try:
            client = self._client.get()
            _check_time(deadline)  # making the client takes a while
            with until(deadline):
                yield client
        except TiercacheError:
            raise
        except Exception as error:
            mapped = translate(error, operation, self._bucket, deadline)
            if mapped is None:
                raise
            if credentials_refused(error):
                self._client.forget()
            raise mapped from None
        self._seen = True


def _check_time(deadline: float | None) -> None:
    if deadline is not None and deadline <= time.monotonic():
        raise BackendTimeout("the deadline passed before the request was sent")


def _is_archived(answer: Mapping[str, Any]) -> bool:
    """Whether a HEAD says that a GET would fail: an archive class or tier, and no restored copy."""
    archived = answer.get("StorageClass") in ARCHIVED or "ArchiveStatus" in answer
    return archived and 'ongoing-request="false"' not in answer.get("Restore", "")
