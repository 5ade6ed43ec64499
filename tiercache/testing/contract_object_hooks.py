"""What a user of `ObjectStoreContract` fills in beside the hooks of `BackendContract`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import msgspec

from .. import keys
from ..entry import Metadata
from ..objectstore import ObjectStoreBackend, Upload
from ..objectstore.objects import checked_prefix
from .contract_hooks import ContractHooks


@dataclass(frozen=True, slots=True)
class RawObject:
    """What a HEAD beside the backend tells.

    Attributes:
        content_type: of the object.
        metadata: the user metadata, names in lower case, without the vendor's prefix (`x-amz-meta-`).
        storage_class: the class or tier that the object is in, as the vendor spells it.
    """

    content_type: str
    metadata: Mapping[str, str]
    storage_class: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says to every request.

    Attributes:
        status: the HTTP status.
        headers: those beside `Content-Length`.
        body: sent for every method but HEAD.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ObjectStoreHooks(ContractHooks):
    """Hooks and flags of `ObjectStoreContract`, beside those of `ContractHooks`.

    `backend` is an `ObjectStoreBackend` below a prefix of its own, with its default `max_entry_bytes`. Names are whole,
    with the backend's prefix. The defaults that reach for `backend.objects` make the vendor's calls and pass the
    backend by; a class that has a client of its own may override them, and must override `raw_object`.

    Attributes:
        supports_archive: `archive` can move an object where a GET cannot read it.
        supports_protection: `protected` can keep an object from being deleted.
        supports_conditional_delete: the store's bulk delete takes an etag for each name. False for stores that
            ignore it or have no such delete.
        names_per_delete: objects that one request deletes; None: as many as `backend.objects.bulk_delete` says. For
            an emulator that lacks the vendor's bulk delete.
        get_tells_class: a GET tells the storage class, as the vendor's does. False for an emulator that leaves it out.
        denied_answer: what the vendor says to a request that the credentials do not allow; None skips these cases.
        read_permission: the permission for reading objects, as errors must name it.
        list_permission: the one without which the vendor denies a missing object, as errors must name it; empty where
            a missing object is always reported as missing.
        many: entries of the paging cases; more than the 1,000 of one page.
    """

    scan_knows_expiry = False
    many = 1100
    supports_archive: bool = False
    supports_protection: bool = False
    supports_conditional_delete: bool = True
    names_per_delete: int | None = None
    get_tells_class: bool = True
    denied_answer: Answer | None = None
    read_permission: str = ""
    list_permission: str = ""

    def raw_object(self, backend: ObjectStoreBackend, name: str) -> RawObject | None:
        """Return what a HEAD beside the backend tells, also of an archived object; None: nothing is there."""
        raise NotImplementedError("override `raw_object`: make a HEAD with the vendor's SDK")

    def raw_body(self, backend: ObjectStoreBackend, name: str) -> bytes | None:
        """Return the bytes of an object, read beside the backend; None: nothing is there."""
        found = backend.objects.read(name, limit=2**30, deadline=None)
        return None if found is None else found[1]

    def raw_put_object(self, backend: ObjectStoreBackend, name: str, data: bytes) -> None:
        """Write an object of any name, without user metadata, beside the backend."""
        assert backend.objects.write(Upload(name, data, {}), if_absent=False, if_match=None, deadline=None)

    def raw_names(self, backend: ObjectStoreBackend, start: str) -> list[str]:
        """Return the names of all objects that start with this, sorted, beside the backend."""
        names: list[str] = []
        token: str | None = None
        while True:
            page, token = backend.objects.list_page(start, token, deadline=None)
            names += [info.name for info in page if info.name.startswith(start)]
            if token is None:
                return sorted(names)

    def raw_get(self, backend: Any, key: str) -> bytes | None:
        """Return the bytes of the object of a key (see `ContractHooks.raw_get`)."""
        return self.raw_body(backend, self.name_of(backend, key))

    def raw_put(self, backend: Any, key: str, data: bytes) -> None:
        """Replace the object of a key with bytes that have no user metadata (see `ContractHooks.raw_put`)."""
        self.raw_put_object(backend, self.name_of(backend, key), data)

    def archive(self, backend: ObjectStoreBackend, key: str) -> None:
        """Move the object of a stored key into an archive class, with its bytes and metadata, beside the backend."""
        raise NotImplementedError("override `archive`, or set `supports_archive = False`")

    def protected(self, backend: ObjectStoreBackend, key: str) -> AbstractContextManager[None]:
        """Keep the object of a stored key from being deleted until the block ends (a lock, a hold, a lease)."""
        raise NotImplementedError("override `protected`, or set `supports_protection = False`")

    def backend_at(self, url: str) -> ObjectStoreBackend:
        """Return a backend whose store is at another URL, with a timeout of at least 10 seconds."""
        raise NotImplementedError("override `backend_at`, or set `denied_answer = None`")

    def sibling(self, backend: ObjectStoreBackend, prefix: str) -> ObjectStoreBackend:
        """Return a backend on the same store below another prefix; it is not closed by itself."""
        twin = copy.copy(backend)
        twin.prefix = checked_prefix(prefix)
        return twin

    @contextmanager
    def sent(self, backend: ObjectStoreBackend) -> Iterator[list[str]]:
        """Yield the methods of the HTTP requests that are sent while the block lasts, retries and redirects included.

        All three SDKs send through urllib3. Override it where they do not (a stand-in in the process).
        """
        from urllib3.connectionpool import HTTPConnectionPool

        methods: list[str] = []
        send = HTTPConnectionPool.urlopen

        def count(pool: HTTPConnectionPool, method: str, *args: Any, **options: Any) -> Any:
            methods.append(method)
            return send(pool, method, *args, **options)

        with mock.patch.object(HTTPConnectionPool, "urlopen", count):
            yield methods

    def name_of(self, backend: ObjectStoreBackend, key: str) -> str:
        """Return the name of a key's object."""
        return backend.prefix + keys.object_name(key)

    def head_of(self, backend: ObjectStoreBackend, key: str) -> RawObject:
        """Return what a HEAD beside the backend tells of a key that is stored."""
        found = self.raw_object(backend, self.name_of(backend, key))
        assert found is not None
        return found

    def as_got(self, told: Metadata | None) -> Metadata | None:
        """Return what `get` must tell of an entry of which a HEAD or a scan tells this."""
        if told is None or self.get_tells_class:
            return told
        return msgspec.structs.replace(told, storage_class=None)

    def bulk_deletes(self, backend: ObjectStoreBackend, count: int) -> int:
        """Return how many requests must be enough to delete so many objects."""
        return -(-count // (self.names_per_delete or backend.objects.bulk_delete))
