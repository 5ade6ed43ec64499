"""`S3Bucket`: the calls of `tiercache.objectstore.ObjectStore`, made with boto3."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tiercache.errors import BackendError, TiercacheError
from tiercache.objectstore import CONTENT_TYPE, ObjectInfo, Upload, check_size
from tiercache.objectstore.client import LazyClient
from tiercache.objectstore.faults import Absent, BeyondEnd, Faults, seconds_of
from tiercache.objectstore.ranges import bytes_of, range_header
from tiercache.objectstore.sdk import SdkStore, took_place

from .classes import ARCHIVED
from .errors import WORDS, by_code, credentials_refused, translate
from .lifecycle import S3Lifecycle

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DIRECTORY_BUCKET = "--x-s3"


class S3Bucket(SdkStore["S3Client"]):
    """One bucket.

    Args:
        bucket: its name.
        client: where the client comes from.
        put_options: arguments of every `put_object`: storage class, encryption.
    """

    lists_from = True

    def __init__(self, bucket: str, client: LazyClient[S3Client], put_options: Mapping[str, str]) -> None:
        super().__init__(client, Faults(WORDS, bucket))
        self._bucket = bucket
        self.lists_from = not bucket.endswith(_DIRECTORY_BUCKET)
        self._put_options = {"ContentType": CONTENT_TYPE, **put_options}
        self.lifecycle = S3Lifecycle(bucket, self.calling)

    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        """GET."""
        try:
            with self.calling("GetObject", deadline) as client:
                answer = client.get_object(Bucket=self._bucket, Key=name)
                with closing(answer["Body"]) as body:  # its connection, unless all of it was read
                    size = _length(answer)
                    check_size(size or 0, limit)
                    data = body.read() if size is not None else body.read(limit + 1)
                    check_size(len(data), limit)
        except Absent:
            return None
        return ObjectInfo(name, len(data), answer.get("ETag"), answer.get("StorageClass", "STANDARD")), data

    def read_range(self, name: str, start: int, length: int, *, deadline: float | None) -> bytes | None:
        """GET of a range. No checksum of the SDK's stands in the way: it has none for a part (see `client`)."""
        asked = range_header(start, length)
        try:
            with self.calling("GetObject", deadline) as client:
                answer = client.get_object(Bucket=self._bucket, Key=name, Range=asked)
                status = answer["ResponseMetadata"]["HTTPStatusCode"]
                with closing(answer["Body"]) as body:
                    return bytes_of(status, answer.get("ContentRange"), start, length, body.read)
        except Absent:
            return None
        except BeyondEnd:
            return b""

    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        """HEAD; a 404 does not tell which of object and bucket is missing, so the first one is looked into."""
        try:
            with self.calling("HeadObject", deadline) as client:
                answer = client.head_object(Bucket=self._bucket, Key=name)
        except Absent:
            self.check_container(name, deadline)
            return None
        return ObjectInfo(
            name,
            answer["ContentLength"],
            answer.get("ETag"),
            answer.get("StorageClass", "STANDARD"),
            _written(answer),
            _is_archived(answer),
            answer.get("Metadata", {}),
        )

    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        """PUT; a conflict with another conditional write is tried once more, then it has lost."""
        options: dict[str, Any] = dict(self._put_options)
        if upload.storage_class is not None:
            options["StorageClass"] = upload.storage_class
        if if_absent:
            options["IfNoneMatch"] = "*"
        if if_match is not None:
            options["IfMatch"] = if_match

        def put() -> None:
            with self.calling("PutObject", deadline) as client:
                client.put_object(
                    Bucket=self._bucket,
                    Key=upload.name,
                    Body=upload.body,
                    Metadata=dict(upload.user_metadata),
                    **options,
                )

        return took_place(put)

    def remove(self, name: str, *, deadline: float | None) -> None:
        """DELETE; of an absent object, too, S3 says that it is done."""
        try:
            with self.calling("DeleteObject", deadline) as client:
                client.delete_object(Bucket=self._bucket, Key=name)
        except Absent:
            return

    def remove_many(self, versions: Mapping[str, str | None], *, deadline: float | None) -> dict[str, BackendError]:
        """DeleteObjects; it answers 200 with the names that failed inside."""
        objects: list[Any] = [
            {"Key": name} if etag is None else {"Key": name, "ETag": etag} for name, etag in versions.items()
        ]
        with self.calling("DeleteObjects", deadline) as client:
            answer = client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        failed: dict[str, BackendError] = {}
        for item in answer.get("Errors", ()):
            error = by_code(item.get("Code", ""), "DeleteObjects", self._faults)
            if not isinstance(error, BackendError):
                raise error
            if isinstance(error, Absent):
                continue
            name = item.get("Key", "")
            if name not in versions:  # whose error it is, cannot be told
                return dict.fromkeys(versions, error)
            failed[name] = error
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
        """ListObjectsV2. Directory buckets have no order, and begin at no name."""
        if not self.lists_from:  # they list whole directories only; the caller filters
            prefix = prefix[: prefix.rfind("/") + 1]
        options: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
        if after is not None and token is None and self.lists_from:
            options["StartAfter"] = after
        if limit is not None:
            options["MaxKeys"] = limit
        with self.calling("ListObjectsV2", deadline) as client:
            answer: dict[str, Any] = {**client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **options)}
        page = [
            ObjectInfo(
                item["Key"],
                item["Size"],
                item.get("ETag"),
                item.get("StorageClass", "STANDARD"),
                _written(item),
                item.get("StorageClass") in ARCHIVED,
            )
            for item in answer.get("Contents", ())
            if after is None or item["Key"] > after
        ]
        return page, answer.get("NextContinuationToken")

    def probe(self, prefix: str, *, deadline: float | None) -> None:
        """List one name: unlike HeadBucket it says what is wrong, and a permission for the prefix is enough."""
        with self.calling("ListObjectsV2", deadline) as client:
            client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)

    def time(self, prefix: str, *, deadline: float | None) -> float | None:
        """Return the store's clock by the date of an answer, Unix seconds; None: it told none."""
        with self.calling("ListObjectsV2", deadline) as client:
            answer = client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        return seconds_of(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def versioning(self, *, deadline: float | None) -> str:
        """GetBucketVersioning: `Enabled`, `Suspended`, or empty for a bucket that never had versions."""
        with self.calling("GetBucketVersioning", deadline) as client:
            return client.get_bucket_versioning(Bucket=self._bucket).get("Status", "")

    def translate(self, error: Exception, operation: str, deadline: float | None) -> TiercacheError | None:
        """Map what boto3 raises (`tiercache_s3.errors`)."""
        return translate(error, operation, self._faults, deadline)

    def spoils_credentials(self, error: Exception) -> bool:
        """Whether a renewed session token may help."""
        return credentials_refused(error)


def _is_archived(answer: Mapping[str, Any]) -> bool:
    """Whether a HEAD says that a GET would fail: an archive class or tier, and no restored copy."""
    archived = answer.get("StorageClass") in ARCHIVED or "ArchiveStatus" in answer
    return archived and 'ongoing-request="false"' not in answer.get("Restore", "")


def _length(answer: Mapping[str, Any]) -> int | None:
    """Bytes of a body; None where it comes in chunks, so that a length that is told beside them says nothing."""
    chunked = "transfer-encoding" in answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return None if chunked else answer.get("ContentLength")


def _written(answer: Mapping[str, Any]) -> float:
    """When an object was written; 0.0 where the store does not say."""
    return float(answer["LastModified"].timestamp()) if "LastModified" in answer else 0.0
