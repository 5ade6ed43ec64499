"""`KeyRing`: the secrets that seal entries, by id; one of them is for writing, all of them are for reading.

From each secret four keys are derived (BLAKE3's key derivation, a context for each purpose): one for the tag, one
that names the owner of a ciphertext, one from which every cache key gets an AES key of its own, and one that hides the
credentials of tenants. So one secret serves all purposes, and none of the derived keys tells anything about another.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, Self

from blake3 import blake3

from ..errors import ConfigurationError, MissingExtra, UnknownKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 32
OWNER_BYTES = 16

# Part of the format: another text is another key.
_TAG = "tiercache 2026-11 envelope v1 integrity tag"
_OWNER = "tiercache 2026-11 envelope v1 owner of a ciphertext"
_CIPHER = "tiercache 2026-11 envelope v1 AES-256-GCM keys"
_TENANT = "tiercache 2026-11 tenant of a request v1"

_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")  # too short to be a secret by mistake
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")  # and this, in hex or base64
_SEPARATORS = re.compile(r"[\s,]+")
_FEWEST_DIFFERENT = 12  # of 32 random bytes; fewer come up once in 10^24 draws


class Key:
    """One secret of a ring, as the keys derived from it.

    Attributes:
        id: its name, which envelopes carry.
    """

    __slots__ = ("_cipher", "_owner", "_tag", "_tenant", "id")

    def __init__(self, id: str, secret: bytes) -> None:
        self.id = id
        self._tag = blake3(secret, derive_key_context=_TAG).digest()
        self._owner = blake3(secret, derive_key_context=_OWNER).digest()
        self._cipher = blake3(secret, derive_key_context=_CIPHER).digest()
        self._tenant = blake3(secret, derive_key_context=_TENANT).digest()

    def tag(self, body: bytes | memoryview) -> bytes:
        """Return the 32-byte tag of an envelope's other bytes."""
        return blake3(body, key=self._tag).digest()

    def owner(self, key: str) -> bytes:
        """Return what stands for a cache key in the clear part of a ciphertext: 16 bytes that tell nothing else."""
        return blake3(key.encode(), key=self._owner).digest(OWNER_BYTES)

    def tenant(self, credentials: bytes) -> str:
        """Return what stands for the credentials of a tenant, in hex; who does not have this key cannot guess them."""
        return blake3(credentials, key=self._tenant).hexdigest()

    def cipher(self, owner: bytes) -> AESGCM:
        """Return the cipher of one cache key.

        Raises:
            MissingExtra: `cryptography` is not installed.
        """
        return _aes_gcm()(blake3(owner, key=self._cipher).digest())

    def same_secret(self, other: Key) -> bool:
        """Whether both were made from one secret."""
        return secrets.compare_digest(self._tag, other._tag)

    def __repr__(self) -> str:
        return f"<Key {self.id!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Key cannot be copied or pickled: its secret must not leave the process")


