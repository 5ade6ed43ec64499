"""The backends that installed packages offer, by the scheme of their URLs."""

from __future__ import annotations

from importlib.metadata import entry_points

from ..backend import Backend
from ..errors import ConfigurationError, MissingExtra
from ..spelling import did_you_mean

BUILT_IN = {"memory": "tiercache.memory:MemoryBackend", "disk": "tiercache.disk:DiskBackend"}
EXTRAS = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "redis+sentinel": "redis",
    "rediss+sentinel": "redis",
    "s3": "s3",
    "gs": "gcs",
    "az": "azure",
}
"""The extra that brings a scheme, for the message when it is not installed."""
PACKED = "+packed"
"""Behind the scheme of an object store: its entries are packed into segments (`tiercache.packed`)."""


def find_backend(scheme: str) -> type[Backend]:
    """Return the backend class of a URL scheme, from the entry-point group `tiercache.backends`.

    Raises:
        MissingExtra: the package that brings it is not installed.
        ConfigurationError: nothing brings this scheme.
    """
    offered = {point.name: point for point in entry_points(group="tiercache.backends")}
    point = offered.get(scheme)
    try:
        if point is not None:
            return point.load()  # type: ignore[no-any-return]
        if scheme in BUILT_IN:  # not installed, run from a checkout
            module, name = BUILT_IN[scheme].split(":")
            return getattr(__import__(module, fromlist=[name]), name)  # type: ignore[no-any-return]
    except ImportError as error:
        if scheme in EXTRAS:
            raise MissingExtra(f"{scheme}://", EXTRAS[scheme]) from error
        raise ConfigurationError(f"the backend of {scheme}:// cannot be imported: {error}") from error
    if scheme in EXTRAS:
        raise MissingExtra(f"{scheme}://", EXTRAS[scheme])
    known = known_schemes()
    raise ConfigurationError(
        f"no backend for {scheme or 'an empty scheme'}://{did_you_mean(scheme, known)}; known are {', '.join(known)}, "
        "and object stores packed, as in s3+packed://"
    )


def known_schemes() -> list[str]:
    """Return the schemes of all backends that are installed, or could be."""
    offered = {point.name for point in entry_points(group="tiercache.backends")}
    return sorted({*offered, *BUILT_IN, *EXTRAS})
