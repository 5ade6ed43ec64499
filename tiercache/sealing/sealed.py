"""Sealed envelopes: the plain one with a keyed tag, and encrypted.

    magic "TIER" | version u8 | flags u8 | key id length u16 | header length u32 | payload length u64    20 bytes
    key id       ASCII
    owner        encrypted only: 16 bytes that stand for the full key, namespace included (a keyed hash)
    nonce        encrypted only: 12 random bytes
    header       as in the plain envelope
    payload      as in the plain envelope
    tag          BLAKE3 keyed, 32 bytes, over all of the above

Encrypted, header and payload together are one AES-256-GCM ciphertext (16 bytes longer than both). All that stands
before it is its associated data, and its AES key is derived from the owner: the ciphertext of one key opens as no other
key's. The tag covers the ciphertext and is checked first; it also commits to the key, which GCM does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from hmac import compare_digest
from typing import cast

from ..contents import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, pack, unpack
from ..entry import Entry
from ..envelope import (
    ENCRYPTED,
    KEYED,
    MAGIC,
    PLAIN,
    PREFIX,
    TAG_BYTES,
    VERSION,
    WRONG_LENGTHS,
    Envelope,
    Sealable,
    etag,
    read_start,
)
from ..errors import ConfigurationError, CorruptEntry, NotSealed
from .keyring import OWNER_BYTES, Key, KeyRing, invalid_tag

NONCE_BYTES = 12
GCM_BYTES = 16

_ID = re.compile(rb"[A-Za-z0-9_.-]{1,32}")


def new_nonce() -> bytes:
    """Return a nonce: random, since no counter survives forks, restarts and machines."""
    return os.urandom(NONCE_BYTES)


class SealedEnvelope(Envelope):
    """Envelopes under the keys of a ring.

    Args:
        keys: the ring.
    """

    sealed = True

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys

    def encode(self, entry: Entry) -> bytes:
        """Return the sealed envelope of an entry (see `Envelope.encode`).

        The bytes that it was read from are returned as they are when they are sealed with the active key, and no less
        than this ring asks for. Others are sealed anew: those of an older key, those that were accepted plain.
        """
        key = self.keys.writing
        if entry.wire is not None and self._is_current(entry.wire, key):
            return entry.wire
        header, stored = pack(entry)
        return (_encrypted if self.keys.encrypt else _tagged)(key, entry.metadata.key, header, stored)

    def decode(self, data: bytes, key: str | None = None, *, max_payload: int = MAX_PAYLOAD_BYTES) -> Entry:
        """Return the entry in a sealed envelope (see `Envelope.decode`).

        Raises:
            NotSealed: it is not sealed, or not encrypted, and the ring does not accept that.
            UnknownKey: it is sealed with a key that the ring does not have; leave the bytes in place.
            UnknownFormat: another version or an unknown encoding; leave the bytes in place.
            CorruptEntry: anything else that is not an intact entry of that key, made with this secret.
        """
        flags, id_size, header_size, stored_size = read_start(data)
        if not flags and self.keys.accept_plain:
            return PLAIN.decode(data, key, max_payload=max_payload)
        if flags != ENCRYPTED and not self._accepts(flags):
            raise NotSealed(
                f"the entry is not {'encrypted' if flags else 'sealed'}, and this chain has keys; while they are "
                "being introduced, accept_plain and accept_unencrypted of the KeyRing let such entries in"
            )
        sealing = self.keys.key(_key_id(data, id_size))
        at, extra = PREFIX.size + id_size, 0
        if flags == ENCRYPTED:
            at, extra = at + OWNER_BYTES + NONCE_BYTES, GCM_BYTES
        end = at + header_size + stored_size + extra
        if header_size > MAX_HEADER_BYTES or end + TAG_BYTES != len(data):
            raise CorruptEntry(WRONG_LENGTHS)
        if stored_size > max_payload:  # a payload is never stored in more bytes than it has
            raise CorruptEntry(f"the entry has {stored_size:,} bytes of payload, {max_payload:,} are accepted")
        if not compare_digest(sealing.tag(memoryview(data)[:end]), data[end:]):
            raise CorruptEntry(f"the entry's tag does not match: damaged, forged, or of another key {sealing.id!r}")
        opened = _cut if flags == KEYED else _decrypted
        header, stored = opened(sealing, key, data, at, at + header_size, end)
        return unpack(header, stored, data, key, max_payload, etag(data), sealing.id)

    def opens(self, key_id: str | None) -> bool:
        """Whether the ring has this key; None: whether it accepts what is not sealed."""
        return self.keys.accept_plain if key_id is None else key_id in self.keys.ids

    def _accepts(self, flags: int) -> bool:
        return flags == KEYED and (not self.keys.encrypt or self.keys.accept_unencrypted)

    def _is_current(self, wire: bytes, key: Key) -> bool:
        """Whether these bytes are what this ring would write now (another ring may have a key of the same id)."""
        flags, id_size, _, _ = read_start(wire)
        if flags not in ((ENCRYPTED,) if self.keys.encrypt else (KEYED, ENCRYPTED)):
            return False
        tag = key.tag(memoryview(wire)[:-TAG_BYTES])
        return _key_id(wire, id_size) == key.id and compare_digest(tag, wire[-TAG_BYTES:])


def seal(backends: Iterable[object], keys: KeyRing) -> None:
    """Have stores keep their entries sealed: all of them, or none and an error.

    Raises:
        ConfigurationError: one cannot (its entries would be stored in plain text), or it has other keys already.
    """
    if not isinstance(keys, KeyRing):
        raise ConfigurationError(f"keys must be a KeyRing, not of type {type(keys).__name__}")
    for store in [_sealable(backend, keys) for backend in backends]:
        store.seal_with(SealedEnvelope(keys))


def _sealable(backend: object, keys: KeyRing) -> Sealable:
    current = getattr(backend, "envelope", None)
    if not isinstance(current, Envelope) or not callable(getattr(backend, "seal_with", None)):
        raise ConfigurationError(
            f"a {type(backend).__name__} stores entries in a form of its own and cannot seal them; leave out keys, or "
            "give it seal_with(envelope) and let envelope.encode() and decode() make its bytes"
        )
    if isinstance(current, SealedEnvelope) and current.keys is not keys:
        raise ConfigurationError("this backend has the keys of another chain; make a backend of its own for each")
    return cast(Sealable, backend)  # by what it has: a wrapper may pass it on


def _tagged(sealing: Key, key: str, header: bytes, stored: bytes) -> bytes:
    start = PREFIX.pack(MAGIC, VERSION, KEYED, len(sealing.id), len(header), len(stored))
    body = b"".join((start, sealing.id.encode(), header, stored))
    return body + sealing.tag(body)


def _encrypted(sealing: Key, key: str, header: bytes, stored: bytes) -> bytes:
    owner, nonce = sealing.owner(key), new_nonce()
    start = PREFIX.pack(MAGIC, VERSION, ENCRYPTED, len(sealing.id), len(header), len(stored))
    clear = b"".join((start, sealing.id.encode(), owner, nonce))
    body = clear + sealing.cipher(owner).encrypt(nonce, header + stored, clear)
    return body + sealing.tag(body)


def _cut(sealing: Key, key: str | None, data: bytes, at: int, payload_at: int, end: int) -> tuple[bytes, bytes]:
    """Return the header and the stored payload of an envelope that is only tagged."""
    return data[at:payload_at], data[payload_at:end]


def _decrypted(sealing: Key, key: str | None, data: bytes, at: int, payload_at: int, end: int) -> tuple[bytes, bytes]:
    """Return the header and the stored payload of a ciphertext.

    Where the key is not known (a listing), owner and header still are as they were written: the tag fits.
    """
    owner_at, nonce_at = at - NONCE_BYTES - OWNER_BYTES, at - NONCE_BYTES
    owner, nonce = data[owner_at:nonce_at], data[nonce_at:at]
    if key is not None and owner != sealing.owner(key):
        raise CorruptEntry("the entry belongs to another key")
    try:
        clear = sealing.cipher(owner).decrypt(nonce, memoryview(data)[at:end], data[:at])
    except invalid_tag():
        raise CorruptEntry("the entry cannot be decrypted") from None
    return clear[: payload_at - at], clear[payload_at - at :]


def _key_id(data: bytes, size: int) -> str:
    raw = data[PREFIX.size : PREFIX.size + size]
    if not _ID.fullmatch(raw):
        raise CorruptEntry("the entry's key id is none")
    return raw.decode()
