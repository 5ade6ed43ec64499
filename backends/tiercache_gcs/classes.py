"""Google Cloud Storage's storage classes; all of them answer in milliseconds."""

from __future__ import annotations

from enum import StrEnum

from tiercache.errors import ConfigurationError


class GCSStorageClass(StrEnum):
    """The classes that a cache can be kept in."""

    STANDARD = "STANDARD"
    NEARLINE = "NEARLINE"
    COLDLINE = "COLDLINE"
    ARCHIVE = "ARCHIVE"


def usable_class(storage_class: str) -> GCSStorageClass:
    """Return the class if a cache can live in it.

    Raises:
        ConfigurationError: there is no such class; the message says what to choose.
    """
    try:
        return GCSStorageClass(storage_class)
    except ValueError:
        raise ConfigurationError(
            f"storage_class={storage_class!r} is unknown to Google Cloud Storage; choose one of"
            f" {', '.join(GCSStorageClass)}"
        ) from None
