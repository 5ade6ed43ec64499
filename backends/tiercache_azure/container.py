"""`AzureContainer`: the calls of `tiercache.objectstore.ObjectStore`, made with azure-storage-blob."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from http.client import HTTPException
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from azure.core.pipeline import PipelineResponse
from azure.storage.blob import ContainerClient, ContentSettings, StandardBlobTier

from tiercache.errors import BackendError, TiercacheError
from tiercache.objectstore import CONTENT_TYPE, ObjectInfo, Upload
from tiercache.objectstore.client import LazyClient
from tiercache.objectstore.faults import Absent, BeyondEnd, Faults, Refused, seconds_of
from tiercache.objectstore.ranges import range_header
from tiercache.objectstore.sdk import SdkStore

from .blobs import blob_name, body_of, condition, identifier, info_of, part_of, quoted_etag
from .client import check_origin
from .credential import STORAGE_SCOPE, PatientCredential
from .errors import WORDS, NoContainer, NotBlobStorage, Unchangeable, by_code, credentials_refused, translate

P = ParamSpec("P")
T = TypeVar("T")
_CONTENT = ContentSettings(content_type=CONTENT_TYPE)
_PAGE = 1000  # names: 5,000 are allowed, and with their metadata take seconds to read


def _creating(call: Callable[Concatenate[AzureContainer, P], T]) -> Callable[Concatenate[AzureContainer, P], T]:
    """Make the container where it is missing and that was asked for, and call again."""

    @wraps(call)
    def attempt(self: AzureContainer, /, *args: P.args, **options: P.kwargs) -> T:
        try:
            return call(self, *args, **options)
        except NoContainer:
            if not self._create:
                raise
        self._make_container(cast("float | None", options["deadline"]))
        return call(self, *args, **options)

    return attempt


@contextmanager
def _taking(found: Collection[object]) -> Iterator[None]:
    """Let the SDK stumble over an answer without a `Content-Range` once what it holds was taken: of a server that
    ignores ranges, the whole blob."""
    try:
        yield
    except (ValueError, LookupError):
        if not found:
            raise NotBlobStorage("a range that cannot be read") from None


class AzureContainer(SdkStore[ContainerClient]):
    """One container.

    Args:
        container: its name.
        client: where the client comes from.
        access_tier: of new blobs; None: the account's own.
        create: whether a request that finds no container makes it.
    """

    bulk_delete = 256
    mirror_bytes = 8192
    lists_metadata = True

    def __init__(
        self, container: str, client: LazyClient[ContainerClient], access_tier: str | None, *, create: bool
    ) -> None:
        super().__init__(client, Faults(WORDS, container))
        self._tier = access_tier
        self._create = create

    @_creating
    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        """Get Blob. The SDK asks for a range, so that a blob without a byte, which is none of ours, costs two.

        The body is taken from the answer before the SDK reads it: it reads whatever comes, and waits where a read
        fails, to try again.
        """
        found: list[tuple[ObjectInfo, bytes]] = []

        def take(answer: PipelineResponse[Any, Any]) -> None:
            check_origin(answer)
            response = answer.http_response
            if response.status_code in (200, 206):
                body, headers = body_of(response, limit), response.headers
                tier = headers.get("x-ms-access-tier")  # since the API of 2026-10-06
                found.append((ObjectInfo(name, len(body), quoted_etag(headers.get("ETag")), tier), body))

        try:
            with self.calling("GetBlob", deadline) as client, _taking(found):
                client.download_blob(blob_name(name), raw_response_hook=take)
        except Absent:
            return None
        return found[-1]

    @_creating
    def read_range(self, name: str, start: int, length: int, *, deadline: float | None) -> bytes | None:
        """Get Blob of a range, taken from the answer before the SDK reads it, as in `read`."""
        range_header(start, length)  # the SDK makes it, and checks less
        found: list[bytes] = []

        def take(answer: PipelineResponse[Any, Any]) -> None:
            check_origin(answer)
            if answer.http_response.status_code in (200, 206):
                found.append(part_of(answer.http_response, start, length))

        try:
            with self.calling("GetBlob", deadline) as client, _taking(found):
                client.download_blob(blob_name(name), offset=start, length=length, raw_response_hook=take)
        except Absent:
            return None
        except BeyondEnd:
            return b""
        return found[-1]

    @_creating
    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        """Get Blob Properties."""
        try:
            with self.calling("GetBlobProperties", deadline) as client:
                return info_of(client.get_blob_client(blob_name(name)).get_blob_properties())
        except Absent:
            return None

    @_creating
    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        """Put Blob; what can only be deleted (archived, of another type) is deleted first, and costs two more."""
        try:
            self._put(upload, if_absent, if_match, deadline)
        except Unchangeable:
            return not if_absent and self._replace(upload, if_match, deadline)
        except (Refused, Absent):
            return False
        return True

    def _put(self, upload: Upload, if_absent: bool, if_match: str | None, deadline: float | None) -> None:
        tier = upload.storage_class or self._tier
        with self.calling("PutBlob", deadline) as client:
            client.upload_blob(
                blob_name(upload.name),
                upload.body,
                overwrite=not if_absent,
                metadata={identifier(name): text for name, text in upload.user_metadata.items()},
                content_settings=_CONTENT,
                standard_blob_tier=None if tier is None else StandardBlobTier(tier),
                **condition(if_match),
            )

    def _replace(self, upload: Upload, if_match: str | None, deadline: float | None) -> bool:
        try:
            self._delete(upload.name, if_match, deadline)
            self._put(upload, if_match is not None, None, deadline)
        except Unchangeable as error:
            raise self._faults.stuck("PutBlob", str(error)) from None
        except (Refused, Absent):
            return False
        return True

    @_creating
    def remove(self, name: str, *, deadline: float | None) -> None:
        """Delete Blob."""
        try:
            self._delete(name, None, deadline)
        except Absent:
            return

    def _delete(self, name: str, if_match: str | None, deadline: float | None) -> None:
        try:
            with self.calling("DeleteBlob", deadline) as client:
                client.delete_blob(blob_name(name), **condition(if_match))
        except Unchangeable as error:  # it stays, and can be read again when it is rehydrated
            raise self._faults.stuck("DeleteBlob", str(error)) from None

    @_creating
    def remove_many(self, versions: Mapping[str, str | None], *, deadline: float | None) -> dict[str, BackendError]:
        """Blob Batch: one request, which answers with a part for each name, in their order."""
        blobs: list[Any] = [
            blob_name(name) if etag is None else {"name": blob_name(name), "etag": etag}
            for name, etag in versions.items()
        ]
        with self.calling("BlobBatch", deadline) as client:
            if isinstance(client.credential, PatientCredential):
                client.credential.get_token(STORAGE_SCOPE)  # the SDK signs the parts in threads without a deadline
            account = client.primary_hostname.partition("/")[2]  # where it stands in the path, as Azurite has it
            options: dict[str, Any] = {"url_prepend": account} if account else {}
            try:
                answer = client.delete_blobs(*blobs, raise_on_any_failure=False, **options)
                parts = [(part.headers.get("x-ms-error-code", ""), part.status_code) for part in answer]
            except (ValueError, LookupError, AttributeError, HTTPException):  # what the SDK makes of no batch
                raise NotBlobStorage("an answer that is no batch") from None
            if len(parts) != len(blobs) and not (len(parts) == 1 and parts[0][1] >= 400):
                raise NotBlobStorage("a batch of other parts than asked for")
        if len(parts) != len(blobs):  # it was refused as a whole
            whole = by_code(*parts[0], "BlobBatch", self._faults)
            raise self._faults.not_a_store("a batch with one part") if isinstance(whole, (Absent, Refused)) else whole
        outcomes = {name: self._part_failed(*part) for name, part in zip(versions, parts, strict=True)}
        return {name: error for name, error in outcomes.items() if error is not None}

    def _part_failed(self, code: str, status: int) -> BackendError | None:
        """What is wrong with a part of a batch; None: its blob is gone. A missing container is raised."""
        error = None if status < 300 else by_code(code, status, "BlobBatch", self._faults)
        if isinstance(error, NoContainer):
            raise error
        if error is None or (isinstance(error, Absent) and not isinstance(error, Unchangeable)):
            return None
        if isinstance(error, BackendError) and not isinstance(error, Unchangeable):
            return error
        return self._faults.stuck("BlobBatch", f"{code}, HTTP {status}")

    @_creating
    def list_page(
        self,
        prefix: str,
        token: str | None,
        *,
        after: str | None = None,
        limit: int | None = None,
        deadline: float | None,
    ) -> tuple[list[ObjectInfo], str | None]:
        """List Blobs, with their metadata.

        They are listed from the first on, whatever `after` is: the API's `startFrom` is not in every SDK that is taken
        here, in no emulator, and documented for one level of names.
        """
        with self.calling("ListBlobs", deadline) as client:
            pages: Any = client.list_blobs(prefix, include=["metadata"], results_per_page=limit or _PAGE).by_page(token)
            page = [info_of(blob) for blob in next(pages)]
        return [info for info in page if after is None or info.name > after], pages.continuation_token

    @_creating
    def probe(self, prefix: str, *, deadline: float | None) -> None:
        """List one name."""
        with self.calling("ListBlobs", deadline) as client:
            next(client.list_blob_names(name_starts_with=prefix, results_per_page=1).by_page())

    def time(self, prefix: str, *, deadline: float | None) -> float | None:
        """Return the store's clock by the date of an answer, Unix seconds; None: it told none."""
        dates: list[str | None] = []

        def take(answer: PipelineResponse[Any, Any]) -> None:
            check_origin(answer)
            dates.append(answer.http_response.headers.get("Date"))

        with self.calling("ListBlobs", deadline) as client:
            names = client.list_blob_names(name_starts_with=prefix, results_per_page=1, raw_response_hook=take)
            next(names.by_page())
        return seconds_of(dates[-1])

    def about(self, *, deadline: float | None) -> dict[str, Any]:
        """Get Blob Service Properties, of the account; it takes more than a cache needs, and may be denied."""
        with self.calling("GetBlobServiceProperties", deadline) as client:
            return dict(client._get_blob_service_client().get_service_properties())  # signed as the container's

    def _make_container(self, deadline: float | None) -> None:
        """Create Container; another process may have been faster."""
        try:
            with self.calling("CreateContainer", deadline) as client:
                client.create_container()
        except Refused:
            return

    def translate(self, error: Exception, operation: str, deadline: float | None) -> TiercacheError | None:
        """Map what the SDK raises (`tiercache_azure.errors`)."""
        return translate(error, operation, self._faults, deadline)

    def spoils_credentials(self, error: Exception) -> bool:
        """Whether a new token may help."""
        return credentials_refused(error)