class KeyRing:
    """The keys of a chain: `TierChain(..., keys=KeyRing({"2026-11": secret}))`.

    Every tier but memory then writes entries that are encrypted (AES-256-GCM) and tagged (BLAKE3, keyed) under the
    active key, and reads those of all keys of the ring. What is sealed with a key that the ring has not is a miss
    that nobody deletes; what is not sealed, or less than this ring asks for, is a miss. `SECURITY.md` says what this
    protects against, and how to change keys.

    Args:
        keys: secrets of exactly 32 random bytes, by id: up to 32 letters, digits, `_`, `.`, `-`. Ids are no secret.
        active: the id of the key that writes; None: the first.
        encrypt: whether payload and metadata are encrypted; False: they can be read by whoever reads the store, and
            are protected against changes.
        accept_unencrypted: read entries that have only a keyed tag as well, while encryption is being introduced.
        accept_plain: read entries that are not sealed at all as well, while keys are being introduced. Whoever can
            write to the store can then make the cache return what they like: leave it out again.

    Attributes:
        ids: the ids of all keys.
        active: the id of the key that writes.
        encrypt: see above.

    Raises:
        ConfigurationError: no key, an id or secret that is none; no message shows any of a secret.
        MissingExtra: `encrypt`, and tiercache[encryption] is not installed.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        active: str | None = None,
        encrypt: bool = True,
        accept_unencrypted: bool = False,
        accept_plain: bool = False,
    ) -> None:
        flags = {"encrypt": encrypt, "accept_unencrypted": accept_unencrypted, "accept_plain": accept_plain}
        for name, flag in flags.items():
            if not isinstance(flag, bool):  # the text "false" counts as true
                raise ConfigurationError(f"{name} must be True or False, not of type {type(flag).__name__}")
        if not isinstance(keys, Mapping) or not keys:
            raise ConfigurationError('keys must be a mapping of ids to secrets, such as {"2026-11": secret}')
        self._keys = {_checked_id(id): Key(id, _checked_secret(secret)) for id, secret in keys.items()}
        self.active = next(iter(self._keys)) if active is None else active
        if self.active not in self._keys:
            raise ConfigurationError(f"active must be the id of one of the keys: {', '.join(self._keys)}")
        self._check_different()
        self.encrypt = encrypt
        self.accept_unencrypted = accept_unencrypted or accept_plain
        self.accept_plain = accept_plain
        if encrypt:
            _aes_gcm()

    @classmethod
    def from_env(cls, name: str = "TIERCACHE_KEYS", *, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the ring in an environment variable.

        Args:
            name: of the variable. It holds `id:secret` for each key, the secrets in base64, with spaces, commas or
                line ends in between; the first one writes unless `active` says otherwise.
            env: where to look; None: the environment of this process.
            options: as for the constructor.

        Raises:
            ConfigurationError: the variable is not set, or holds something else.
        """
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ConfigurationError("name must be the name of an environment variable, not what it holds")
        text = (os.environ if env is None else env).get(name, "")  # as a default it would stand in help()
        if not text.strip():
            raise ConfigurationError(f"{name} is not set; it must hold id:secret, with the secret in base64")
        return cls(_parsed(text, name), **options)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Return the ring in a file, which holds what `from_env` reads; a line that begins with `#` is a comment.

        Raises:
            ConfigurationError: the file cannot be read, or holds something else.
        """
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line for line in file if not line.lstrip().startswith("#")]
        except (OSError, ValueError, TypeError) as error:
            # Its text quotes the path, or bytes of the file; somebody may have passed the secret in its place.
            why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        else:
            return cls(_parsed("".join(lines), "the key file"), **options)
        raise ConfigurationError(f"the key file cannot be read: {why}")

    @staticmethod
    def new_secret() -> str:
        """Return a new secret in base64, for an environment variable or a file."""
        return base64.b64encode(os.urandom(SECRET_BYTES)).decode()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(self._keys)

    @property
    def writing(self) -> Key:
        """The key that writes."""
        return self._keys[self.active]

    def key(self, id: str) -> Key:
        """Return a key for reading.

        Raises:
            UnknownKey: the ring does not have it.
        """
        try:
            return self._keys[id]
        except KeyError:
            raise UnknownKey(f"the entry is sealed with key {id!r}, which the ring does not have") from None

    def __repr__(self) -> str:  # ids alone
        return f"<KeyRing {', '.join(self._keys)}; {self.active} writes{', encrypted' if self.encrypt else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KeyRing cannot be copied or pickled: make one in each process, from_env() or from_file()")

    def _check_different(self) -> None:
        keys = list(self._keys.values())
        for number, key in enumerate(keys):
            if any(key.same_secret(other) for other in keys[:number]):
                raise ConfigurationError(f"key {key.id!r} has the secret of another key; make a new one for each id")


def _checked_id(id: object) -> str:
    if not isinstance(id, str) or not _ID.fullmatch(id):  # not quoted: it may be the secret, in the wrong place
        raise ConfigurationError("the id of a key has 1 to 32 letters, digits, '_', '.' or '-', such as '2026-11'")
    return id


def _checked_secret(secret: object) -> bytes:
    if not isinstance(secret, (bytes, bytearray)):
        raise ConfigurationError(
            f"a secret must be bytes, not {type(secret).__name__}; KeyRing.from_env() and from_file() read base64"
        )
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(f"a secret must have exactly {SECRET_BYTES} bytes, this one has {len(secret)}")
    if len(set(secret)) < _FEWEST_DIFFERENT or all(32 <= byte < 127 for byte in secret):
        raise ConfigurationError(
            "this secret is not random: text or a repeated pattern can be guessed; make one with os.urandom(32) or "
            "KeyRing.new_secret()"
        )
    return bytes(secret)


def _parsed(text: str, source: str) -> dict[str, bytes]:
    """Return the keys in a text; what is wrong is said by number, without quoting."""
    keys: dict[str, bytes] = {}
    for number, item in enumerate(filter(None, _SEPARATORS.split(text)), 1):
        id, colon, encoded = item.partition(":")
        try:
            secret = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not colon or len(secret) != SECRET_BYTES:
            raise ConfigurationError(
                f"item {number} of {source} must be id:secret with {SECRET_BYTES} bytes in base64; "
                "`openssl rand -base64 32` makes such a secret"
            )
        if id in keys:
            raise ConfigurationError(f"item {number} of {source} has the id of another one; each needs its own")
        keys[id] = secret
    return keys


@cache
def invalid_tag() -> type[Exception]:
    """Return what a cipher raises for what is not its own; looked up once, since an import costs a microsecond."""
    from cryptography.exceptions import InvalidTag

    return InvalidTag


@cache
def _aes_gcm() -> type[AESGCM]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MissingExtra("encryption", "encryption") from None
    return AESGCM
