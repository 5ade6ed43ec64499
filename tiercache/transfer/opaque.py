"""Sealed entries whose key is not at hand: bytes that are carried from store to store, and never opened.

A `Carrying` envelope makes an *opaque* entry of such bytes: no payload, only the envelope as it was read and what the
store says beside it. Nothing but another `Carrying` envelope writes one, and it writes those very bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec

from ..backend import Backend
from ..entry import Entry, Metadata
from ..envelope import ENCRYPTED, PREFIX, TAG_BYTES, WRONG_LENGTHS, Envelope, Sealable, envelope_of, etag, read_start
from ..errors import ConfigurationError, CorruptEntry, UnknownKey

CODEC = "sealed"
"""The codec of an opaque entry: none that decodes, so that nobody ever takes its empty payload for a value."""
_OWNER_AND_NONCE = 28
_GCM = 16


class Carrying(Envelope):
    """The plain envelope, which also carries sealed ones, unopened."""

    def __init__(self) -> None:
        self._last = threading.local()  # what this thread encoded: a store decodes it at once, to see what it stores

    def encode(self, entry: Entry) -> bytes:
        """Return the envelope of an entry; of an opaque one, the bytes that it was read from."""
        if not is_opaque(entry):
            return super().encode(entry)
        wire = entry.wire
        if wire is None:
            raise CorruptEntry("a sealed entry without its bytes cannot be stored")
        self._last.wire, self._last.metadata = wire, entry.metadata
        return wire

    def decode(self, data: bytes, key: str | None = None, *, max_payload: int = 2**28) -> Entry:
        """Return the entry; of sealed bytes an opaque one, whose lengths alone are checked.

        Raises:
            UnknownKey: the bytes are sealed, and nobody says of which key they are.
            UnknownFormat, CorruptEntry: as for the plain envelope.
        """
        flags, id_size, header_size, stored_size = read_start(data)
        if not flags:
            return super().decode(data, key, max_payload=max_payload)
        if key is None:
            raise UnknownKey("the entry is sealed, and only its key tells whose it is")
        extra = _OWNER_AND_NONCE + _GCM if flags == ENCRYPTED else 0
        if PREFIX.size + id_size + header_size + stored_size + extra + TAG_BYTES != len(data):
            raise CorruptEntry(WRONG_LENGTHS)
        if getattr(self._last, "wire", None) == data and self._last.metadata.key == key:
            return Entry(b"", self._last.metadata, data)
        return opaque(key, data)

    def opens(self, key_id: str | None) -> bool:
        """Whatever the key: nothing is opened."""
        return True


def opaque(key: str, data: bytes) -> Entry:
    """Return an opaque entry of which nothing is known yet but its key."""
    id_size = read_start(data)[1]
    key_id = data[PREFIX.size : PREFIX.size + id_size].decode("ascii", "replace")
    metadata = Metadata(
        key=key, created_at=0.0, codec=CODEC, stored_size=len(data), etag=etag(data), key_id=key_id or "?"
    )
    return Entry(b"", metadata, data)


def known_as(entry: Entry, said: Metadata) -> Entry:
    """Return an opaque entry with the times that its store says beside it."""
    metadata = msgspec.structs.replace(
        entry.metadata,
        created_at=said.created_at,
        expires_at=said.expires_at,
        stale_until=said.stale_until,
        as_of=said.as_of,
        storage_class=entry.metadata.storage_class or said.storage_class,
    )
    return Entry(b"", metadata, entry.wire, entry.storage_class)


def is_opaque(entry: Entry) -> bool:
    """Whether this is a sealed entry that nobody opened."""
    return entry.metadata.codec == CODEC and entry.metadata.key_id is not None and not entry.payload


def carries(backend: Backend) -> bool:
    """Whether the store takes opaque entries, and gives them."""
    return isinstance(envelope_of(backend), Carrying)


def let_carry(backends: Iterable[Backend]) -> None:
    """Have stores carry sealed entries, from now on; those that keep entries in a form of their own stay as they are.

    Raises:
        ConfigurationError: one has keys: what it reads is opened.
    """
    for backend in backends:
        if envelope_of(backend).sealed:
            raise ConfigurationError("carry_sealed is for stores without keys: with keys, sealed entries are read")
        if callable(getattr(backend, "seal_with", None)) and not carries(backend):
            store: Sealable = backend  # type: ignore[assignment]  # by what it has
            store.seal_with(Carrying())
