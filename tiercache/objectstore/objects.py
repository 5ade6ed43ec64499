"""Objects: the nine calls that a vendor's SDK is reduced to, and what a store tells of an object.

They know bodies, names and user metadata, and nothing of entries: `ObjectStoreBackend` makes a cache of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import BackendError, ConfigurationError, CorruptEntry
from ..keys import LONGEST_NAME
from .lifecycle import LifecycleRules

MAX_PREFIX_BYTES = 1024 - LONGEST_NAME  # 1,024 is what S3 and GCS take


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of an object without its body.

    Attributes:
        name: the whole name, with the backend's prefix.
        size: bytes of the body.
        etag: the version, as conditional writes take it.
        storage_class: the class that the object is in.
        modified_at: when it was written, Unix seconds; 0 when unknown.
        archived: whether it must be restored before it can be read: for a cache it is not there.
        user_metadata: the mirror; None where the store did not tell (a listing).
    """

    name: str
    size: int
    etag: str | None = None
    storage_class: str | None = None
    modified_at: float = 0.0
    archived: bool = False
    user_metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An object to be written.

    Attributes:
        name: the whole name, with the backend's prefix.
        body: its bytes.
        user_metadata: the mirror.
        gone_at: when the object may be deleted, Unix seconds; None: never. Where a store can keep it beside the
            object (GCS: `customTime`), a lifecycle rule goes by it.
        storage_class: the class to write it to; None: the backend's.
    """

    name: str
    body: bytes
    user_metadata: Mapping[str, str]
    gone_at: float | None = None
    storage_class: str | None = None


class ObjectStore(ABC):
    """A bucket, as its vendor's SDK sees it.

    Names are whole, with the backend's prefix. Every call ends by `deadline` (seconds of `time.monotonic`, or None)
    with a `BackendTimeout`, and raises the errors of `tiercache.errors` instead of the SDK's.

    Attributes:
        bulk_delete: names that one `remove_many` takes.
        mirror_bytes: bytes of user metadata that an object may carry.
        lifecycle: the bucket's lifecycle rules; None where this class cannot reach them.
        lists_metadata: whether a listing tells user metadata, so that it knows what a HEAD knows.
        lists_from: whether a listing `after` a name begins there; else all pages before it are read and dropped.
    """

    bulk_delete: int = 1000
    mirror_bytes: int = 2048
    lists_metadata: bool = False
    lists_from: bool = False
    lifecycle: LifecycleRules | None = None

    @abstractmethod
    def read(self, name: str, *, limit: int, deadline: float | None) -> tuple[ObjectInfo, bytes] | None:
        """Return an object with one GET; None when it is absent or archived.

        Raises:
            CorruptEntry: it has more than `limit` bytes, none of which are read then (see `check_size`).
        """

    @abstractmethod
    def read_range(self, name: str, start: int, length: int, *, deadline: float | None) -> bytes | None:
        """Return a part of an object with one GET; None when it is absent or archived.

        It has `length` bytes, and fewer where the object ends before: none when it ends at `start` or earlier. A server
        that sends more is not read further than that (see `tiercache.objectstore.ranges`).

        Args:
            name: the whole name, with the backend's prefix.
            start: the first byte.
            length: bytes, at least one.
            deadline: seconds of `time.monotonic`, or None.

        Raises:
            BackendUnavailable: what came is not this range, or not all of it.
        """

    @abstractmethod
    def stat(self, name: str, *, deadline: float | None) -> ObjectInfo | None:
        """Return what a HEAD tells; None when it is absent."""

    @abstractmethod
    def write(self, upload: Upload, *, if_absent: bool, if_match: str | None, deadline: float | None) -> bool:
        """Write an object with one PUT; False when its condition does not hold."""

    @abstractmethod
    def remove(self, name: str, *, deadline: float | None) -> None:
        """Delete an object; one that is absent is no error."""

    @abstractmethod
    def remove_many(self, versions: Mapping[str, str | None], *, deadline: float | None) -> Mapping[str, BackendError]:
        """Delete up to `bulk_delete` objects and return the errors of those that could not be deleted.

        Args:
            versions: the names, each with the etag that the object must still have; None: whatever it is. One that
                was changed meanwhile stays, as `Refused`, where the store takes conditional deletes.
            deadline: seconds of `time.monotonic`, or None.
        """

    @abstractmethod
    def list_page(
        self,
        prefix: str,
        token: str | None,
        *,
        after: str | None = None,
        limit: int | None = None,
        deadline: float | None,
    ) -> tuple[Sequence[ObjectInfo], str | None]:
        """Return one page of a listing and the token of the next, None after the last.

        A page may hold less than the `limit`, even nothing, and still not be the last.

        Args:
            prefix: of the names.
            token: of the page, which belongs to this prefix and this `after`; None: the first.
            after: a whole name: only greater ones are listed; None: all. Where the store cannot begin there
                (`lists_from`), the pages before it cost what a whole listing does, and hold nothing.
            limit: objects at most; None: as many as a page takes.
            deadline: seconds of `time.monotonic`, or None.
        """

    @abstractmethod
    def probe(self, prefix: str, *, deadline: float | None) -> None:
        """Raise what keeps objects below the prefix from being served."""

    def rebuild(self) -> None:
        """Forget what may be out of date (see `Backend.rebuild`)."""
        return

    @abstractmethod
    def close(self) -> None:
        """Release the client; called again without harm."""


def check_size(size: int, limit: int) -> None:
    """Raise `CorruptEntry` for an object that is larger than any entry of this backend.

    Args:
        size: bytes of the body, as the answer's headers tell.
        limit: bytes that are accepted.
    """
    if size > limit:
        raise CorruptEntry(f"the object has {size:,} bytes, at most {limit:,} are read (raise max_entry_bytes?)")


def checked_prefix(prefix: str) -> str:
    """Return the prefix with a slash at its end: without one, `a` would list and clear what belongs to `ab`."""
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    if not (prefix.isascii() and prefix.isprintable()) or len(prefix) > MAX_PREFIX_BYTES:
        raise ConfigurationError(f"prefix must be printable ASCII of at most {MAX_PREFIX_BYTES} bytes")
    if any(part in ("", ".", "..") for part in prefix.split("/")[:-1]):
        raise ConfigurationError("prefix must not begin with '/', nor hold '//', '.' or '..' as a part")
    return prefix
