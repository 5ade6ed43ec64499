"""What a listing tells: which objects are entries of ours, their keys, and what is known without asking again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .. import keys
from ..entry import Metadata
from ..errors import BackendUnavailable, CorruptEntry
from .mirror import from_user_metadata
from .objects import ObjectInfo, ObjectStore


class Listed(NamedTuple):
    """An object of ours; `key` is None where the name was cut, so that only the entry inside knows its key."""

    key: str | None
    info: ObjectInfo


def page_of(
    objects: ObjectStore,
    start: str,
    token: str | None,
    *,
    after: str | None = None,
    limit: int | None = None,
    deadline: float | None,
) -> tuple[list[ObjectInfo], str | None]:
    """Return one page of the objects whose names begin with `start`, and the token of the next.

    With `after`, of those with greater names only (see `ObjectStore.list_page`).

    Raises:
        BackendUnavailable: the store says that this page follows itself: its listing would never end.
    """
    page, following = objects.list_page(start, token, after=after, limit=limit, deadline=deadline)
    if following and following == token:
        raise BackendUnavailable("the store's listing does not go on: it gave the same page token again")
    # What a store lists beside what it was asked for is not ours to show or to delete.
    return [info for info in page if info.name.startswith(start)], following or None


def ours(page: Iterable[ObjectInfo], root: str, prefix: str) -> list[Listed]:
    """Return the objects of a page that hold entries whose keys start with `prefix`, and nobody else's.

    Args:
        page: objects whose names begin with what such names begin with (`page_of`).
        root: the backend's prefix.
        prefix: of keys; those with cut names are taken when their names may start with it.
    """
    found = []
    for info in page:
        name = info.name.removeprefix(root)
        key = keys.key_of(name)
        if key is not None:
            if key.startswith(prefix):
                found.append(Listed(key, info))
        elif keys.is_cut(name):
            found.append(Listed(None, info))
    return found


def known(key: str, info: ObjectInfo) -> Metadata | None:
    """Return the metadata of an entry where the listing tells all of them, else None."""
    if not info.user_metadata:
        return None
    try:
        mirrored = from_user_metadata(info.user_metadata, key)
    except CorruptEntry:  # a HEAD says so to whom it may concern; a listing shows that something is there
        return None
    return with_info(mirrored.metadata, info) if mirrored is not None and mirrored.complete else None


def guessed(key: str, info: ObjectInfo) -> Metadata:
    """Return what a listing tells that shows no user metadata: sizes, and when the object was written."""
    return Metadata(
        key=key,
        created_at=info.modified_at,
        size=info.size,
        stored_size=info.size,
        storage_class=info.storage_class,
        etag=info.etag,
    )


def with_info(metadata: Metadata, info: ObjectInfo) -> Metadata:
    """Return the metadata with what the store itself knows of the object."""
    return msgspec.structs.replace(metadata, stored_size=info.size, storage_class=info.storage_class, etag=info.etag)
