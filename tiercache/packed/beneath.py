"""`Beneath`: what a tier and a chain ask of a backend, and the object store beneath a packed one answers."""

from __future__ import annotations

from collections.abc import Mapping

from blake3 import blake3

from ..backend import Backend
from ..envelope import Envelope
from ..errors import ConfigurationError
from ..objectstore import ObjectStoreBackend
from ..objectstore.classes import ClassRules


class Beneath(Backend):
    """The part of `PackedBackend` that its inner backend answers.

    Args:
        inner: the store.

    Attributes:
        inner: the store.
    """

    persistent = True
    keeps_deadlines = True
    scan_is_dear_in_full = True

    def __init__(self, inner: ObjectStoreBackend) -> None:
        if not isinstance(inner, ObjectStoreBackend):
            raise ConfigurationError(
                "a PackedBackend is made of an object store's backend, as in PackedBackend(S3Backend('my-bucket')), "
                f"not of {f'the class {inner.__name__}' if isinstance(inner, type) else f'a {type(inner).__name__}'}"
            )
        self.inner = inner

    @property
    def scheme(self) -> str:  # type: ignore[override]
        """The inner scheme, and that it is packed: `s3+packed`."""
        return f"{self.inner.scheme}+packed"

    @property
    def place(self) -> bytes:
        """What the backends of all processes have in common that keep their segments here: bucket and prefix."""
        return place_of(self.inner)

    @property
    def timeout(self) -> float | None:
        """Seconds for one operation."""
        return self.inner.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.inner.timeout = seconds

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        """Requests of a batch side by side."""
        return self.inner.concurrency

    @property
    def rules(self) -> Mapping[str, ClassRules]:
        """The vendor's storage classes, by name."""
        return self.inner.rules

    @property
    def storage_class(self) -> str | None:
        """The class of segments whose entries ask for none."""
        return self.inner.storage_class

    @property
    def max_entry_bytes(self) -> int:
        """The largest payload that is written or read."""
        return self.inner.max_entry_bytes

    @property
    def envelope(self) -> Envelope:
        """What turns entries into bytes."""
        return self.inner.envelope

    def seal_with(self, envelope: Envelope) -> None:
        """Keep entries sealed from now on (see `Sealable`); the keys of entries are no secret in a segment either."""
        self.inner.seal_with(envelope)

    def rebuild(self) -> None:
        """Make the client anew with the next request."""
        self.inner.rebuild()

    def close(self) -> None:
        """Close the store."""
        self.inner.close()
        super().close()


def place_of(store: ObjectStoreBackend, *more: str) -> bytes:
    """Return what names a bucket and prefix, and `more`, without telling it."""
    where = getattr(store, "bucket", None) or getattr(store, "container", "")
    return blake3("\n".join([f"{store.scheme}://{where}/{store.prefix}", *more]).encode()).digest(16)
